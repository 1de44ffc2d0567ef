package metrics

import (
	"net/netip"
	"testing"
	"time"

	"mrcproxy/balancer"
	"mrcproxy/health"
	"mrcproxy/health/probe"
	"mrcproxy/internal/cdr"
	"mrcproxy/internal/hep"
	"mrcproxy/internal/journal"
	"mrcproxy/internal/resolver"
	"mrcproxy/internal/session"
	"mrcproxy/internal/spans"
	"mrcproxy/internal/store"
	"mrcproxy/proxy"
	"mrcproxy/proxy/transport"
)

var (
	epoch  = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	first  = limited(server(1, 50, 1))
	second = server(2, balancer.Unlimited, 2)
)

// server is a backend at 10.0.0.n.
func server(n byte, capacity, weight int) balancer.BackendSpec {
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, n}), 8060)
	return balancer.BackendSpec{URI: "sip:" + addr.String(), Network: "udp", Addr: addr, Capacity: capacity, Weight: weight}
}

// limited is a backend with limits of all kinds.
func limited(s balancer.BackendSpec) balancer.BackendSpec {
	s.Resources, s.MaxCPS = map[string]int{"speechrecog": 40}, 30
	return s
}

// farm is cluster "ali" in IDC "sh-a" with these servers.
func farm(t testing.TB, servers ...balancer.BackendSpec) *balancer.Balancer {
	t.Helper()
	b := balancer.New()
	apply(t, b, servers...)
	return b
}

func apply(t testing.TB, b *balancer.Balancer, servers ...balancer.BackendSpec) {
	t.Helper()
	remote := balancer.GroupSpec{IDC: "sh-b"}
	err := b.Apply(balancer.Spec{IDC: "sh-a", Clusters: []balancer.ClusterSpec{{
		Name: "ali", Licences: 70, Spill: balancer.Spill{Sessions: 9}, Groups: []balancer.GroupSpec{{IDC: "sh-a", Backends: servers}, remote},
	}}})
	if err != nil {
		t.Fatal(err)
	}
}

func take(t testing.TB, b *balancer.Balancer) *balancer.Lease {
	t.Helper()
	l, refusal := b.Pick(balancer.Request{Cluster: "ali", Now: epoch})
	if l == nil {
		t.Fatal(refusal)
	}
	return l
}

// over reads the backends from b, and fixed numbers from all else.
func over(b *balancer.Balancer) *Metrics {
	return New(Sources{
		Backends:     b.View,
		Sessions:     func() int { return 7 },
		Transactions: func() int { return 11 },
		Transport: func() transport.Stats {
			return transport.Stats{
				Open: 1, Pending: 2, Accepted: 3, Refused: 4, Dialled: 5, DialFailed: 6, Slow: 7, Malformed: 8, DatagramsIn: 9,
				DatagramsOut: 10, SendDrops: 11, ReceiveDrops: 12, Unreachable: 13, StreamIn: 14, StreamOut: 15,
			}
		},
		Names: func() []resolver.Stat {
			return []resolver.Stat{{
				Name: resolver.Name{Host: "asr.example.com", Port: 8060, Network: "tcp"}, Targets: 3, OK: 8, Failed: 2, LastSuccess: epoch,
			}}
		},
		Journal: func() journal.Stats { return journal.Stats{Up: true, Bytes: 16, Failures: 17} },
		Store: func() store.Stats {
			return store.Stats{Up: true, Exact: true, Admitted: 1, Refused: 2, AloneAdmitted: 3, AloneRefused: 4, Losses: 5, Resets: 6}
		},
		CDR:      func() cdr.Stats { return cdr.Stats{Written: 1, Dropped: 2, Errors: 3} },
		Spans:    func() spans.Stats { return spans.Stats{Sent: 1, Dropped: 2, Errors: 3} },
		HEP:      func() hep.Stats { return hep.Stats{Sent: 1, Dropped: 2, Errors: 3} },
		Clusters: b.Clusters,
		Health:   func(uint32) (health.Status, bool) { return health.Status{State: health.Up, Suspect: true}, true },
		Operator: func(cluster, idc, backend string) bool {
			return cluster == "ali" && idc == "sh-a" && backend == first.URI
		},
		Queued:  func() map[string]int { return map[string]int{"ali": 5} },
		Version: "1.2.3", Revision: "abc", IDC: "sh-a",
	})
}

// everything tells m of one event of each kind, so that every metric has a series.
func everything(t testing.TB, m *Metrics, b *balancer.Balancer) {
	t.Helper()
	backend := b.Backends()[0]
	m.InviteDone(&proxy.Invite{Cluster: "ali", Backend: backend, Code: 200, Took: 3 * time.Millisecond})
	m.Attempted(backend, proxy.Errored)
	m.StateChanged(backend, health.Down)
	b.Observe(backend, 4*time.Millisecond)
	m.FailedOver("ali", "no_response")
	m.Admission(time.Millisecond)
	m.Dropped(proxy.DropMalformed)
	m.Late(backend)
	m.Unroutable(&proxy.Invite{CallID: "call"}, "agent")
	m.Probed("ali", "sh-a", backend.URI(), true, time.Millisecond)
	m.SessionEnded(&session.Session{Kind: &session.Kind{Cluster: "ali"}, Start: time.Now(), Lease: take(t, b)}, session.ByeClient)
	m.Reloaded(true, epoch)
	for _, f := range probe.Failures() {
		m.DeepProbed("ali", backend.URI(), probe.Report{Failure: f, Took: [probe.Steps]time.Duration{1, 2, 3, 4}})
	}
	m.DeepSkipped("ali", backend.URI(), "full")
	m.DeepSkipped("ali", backend.URI(), "down")
}
