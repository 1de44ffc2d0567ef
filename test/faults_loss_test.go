package test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

// lossy passes datagrams on between two sides and loses one in ten, in each direction.
type lossy struct {
	near, far    *net.UDPConn
	peer         atomic.Pointer[netip.AddrPort] // on the near side: who sent last
	passed, lost atomic.Int64
}

// way is one direction of a lossy.
type way struct {
	dice       *rand.Rand
	from, onto *net.UDPConn
	to         func() netip.AddrPort
	heard      func(netip.AddrPort)
	was, is    []byte // what is rewritten in each datagram, of the same length
}

// lossyRelay takes datagrams at near and sends them on from far to the address to; answers go the other way. For those who
// take the route from messages it stands in for host: both sides see it at near.
func (l *lab) lossyRelay(seed uint64, near, far, to, host netip.AddrPort) *lossy {
	l.t.Helper()
	r := &lossy{near: l.bind(near), far: l.bind(far)}
	out := way{
		dice: rand.New(rand.NewPCG(seed, 1)), from: r.near, onto: r.far, was: []byte(near.String()), is: []byte(host.String()),
		to: func() netip.AddrPort { return to }, heard: func(a netip.AddrPort) { r.peer.Store(&a) },
	}
	if len(out.was) != len(out.is) {
		l.t.Fatalf("%s and %s differ in length", out.was, out.is)
	}
	in := way{
		dice: rand.New(rand.NewPCG(seed, 2)), from: r.far, onto: r.near, was: out.is, is: out.was,
		to: func() netip.AddrPort { return *r.peer.Load() }, heard: func(netip.AddrPort) {},
	}
	r.peer.Store(&netip.AddrPort{})
	var both sync.WaitGroup
	both.Go(func() { r.pass(out) })
	both.Go(func() { r.pass(in) })
	l.t.Cleanup(func() {
		_, _ = r.near.Close(), r.far.Close()
		both.Wait()
	})
	return r
}

func (r *lossy) pass(w way) {
	buf := make([]byte, 65535)
	for {
		n, source, err := w.from.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		w.heard(source)
		if w.dice.IntN(10) == 0 {
			r.lost.Add(1)
			continue
		}
		r.passed.Add(1)
		if a := w.to(); a.IsValid() {
			_, _ = w.onto.WriteToUDPAddrPort(bytes.ReplaceAll(buf[:n], w.was, w.is), a)
		}
	}
}

func (l *lab) bind(a netip.AddrPort) *net.UDPConn {
	l.t.Helper()
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(a))
	if err != nil {
		l.t.Fatal(err)
	}
	_ = c.SetReadBuffer(4 << 20)
	return c
}

// One datagram in ten is lost each way, between the client and the daemon and between the daemon and one of two servers: all
// sessions succeed.
func TestLostDatagrams(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	at := func(host, port int) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr(l.ip(host)), uint16(port))
	}
	servers := []*sim.Server{l.simServer(21, sim.ServerOptions{}), l.simServer(22, sim.ServerOptions{})}
	proxy, server := at(10, 5060), servers[0].Addr()
	toClient := l.lossyRelay(1, at(19, 5060), at(19, 5061), proxy, proxy)
	toServer := l.lossyRelay(2, at(31, 8060), at(31, 5060), server, server) // answers come to the Via's port
	d := l.start(frank(l.cluster(l.group("a", l.uri(31, "udp"), l.uri(22, "udp")))))
	d.await("the servers are up", 8*time.Second, func() bool { return d.up() == 2 })

	client := l.simClient(sim.ClientOptions{Proxy: at(19, 5060)})
	g := l.load(client, 60, 500*time.Millisecond)
	g.runFor(290, 20*time.Second)
	all := g.end()
	t.Logf("setup %v", setups(all))
	t.Logf("BYE   %v", spreadOf(all, func(o outcome) time.Duration { return o.Bye }))
	for i, s := range servers {
		t.Logf("server %d: %+v", i, s.Stats())
	}
	for _, r := range []*lossy{toClient, toServer} {
		t.Logf("%d datagrams lost, %d not", r.lost.Load(), r.passed.Load())
		if r.lost.Load() < 50 {
			t.Error("too few for a test")
		}
	}
	mustSucceed(t, all)
	unanswered := 0
	for _, o := range all {
		if o.ByeCode != 200 {
			unanswered++
		}
	}
	// All of five copies, or their answers: about one in 4000.
	if unanswered > 1 {
		t.Errorf("%d BYEs had no answer from the server", unanswered)
	}
	if servers[0].Stats().Answered < len(all)/4 {
		t.Errorf("the server behind the loss had %d of %d sessions", servers[0].Stats().Answered, len(all))
	}
	await(t, "no session is left at the servers", 5*time.Second, func() bool { return servers[0].Sessions()+servers[1].Sessions() == 0 })
	d.freed()
}
