package test

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

// TestMetrics: the daemon's scrape is as promtool wants it, holds the metrics that are promised, and they move.
func TestMetrics(t *testing.T) {
	l := newLab(t)
	l.simServer(21, sim.ServerOptions{})
	l.simServer(22, sim.ServerOptions{}).SetFault(sim.Refuse(486, 0))
	d := l.start(l.head() + `
health: {interval: 200ms, hold_for: 0s}
otherwise: {cluster: asr}
clusters:
  - name: asr
    policy: weighted
    groups:
      - idc: a
        backends:
          - {uri: "sip:` + l.ip(21) + `:8060", capacity: 7}
          - {uri: "sip:` + l.ip(22) + `:8060", weight: 100}
`)
	d.await("both are up", 10*time.Second, func() bool { return d.up() == 2 })
	first := d.metrics()
	p := l.dial("udp", 5)
	for range 3 {
		p.establish(rawRequest{}).bye()
	}
	held := p.establish(rawRequest{})
	p.ask(rawRequest{method: "BYE", toTag: "nobody"})

	one, two := `{backend="sip:`+l.ip(21)+`:8060",cluster="asr"`, `{backend="sip:`+l.ip(22)+`:8060",cluster="asr"`
	m := d.metrics()
	for series, want := range map[string]float64{
		"mrcproxy_backend_up" + one + `,idc="a"}`:                          1,
		"mrcproxy_backend_up" + two + `,idc="a"}`:                          1,
		"mrcproxy_backend_sessions" + one + `,idc="a"}`:                    1,
		"mrcproxy_backend_sessions" + two + `,idc="a"}`:                    0,
		"mrcproxy_backend_capacity" + one + `,idc="a"}`:                    7,
		"mrcproxy_backend_weight" + two + `,idc="a"}`:                      100,
		"mrcproxy_invites_total" + one + `,code="200"}`:                    4,
		`mrcproxy_failovers_total{cluster="asr",reason="486"}`:             4,
		`mrcproxy_invite_duration_seconds_count{cluster="asr"}`:            4,
		`mrcproxy_sessions_ended_total{cluster="asr",reason="bye_client"}`: 3,
		`mrcproxy_sessions_ended_total{cluster="asr",reason="expired"}`:    0,
		`mrcproxy_session_duration_seconds_count{cluster="asr"}`:           3,
		`mrcproxy_dropped_total{reason="no_dialog"}`:                       1,
		`mrcproxy_dropped_total{reason="malformed"}`:                       0,
		"mrcproxy_sessions":                      1,
		"go_gc_gogc_percent":                     50, // unless GOGC says otherwise
		"mrcproxy_config_last_reload_successful": 1,
		`mrcproxy_invite_duration_seconds_bucket{cluster="asr",le="+Inf"}`: 4,
		`mrcproxy_transport_connections`:                                   0,
	} {
		if got, ok := m[series]; !ok || got != want {
			t.Errorf("%s is %v (there: %v), want %v", series, got, ok, want)
		}
	}
	if _, ok := m["mrcproxy_backend_capacity"+two+`,idc="a"}`]; ok {
		t.Error("a server without a limit has a capacity")
	}
	if sum(m, "mrcproxy_build_info", `idc="a"`, "version=", "goversion=") != 1 {
		t.Errorf("build info:%s", nonZero(m, "mrcproxy_build_info"))
	}
	if at := m["mrcproxy_config_last_reload_success_timestamp_seconds"]; time.Since(time.UnixMilli(int64(at*1000))).Abs() > time.Minute {
		t.Errorf("last reload at %v", at)
	}
	if s := m[`mrcproxy_invite_duration_seconds_sum{cluster="asr"}`]; s <= 0 || s > 4 {
		t.Errorf("INVITEs took %v s", s)
	}
	d.await("probes are counted", 10*time.Second, func() bool {
		name := "mrcproxy_probe_duration_seconds_count"
		return sum(d.metrics(), name, `result="ok"`, l.ip(21)) > sum(first, name, `result="ok"`, l.ip(21)) && sum(d.metrics(), name, `result="ok"`, l.ip(22)) > 0
	})
	held.bye()

	_, text := d.get("/metrics")
	lint := exec.Command("promtool", "check", "metrics")
	lint.Stdin = strings.NewReader(text)
	if out, err := lint.CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// TestReadiness: who asks by HTTP, or pings by OPTIONS as a FreeSWITCH gateway does, learns whether sessions can be taken, by
// any cluster or by the one it names.
func TestReadiness(t *testing.T) {
	l := newLab(t)
	one, two := l.simServer(21, sim.ServerOptions{}), l.simServer(22, sim.ServerOptions{})
	d := l.start(l.head() + `
health: {interval: 100ms, timeout: 500ms}
otherwise: {cluster: one}
clusters:
  - {name: one, groups: [{backends: [{uri: "sip:` + l.ip(21) + `:8060", capacity: 1}]}]}
  - {name: two, groups: [{backends: [{uri: "sip:` + l.ip(22) + `:8060;transport=tcp"}]}]}
  - {name: both, fallback: [two], groups: [{backends: [{uri: "sip:` + l.ip(21) + `:8060"}]}]}
`)
	udp, tcp := l.dial("udp", 5), l.dial("tcp", 5)
	ping := func(user string, want int) {
		t.Helper()
		for _, p := range []*rawPeer{udp, tcp} {
			r := rawRequest{method: "OPTIONS", uri: "sip:" + user + l.proxyAddr()}
			if a := p.ask(r); a.code != want || want == 200 && !strings.Contains(a.value("Allow"), "INVITE") {
				t.Errorf("OPTIONS %s by %s: want %d, got\n%s", r.uri, p.network, want, a.head)
			}
		}
	}
	ready := func(want int) {
		t.Helper()
		if code, text := d.get("/-/ready"); code != want {
			t.Errorf("/-/ready answers %d %s, want %d", code, text, want)
		}
		if code, _ := d.get("/-/healthy"); code != 200 {
			t.Errorf("/-/healthy answers %d, want 200", code)
		}
	}
	all := func(any, first, second, third int) {
		t.Helper()
		ready(any)
		ping("", any)
		ping("one@", first)
		ping("two@", second)
		ping("both@", third)
		ping("nobody@", 503)
	}
	d.await("all are up", 10*time.Second, func() bool { return d.up() == 3 })
	all(200, 200, 200, 200)
	s := udp.establish(rawRequest{})
	all(200, 503, 200, 200) // one is full
	s.bye()
	all(200, 200, 200, 200)
	two.Kill()
	d.await("two is down", 10*time.Second, func() bool { return d.up() == 2 })
	all(200, 200, 503, 200)
	one.Kill()
	d.await("all are down", 10*time.Second, func() bool { return d.up() == 0 })
	all(503, 503, 503, 503)
	if a := udp.ask(rawRequest{}); a.code != 480 || !strings.Contains(a.value("Reason"), "1 down") {
		t.Errorf("an INVITE with all down: %s", a.head)
	}
	if err := two.Revive(); err != nil {
		t.Fatal(err)
	}
	d.await("two is up", 10*time.Second, func() bool { return d.up() == 1 })
	all(200, 503, 200, 200)
}
