package metrics

import (
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"mrcproxy/balancer"
	"mrcproxy/internal/session"
	"mrcproxy/proxy"
)

// series checks the samples of the named metrics, all of them when there is a wanted text for each.
func series(t *testing.T, m *Metrics, want string, names ...string) {
	t.Helper()
	strict := prometheus.NewPedanticRegistry()
	strict.MustRegister(collector{m})
	// Only samples are compared: help and type are documented, and compared there.
	var text strings.Builder
	for _, name := range names {
		text.WriteString(header(t, strict, name))
	}
	for line := range strings.Lines(want) {
		text.WriteString(strings.TrimSpace(line) + "\n")
	}
	if err := testutil.GatherAndCompare(strict, strings.NewReader(text.String()), names...); err != nil {
		t.Error(err)
	}
}

// header is the help and type of a metric as scraped.
func header(t *testing.T, g prometheus.Gatherer, name string) string {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return "# HELP " + name + " " + f.GetHelp() + "\n# TYPE " + name + " " + strings.ToLower(f.GetType().String()) + "\n"
		}
	}
	return ""
}

func TestBackends(t *testing.T) {
	b := farm(t, first, second)
	m := over(b)
	b.SetState(b.Backends()[0], balancer.Up, epoch)
	lease := take(t, b)
	series(t, m, `mrcproxy_backend_up{backend="sip:10.0.0.1:8060",cluster="ali",idc="sh-a"} 1
		mrcproxy_backend_up{backend="sip:10.0.0.2:8060",cluster="ali",idc="sh-a"} 0`, "mrcproxy_backend_up")
	series(t, m, `mrcproxy_backend_state{backend="sip:10.0.0.1:8060",cluster="ali",idc="sh-a",state="down"} 0
		mrcproxy_backend_state{backend="sip:10.0.0.1:8060",cluster="ali",idc="sh-a",state="draining"} 0
		mrcproxy_backend_state{backend="sip:10.0.0.1:8060",cluster="ali",idc="sh-a",state="unknown"} 0
		mrcproxy_backend_state{backend="sip:10.0.0.1:8060",cluster="ali",idc="sh-a",state="up"} 1
		mrcproxy_backend_state{backend="sip:10.0.0.2:8060",cluster="ali",idc="sh-a",state="down"} 0
		mrcproxy_backend_state{backend="sip:10.0.0.2:8060",cluster="ali",idc="sh-a",state="draining"} 0
		mrcproxy_backend_state{backend="sip:10.0.0.2:8060",cluster="ali",idc="sh-a",state="unknown"} 1
		mrcproxy_backend_state{backend="sip:10.0.0.2:8060",cluster="ali",idc="sh-a",state="up"} 0`, "mrcproxy_backend_state")
	// The second has no limit, and so no capacity.
	series(t, m, `mrcproxy_backend_capacity{backend="sip:10.0.0.1:8060",cluster="ali",idc="sh-a"} 50`, "mrcproxy_backend_capacity")
	series(t, m, `mrcproxy_backend_weight{backend="sip:10.0.0.1:8060",cluster="ali",idc="sh-a"} 1
		mrcproxy_backend_weight{backend="sip:10.0.0.2:8060",cluster="ali",idc="sh-a"} 2`, "mrcproxy_backend_weight")

	picked, sessions := map[string]string{}, map[string]string{}
	for _, s := range []balancer.BackendSpec{first, second} {
		picked[s.URI], sessions[s.URI] = "0", "0"
	}
	picked[lease.Backend().URI()], sessions[lease.Backend().URI()] = "1", "1"
	for name, values := range map[string]map[string]string{
		"mrcproxy_backend_picked_total": picked, "mrcproxy_backend_sessions": sessions,
	} {
		series(t, m, name+`{backend="sip:10.0.0.1:8060",cluster="ali",idc="sh-a"} `+values[first.URI]+"\n"+
			name+`{backend="sip:10.0.0.2:8060",cluster="ali",idc="sh-a"} `+values[second.URI], name)
	}
	lease.Release()
	series(t, m, `mrcproxy_backend_sessions{backend="sip:10.0.0.1:8060",cluster="ali",idc="sh-a"} 0
		mrcproxy_backend_sessions{backend="sip:10.0.0.2:8060",cluster="ali",idc="sh-a"} 0`, "mrcproxy_backend_sessions")
}

