package metrics

import (
	"strings"
	"testing"
	"time"

	"mrcproxy/balancer"
	"mrcproxy/health"
	"mrcproxy/proxy"
)

func TestLimits(t *testing.T) {
	b := farm(t, first)
	m := over(b)
	l, why := b.Pick(balancer.Request{Cluster: "ali", Now: epoch, Resources: []string{"speechrecog"}})
	if l == nil {
		t.Fatal(why)
	}
	b.SetElsewhere(b.Backends()[0], 4)
	b.SetElsewhereFor(b.Backends()[0], "speechrecog", 3)
	for name, want := range map[string]string{
		"mrcproxy_backend_max_cps":           `{backend="sip:10.0.0.1:8060",cluster="ali",idc="sh-a"} 30`,
		"mrcproxy_backend_resource_sessions": `{backend="sip:10.0.0.1:8060",cluster="ali",idc="sh-a",resource="speechrecog"} 4`,
		"mrcproxy_backend_resource_capacity": `{backend="sip:10.0.0.1:8060",cluster="ali",idc="sh-a",resource="speechrecog"} 40`,
		"mrcproxy_cluster_sessions":          `{cluster="ali"} 5`,
		"mrcproxy_cluster_licences":          `{cluster="ali"} 70`,
		"mrcproxy_spilled_sessions":          `{cluster="ali",idc="sh-b"} 0`,
		"mrcproxy_spill_limit_sessions":      `{cluster="ali",idc="sh-b"} 9`,
		"mrcproxy_queue_waiting":             `{cluster="ali"} 5`,
		"mrcproxy_backend_latency_seconds":   "",
	} {
		if want != "" {
			want = name + want
		}
		series(t, m, want, name)
	}
	b.Observe(b.Backends()[0], 250*time.Millisecond)
	series(t, m, `mrcproxy_backend_latency_seconds{backend="sip:10.0.0.1:8060",cluster="ali",idc="sh-a"} 0.25`, "mrcproxy_backend_latency_seconds")
}

// A condition is told beside the state; one that is over is 0, not absent.
func TestConditions(t *testing.T) {
	b := farm(t, first)
	m := over(b)
	b.Hold(b.Backends()[0], time.Now().Add(time.Hour))
	where := `mrcproxy_backend_condition{backend="sip:10.0.0.1:8060",cluster="ali",condition=`
	series(t, m, where+`"ejected",idc="sh-a"} 0
		`+where+`"engine_down",idc="sh-a"} 0
		`+where+`"held",idc="sh-a"} 1
		`+where+`"operator",idc="sh-a"} 1
		`+where+`"probation",idc="sh-a"} 0
		`+where+`"slow_start",idc="sh-a"} 0
		`+where+`"suspect",idc="sh-a"} 1`, "mrcproxy_backend_condition")
}

func TestAttemptsAndChanges(t *testing.T) {
	b := farm(t, first)
	m := over(b)
	be := b.Backends()[0]
	for _, k := range []proxy.OutcomeKind{proxy.Answered, proxy.Answered, proxy.Failed, proxy.Refused, 99} {
		m.Attempted(be, k)
	}
	m.StateChanged(be, health.Down)
	at := `mrcproxy_attempts_total{backend="sip:10.0.0.1:8060",cluster="ali",outcome=`
	series(t, m, at+`"answered"} 2
		`+at+`"errored"} 0
		`+at+`"failed"} 1
		`+at+`"refused"} 1`, "mrcproxy_attempts_total")
	to := `mrcproxy_backend_state_changes_total{backend="sip:10.0.0.1:8060",cluster="ali",state=`
	series(t, m, to+`"down"} 1
		`+to+`"draining"} 0
		`+to+`"unknown"} 0
		`+to+`"up"} 0`, "mrcproxy_backend_state_changes_total")
	m.Forget(be.URI())
	series(t, m, "", "mrcproxy_attempts_total")
	series(t, m, "", "mrcproxy_backend_state_changes_total")
	m.InviteDone(&proxy.Invite{Cluster: "ali", Code: 480, Queued: 300 * time.Millisecond})
	m.InviteDone(&proxy.Invite{Cluster: "ali", Code: 200})
	if got := scrape(t, m); !strings.Contains(got, `mrcproxy_queue_duration_seconds_sum{cluster="ali"} 0.3`) || !strings.Contains(got, `mrcproxy_queue_duration_seconds_count{cluster="ali"} 1`) {
		t.Error("the wait of the one that waited")
	}
}
