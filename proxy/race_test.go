package proxy

import (
	"errors"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mrcproxy/balancer"
	"mrcproxy/proxy/transport"
)

// refusing is a network where a dialled connection's end is told before Send has returned its id, as a refused connection
// on the same machine is.
type refusing struct {
	*fakeNet
	p    *Proxy
	addr netip.AddrPort
}

func (r *refusing) Send(f transport.Flow, b []byte) (uint64, error) {
	conn, err := r.fakeNet.Send(f, b)
	if f.Remote == r.addr {
		r.mu.Lock()
		delete(r.conns, conn)
		r.mu.Unlock()
		go r.p.Closed(conn, r.addr, errors.New("refused"))
		for range 1000 {
			runtime.Gosched()
		}
	}
	return conn, err
}

// TestRefusedWhileSending guards failover from a wait of 500 ms where the connection was refused at once.
func TestRefusedWhileSending(t *testing.T) {
	inLab(t, setup{servers: []string{"sip:" + serverA + ";transport=tcp", "sip:" + serverB}}, func(l *lab) {
		c, a, b := l.udp(freeswitch), l.tcp(serverA), l.udp(serverB)
		l.p.net = &refusing{l.net, l.p, a.addr}
		c.invite("fs-recog-udp-01-INVITE")
		a.recv("INVITE")
		synctest.Wait()
		d := l.accept(c, b, "fs-recog-udp-03-200-INVITE")
		if l.bal.reports[0] != serverA+" failed connection" {
			t.Errorf("%v", l.bal.reports)
		}
		n := 0
		l.p.used.Range(func(any, any) bool { n++; return true })
		if n != 0 {
			t.Errorf("%d connections are remembered", n)
		}
		d.bye()
	})
}

// panicking is a balancer with a bug.
type panicking struct {
	*reporting
	times int
}

func (b *panicking) Report(be *balancer.Backend, o Outcome) {
	if b.times++; b.times == 1 {
		panic("a bug")
	}
	b.reporting.Report(be, o)
}

// TestPanicKeepsNoLock: a bug met while a connection's end is told, or a timer fires, must not leave a shard locked.
func TestPanicKeepsNoLock(t *testing.T) {
	inLab(t, setup{servers: []string{"sip:" + serverA + ";transport=tcp"}}, func(l *lab) {
		c, srv := l.dials(ephTCP, viaTCP), l.tcp(serverA)
		l.p.bal = &panicking{reporting: l.bal}
		inv := c.invite("fs-recog-tcp-01-INVITE")
		srv.recv("INVITE")
		l.close(serverA)
		l.wantDropped(DropPanic, 1)
		l.obs.dropped[DropPanic] = 0
		c.recvAt(150*time.Millisecond, "100") // the client still gets what it is owed
		c.recvAt(4*time.Second, "480")
		c.send(inv.clone().rename("ACK"))
	})
	inLab(t, setup{}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		l.p.bal = &panicking{reporting: l.bal}
		inv := c.invite("fs-recog-udp-01-INVITE")
		c.recvAt(150*time.Millisecond, "100")
		l.until(4 * time.Second)
		for srv.next() != nil {
		}
		l.wantDropped(DropPanic, 1)
		l.obs.dropped[DropPanic] = 0
		c.recvAt(5*time.Second, "480") // what was due is done at the next try
		c.send(inv.clone().rename("ACK"))
	})
}

// TestManyAtOnce sends from many goroutines, for the race detector; every session ends, nothing is left.
func TestManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, setup{servers: []string{"sip:" + serverA, "sip:" + serverB, "sip:" + serverC}, capacity: 50})
		defer func() { l.stop() }()
		net := l.automatic()
		l.run()
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				c := newCaller(l, i)
				for range 20 {
					if !c.call(l.p, net) {
						t.Errorf("got %s", c.got)
						return
					}
				}
			})
		}
		wg.Wait()
		l.wait(80 * time.Second)
		l.noSessions()
		if n := l.p.Transactions(); n != 0 {
			t.Errorf("%d transactions", n)
		}
	})
}