// TestUp: nothing but a backend known to be up counts as up.
func TestUp(t *testing.T) {
	b := farm(t, first)
	m := over(b)
	for state, want := range map[balancer.State]string{balancer.Unknown: "0", balancer.Up: "1", balancer.Down: "0", balancer.Draining: "0"} {
		b.SetState(b.Backends()[0], state, epoch)
		series(t, m, `mrcproxy_backend_up{backend="sip:10.0.0.1:8060",cluster="ali",idc="sh-a"} `+want, "mrcproxy_backend_up")
	}
}

// TestRemoved: a backend that is no longer configured has no series but its sessions, and those until the last ends.
func TestRemoved(t *testing.T) {
	b := farm(t, first)
	m := over(b)
	lease := take(t, b)
	apply(t, b, second)
	series(t, m, `mrcproxy_backend_up{backend="sip:10.0.0.2:8060",cluster="ali",idc="sh-a"} 0`, "mrcproxy_backend_up")
	series(t, m, "", "mrcproxy_backend_capacity")
	series(t, m, `mrcproxy_backend_sessions{backend="sip:10.0.0.1:8060",cluster="ali",idc="sh-a"} 1
		mrcproxy_backend_sessions{backend="sip:10.0.0.2:8060",cluster="ali",idc="sh-a"} 0`, "mrcproxy_backend_sessions")
	lease.Release()
	series(t, m, `mrcproxy_backend_sessions{backend="sip:10.0.0.2:8060",cluster="ali",idc="sh-a"} 0`, "mrcproxy_backend_sessions")
}

func TestInvites(t *testing.T) {
	b := farm(t, first)
	m := over(b)
	backend := b.Backends()[0]
	for _, i := range []proxy.Invite{
		{Cluster: "ali", Backend: backend, Code: 200, Took: 3 * time.Millisecond},
		{Cluster: "ali", Backend: backend, Code: 200, Took: 700 * time.Millisecond},
		{Cluster: "baidu", Backend: backend, Code: 200, Took: time.Millisecond}, // fell back to ali
		{Cluster: "ali", Code: 480, Took: 4 * time.Second},
		{Cluster: "ali", Backend: backend, Code: 999},
		{Cluster: "ali", Backend: backend, Code: 700},
		{Cluster: "ali", Backend: backend, Code: 0},
	} {
		m.InviteDone(&i)
	}
	series(t, m, `mrcproxy_invites_total{backend="",cluster="ali",code="480"} 1
		mrcproxy_invites_total{backend="",cluster="ali",code="503"} 0
		mrcproxy_invites_total{backend="",cluster="baidu",code="480"} 0
		mrcproxy_invites_total{backend="",cluster="baidu",code="503"} 0
		mrcproxy_invites_total{backend="sip:10.0.0.1:8060",cluster="ali",code="200"} 2
		mrcproxy_invites_total{backend="sip:10.0.0.1:8060",cluster="ali",code="other"} 3
		mrcproxy_invites_total{backend="sip:10.0.0.1:8060",cluster="baidu",code="200"} 1`, "mrcproxy_invites_total")
	if n := testutil.CollectAndCount(m.inviteDuration); n != 2 {
		t.Errorf("%d clusters have durations, want 2", n)
	}
}

func TestFailovers(t *testing.T) {
	m := over(farm(t, first))
	for _, reason := range []string{"no_response", "406", "406", "099", "a stranger", "700", "no_response\n"} {
		m.FailedOver("ali", reason)
	}
	series(t, m, `mrcproxy_failovers_total{cluster="ali",reason="406"} 2
		mrcproxy_failovers_total{cluster="ali",reason="connection"} 0
		mrcproxy_failovers_total{cluster="ali",reason="deadline"} 0
		mrcproxy_failovers_total{cluster="ali",reason="no_answer"} 0
		mrcproxy_failovers_total{cluster="ali",reason="no_response"} 1
		mrcproxy_failovers_total{cluster="ali",reason="other"} 4
		mrcproxy_failovers_total{cluster="ali",reason="send_failed"} 0
		mrcproxy_failovers_total{cluster="ali",reason="too_large"} 0
		mrcproxy_failovers_total{cluster="ali",reason="unreachable"} 0`, "mrcproxy_failovers_total")
}

