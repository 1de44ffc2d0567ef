package test

import (
	"strings"
	"testing"
	"time"

	"mrcproxy/internal/clocktest"
	"mrcproxy/internal/sim"
)

// deadline is the default of failover.deadline: how long a client waits for its answer at most.
const deadline = 4 * time.Second

// mustBeTold has n clients place an INVITE each at once, and checks that each is told by the deadline that nothing can take it,
// when to come back, and why.
func (l *lab) mustBeTold(n int) {
	l.t.Helper()
	c := l.simClient(sim.ClientOptions{})
	clock := clocktest.Start(l.t)
	h := &held{t: l.t, n: n, all: make(chan outcome, n)}
	for range n {
		go func() { h.all <- session(l.t.Context(), c, 0) }()
	}
	told := l.dial("udp", 6).ask(rawRequest{})
	if told.code != 480 || told.value("Retry-After") == "" || !strings.HasPrefix(told.value("Reason"), `SIP;cause=480;text="`) {
		l.t.Errorf("answered\n%s", told.head)
	}
	all := h.wait(n)
	for _, o := range all {
		if o.Code != 480 || o.Err != nil {
			l.t.Errorf("session: %+v", o.Result)
		}
	}
	s := setups(all)
	l.t.Logf("INVITE to 480: %v", s)
	if s.p(100) > deadline+300*time.Millisecond+clock.Lost() { // a timer's tick, and a busy machine
		l.t.Errorf("the last answer came after %v, want %v at most", s.p(100), deadline)
	}
}

// Every server is silent, or answers 100 and then nothing, and no probe has shown it yet.
func TestAllSilent(t *testing.T) {
	l := newLab(t)
	d := l.start(l.cluster(l.group("a", l.uri(21, "udp"), l.uri(22, "udp"), l.uri(23, "tcp")), l.group("b", l.uri(24, "udp"))))
	for n := 21; n <= 24; n++ {
		s := l.simServer(n, sim.ServerOptions{})
		d.await("all are up", 5*time.Second, func() bool { return s.Stats().Options > 0 && d.up() >= n-20 })
		if s.SetFault(sim.Silent); n == 22 {
			s.SetFault(sim.Slow)
		}
	}
	l.mustBeTold(10)
	d.await("no lease is left", 5*time.Second, func() bool { return sum(d.metrics(), "mrcproxy_backend_sessions") == 0 })
}

// Every server refuses: a 503 is not passed on (RFC 3261 16.7), its Retry-After is; another refusal is.
func TestAllRefuse(t *testing.T) {
	l := newLab(t)
	d := l.start(l.cluster(l.group("a", l.uri(21, "udp"), l.uri(22, "udp"))))
	a, b := l.simServer(21, sim.ServerOptions{}), l.simServer(22, sim.ServerOptions{})
	d.await("both are up", 5*time.Second, func() bool { return d.up() == 2 })
	a.SetFault(sim.Refuse(503, 7*time.Second))
	b.SetFault(sim.Refuse(503, 0))
	l.mustBeTold(1)
	peer := l.dial("udp", 6)
	if got := peer.ask(rawRequest{}); got.code != 480 || got.value("Retry-After") != "7" {
		t.Errorf("without the servers' Retry-After:\n%s", got.head)
	}
	b.SetFault(sim.Refuse(406, 0))
	if got := peer.ask(rawRequest{}); got.code != 406 {
		t.Errorf("a 503 and a 406 make\n%s", got.head)
	}
	if n := a.Stats().Invites + b.Stats().Invites; n != 8 {
		t.Errorf("%d INVITEs at the servers, want 8: each asked once a call", n)
	}
}
