package test

import (
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"mrcproxy/internal/clocktest"
	"mrcproxy/internal/sim"
)

// inState says whether a backend is in a state, as the metrics show it.
func inState(m map[string]float64, uri, state string) bool {
	return sum(m, "mrcproxy_backend_state", `"`+uri+`"`, `state="`+state+`"`) == 1
}

// picked is how often a backend was chosen.
func picked(m map[string]float64, uri string) int {
	return int(sum(m, "mrcproxy_backend_picked_total", `"`+uri+`"`))
}

// badServer is a way for one of two servers to be of no use.
type badServer struct {
	name    string
	network string // of the client and of both servers
	fault   sim.Fault
	kill    bool // in place of a fault: nothing is there any more
	swallow bool // in place of a server: SYNs get no answer
	// held: it refuses, and is passed over for a second each time. Else it fails, and is taken out.
	held bool
}

var badServers = []badServer{
	{name: "silent", network: "udp", fault: sim.Silent},
	{name: "silent", network: "tcp", fault: sim.Silent},
	{name: "zombie", network: "udp", fault: sim.Zombie},
	{name: "slow", network: "udp", fault: sim.Slow},
	{name: "slow", network: "tcp", fault: sim.Slow},
	{name: "406", network: "udp", fault: sim.Refuse(406, 0), held: true},
	{name: "503", network: "tcp", fault: sim.Refuse(503, 0), held: true},
	{name: "killed", network: "udp", kill: true},
	{name: "refused", network: "tcp", kill: true},
	{name: "swallows SYNs", network: "tcp", swallow: true},
}

// With a bad server beside a good one, the client has its 200 from the good one soon, and the bad one is left alone.
func TestBadServer(t *testing.T) {
	for _, b := range badServers {
		t.Run(b.name+" "+b.network, func(t *testing.T) {
			t.Parallel()
			b.test(t)
		})
	}
}

func (b badServer) test(t *testing.T) {
	l := newLab(t)
	goodURI, badURI := l.uri(21, b.network), l.uri(22, b.network)
	good := l.simServer(21, sim.ServerOptions{})
	var bad *sim.Server
	if b.swallow {
		l.swallowSYNs(22)
	} else {
		bad = l.simServer(22, sim.ServerOptions{})
	}
	d := l.start(l.cluster(l.group("a", goodURI, badURI)))
	want := 2
	if b.swallow {
		want = 1
	}
	d.await("the servers are up", 5*time.Second, func() bool { return d.up() == want })

	g := l.load(l.simClient(sim.ClientOptions{Network: b.network}), 50, 100*time.Millisecond)
	if !b.swallow {
		g.runFor(25, 10*time.Second)
	}
	usual := setups(g.soFar()).p(100) // on a machine that may have other work
	faulty, clock := time.Now(), clocktest.Start(t)
	switch {
	case b.kill:
		bad.Kill()
	case !b.swallow:
		bad.SetFault(b.fault)
	}
	before := d.metrics()
	if !b.held {
		d.await("it is out of rotation", 3*time.Second, func() bool { return inState(d.metrics(), badURI, "down") })
		t.Logf("out of rotation after %v", time.Since(faulty).Round(time.Millisecond))
		before = d.metrics()
	}
	g.runFor(g.over()+250, 20*time.Second)
	lasted := time.Since(faulty)
	all := g.end()
	mustSucceed(t, all)
	hit := all[:0:0]
	for _, o := range all {
		if o.Began.After(faulty) {
			hit = append(hit, o)
		}
	}
	s := setups(hit)
	t.Logf("setup while it was bad: %v", s)
	if len(hit) < 200 {
		t.Errorf("%d sessions while it was bad, want 200", len(hit))
	}
	if limit := 1500*time.Millisecond + 4*usual + clock.Lost(); s.p(99) >= limit {
		t.Errorf("p99 is %v, want less than %v", s.p(99), limit)
	}
	b.leftAlone(t, d, badURI, picked(before, badURI), lasted)
	d.await("no lease is left", 5*time.Second, func() bool { return sum(d.metrics(), "mrcproxy_backend_sessions") == 0 })
	await(t, "no session is left at the good server", 5*time.Second, func() bool { return good.Sessions() == 0 })
}

// leftAlone checks what the bad server was asked since it had been picked so often.
func (b badServer) leftAlone(t *testing.T, d *daemon, uri string, before int, lasted time.Duration) {
	t.Helper()
	n, limit := picked(d.metrics(), uri)-before, 0
	if b.held {
		// Each hold ends after a second; a few calls may be on their way before the next one begins.
		limit = 3 * (int(lasted/time.Second) + 2)
	}
	if n > limit {
		t.Errorf("picked %d times in %v, want %d at most", n, lasted, limit)
	}
}

// swallowSYNs has host n accept no connection and refuse none: the queue of its listener is full.
func (l *lab) swallowSYNs(n int) {
	l.t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = syscall.Close(fd) })
	a := syscall.SockaddrInet4{Port: 8060, Addr: [4]byte(net.ParseIP(l.ip(n)).To4())}
	if err := syscall.Bind(fd, &a); err != nil {
		l.t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		l.t.Fatal(err)
	}
	for range 8 {
		c, err := net.DialTimeout("tcp4", fmt.Sprintf("%s:8060", l.ip(n)), 300*time.Millisecond)
		if err != nil {
			return // full
		}
		l.t.Cleanup(func() { _ = c.Close() })
	}
	l.t.Fatal("the queue of a listener does not fill")
}