// TestDropped: every reason is there from the start, and one that is unknown does no harm.
func TestDropped(t *testing.T) {
	m := over(farm(t, first))
	for i, r := range proxy.DropReasons() {
		for range i {
			m.Dropped(r)
		}
	}
	m.Dropped(proxy.DropReason(250))
	for i, r := range proxy.DropReasons() {
		if got := testutil.ToFloat64(m.dropped.WithLabelValues(r.String())); got != float64(i) {
			t.Errorf("%v: %v, want %d", r, got, i)
		}
	}
	if n := testutil.CollectAndCount(m.dropped); n != len(proxy.DropReasons()) {
		t.Errorf("%d series, want %d", n, len(proxy.DropReasons()))
	}
}

func TestLate(t *testing.T) {
	b := farm(t, first)
	m := over(b)
	m.Late(b.Backends()[0])
	series(t, m, `mrcproxy_late_answers_total{backend="sip:10.0.0.1:8060",cluster="ali"} 1`, "mrcproxy_late_answers_total")
}

func TestSessionEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := farm(t, first)
		m := over(b)
		s := &session.Session{Kind: &session.Kind{Cluster: "ali"}, Start: time.Now(), Lease: take(t, b)}
		time.Sleep(90 * time.Second)
		m.SessionEnded(s, session.Expired)
		m.SessionEnded(s, session.Reason(250)) // not counted, and no harm
		if got := testutil.ToFloat64(m.ended.WithLabelValues("ali", "expired")); got != 1 {
			t.Errorf("expired: %v, want 1", got)
		}
		if n := testutil.CollectAndCount(m.ended); n != len(session.Reasons()) {
			t.Errorf("%d reasons, want %d", n, len(session.Reasons()))
		}
		text := scrape(t, m)
		for _, line := range []string{
			`mrcproxy_session_duration_seconds_bucket{cluster="ali",le="60"} 0`,
			`mrcproxy_session_duration_seconds_bucket{cluster="ali",le="120"} 2`,
			`mrcproxy_session_duration_seconds_sum{cluster="ali"} 180`,
		} {
			if !strings.Contains(text, line+"\n") {
				t.Errorf("no line %s", line)
			}
		}
	})
}

func TestProbed(t *testing.T) {
	m := over(farm(t, first))
	m.Probed("ali", "sh-a", first.URI, true, 2*time.Millisecond)
	m.Probed("ali", "sh-a", first.URI, false, time.Second)
	text := scrape(t, m)
	for _, line := range []string{
		`mrcproxy_probe_duration_seconds_bucket{backend="sip:10.0.0.1:8060",cluster="ali",result="ok",le="0.002"} 1`,
		`mrcproxy_probe_duration_seconds_sum{backend="sip:10.0.0.1:8060",cluster="ali",result="failed"} 1`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
}

// TestReloaded: a failed load leaves the time of the last good one.
func TestReloaded(t *testing.T) {
	m := over(farm(t, first))
	m.Reloaded(true, epoch.Add(1500*time.Millisecond))
	m.Reloaded(false, epoch.Add(time.Hour))
	series(t, m, "mrcproxy_config_last_reload_successful 0", "mrcproxy_config_last_reload_successful")
	series(t, m, "mrcproxy_config_last_reload_success_timestamp_seconds 1.7356896015e+09",
		"mrcproxy_config_last_reload_success_timestamp_seconds")
	m.Reloaded(true, epoch)
	series(t, m, "mrcproxy_config_last_reload_successful 1", "mrcproxy_config_last_reload_successful")
}

// TestTransport: each number of transport.Stats has a series of its own.
func TestTransport(t *testing.T) {
	text := scrape(t, over(farm(t, first)))
	values := map[string]bool{}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "mrcproxy_transport_") {
			values[strings.Fields(line)[1]] = true
		}
	}
	if len(values) != 15 {
		t.Errorf("%d different values, want 15", len(values))
	}
	for _, line := range []string{"mrcproxy_sessions 7", "mrcproxy_transactions 11"} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
}

// TestNoSources: without sources there is a scrape still.
func TestNoSources(t *testing.T) {
	text := scrape(t, New(Sources{}))
	for _, want := range []string{"mrcproxy_build_info{", "go_goroutines ", "process_cpu_seconds_total "} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("no %s in the scrape", want)
		}
	}
	for _, absent := range []string{"mrcproxy_sessions ", "mrcproxy_backend", "mrcproxy_transport"} {
		if strings.Contains(text, "\n"+absent) {
			t.Errorf("%s in the scrape", absent)
		}
	}
}

// scrape is what Prometheus gets.
func scrape(t testing.TB, m *Metrics) string {
	t.Helper()
	rec := httptest.NewRecorder()
	m.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	if rec.Code != 200 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	return rec.Body.String()
}
