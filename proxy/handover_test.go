package proxy

import (
	"context"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// succeed puts a successor in the place of the Proxy, which goes on with what it has.
func (l *lab) succeed() (old *Proxy) {
	l.Helper()
	old = l.p
	stop := l.stop
	l.p = newProxy(old.opts)
	l.p.attach(l.net, func(i int) netip.AddrPort { return old.opts.Listeners[i].Bind })
	l.p.Follow(old, old.Generations())
	l.run()
	stopNew := l.stop
	l.stop = func() { stop(); stopNew() }
	return old
}

// TestSuccessor: each message of a transaction that began before the sockets changed hands reaches the process that has it,
// through one hand-over and through two; what is new is the successor's.
func TestSuccessor(t *testing.T) {
	scenes := map[string]func(*lab, *peer, *peer, func()){
		"answer": func(l *lab, c, srv *peer, upgrade func()) {
			c.invite("fs-recog-udp-01-INVITE")
			in := srv.recv("INVITE")
			upgrade()
			srv.answer(in, "fs-recog-udp-03-200-INVITE")
			d := &dialog{l: l, client: c, server: srv, invite: in, ok: c.recv("200")}
			c.send(d.fromClient("ACK"))
			srv.recv("ACK")
			srv.answer(in, "fs-recog-udp-03-200-INVITE") // the ACK was lost
			c.recv("200")
			c.send(d.fromClient("ACK"))
			srv.recv("ACK")
			d.bye()
		},
		"retransmission": func(l *lab, c, srv *peer, upgrade func()) {
			inv := c.invite("fs-recog-udp-01-INVITE")
			in := srv.recv("INVITE")
			srv.answer(in, "180 Ringing")
			c.recv("180")
			upgrade()
			c.send(inv) // RFC 3261 17.2.1: the last provisional response again, and no second INVITE
			c.recv("180")
			srv.none()
			srv.answer(in, "fs-recog-udp-03-200-INVITE")
			d := &dialog{l: l, client: c, server: srv, invite: in, ok: c.recv("200")}
			c.send(inv)
			srv.none()
			c.none()
			c.send(d.fromClient("ACK"))
			srv.recv("ACK")
			d.bye()
		},
		"cancel": func(l *lab, c, srv *peer, upgrade func()) {
			inv := c.invite("fs-recog-udp-01-INVITE")
			in := srv.recv("INVITE")
			srv.answer(in, "180 Ringing")
			c.recv("180")
			upgrade()
			c.send(inv.clone().rename("CANCEL"))
			c.recv("200 CANCEL")
			srv.answer(srv.recv("CANCEL"), "200 OK")
			srv.answer(in, "487 Request Terminated")
			srv.recv("ACK")
			c.send(inv.clone().rename("ACK").set("To", c.recv("487").get("To")))
			l.wait(5 * time.Second)
			c.none() // the ACK to the 487 has arrived where it belongs
		},
		"bye": func(l *lab, c, srv *peer, upgrade func()) {
			d := l.call(c, srv)
			bye := c.send(d.fromClient("BYE"))
			in := srv.recv("BYE")
			upgrade()
			srv.answer(in, "200 OK")
			c.recv("200 BYE")
			c.send(bye) // its 200 was lost
			c.recv("200 BYE")
			srv.none()
		},
		"unreachable": func(l *lab, c, srv *peer, upgrade func()) {
			c.invite("fs-recog-udp-01-INVITE")
			head := []byte(srv.recv("INVITE").String())
			upgrade()
			l.p.Unreachable(head, srv.addr, syscall.ECONNREFUSED)
			m := c.recv("480")
			c.send(c.request("fs-recog-udp-01-INVITE").rename("ACK").set("To", m.get("To")))
		},
		"new": func(l *lab, c, srv *peer, upgrade func()) {
			d := l.call(c, srv)
			upgrade()
			d.bye()
			inv := c.send(c.request("fs-recog-udp-01-INVITE").set("Call-ID", "new").branch("new"))
			in := srv.recv("INVITE")
			l.wantPlaced(1)
			srv.answer(in, "486 Busy Here")
			srv.recv("ACK")
			c.send(inv.clone().rename("ACK").set("To", c.recv("486").get("To")))
		},
	}
	for name, scene := range scenes {
		for _, upgrades := range []int{1, 2} {
			t.Run(name, func(t *testing.T) {
				inLab(t, setup{}, func(l *lab) {
					var old []*Proxy
					scene(l, l.udp(freeswitch), l.udp(serverA), func() {
						for range upgrades {
							old = append(old, l.succeed())
						}
					})
					l.wantDropped(DropStray, 0)
					for _, p := range old {
						for range 8 { // 64*T1 of RFC 3261's timers
							if p.Transactions() > 0 {
								l.wait(10 * time.Second)
							}
						}
						if n := p.Transactions(); n != 0 {
							t.Errorf("%d transactions are left at the old process", n)
						}
					}
				})
			})
		}
	}
}

// TestStrangersBranches: without a predecessor, or when it is another's, what belongs to nobody is dropped.
func TestStrangersBranches(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		inv := c.invite("fs-recog-udp-01-INVITE")
		in := srv.recv("INVITE")
		old := l.succeed()
		l.p.Follow(nil, nil)
		srv.answer(in, "180 Ringing")
		l.wantDropped(DropStray, 1)
		l.p.Follow(old, []Generation{{Epoch: old.epoch + 1, Seed: old.keySeed}})
		srv.answer(in, "180 Ringing")
		l.wantDropped(DropStray, 2)
		c.none()
		old.Receive([]byte(srv.response(in, "486 Busy Here").String()), srv.flow())
		srv.recv("ACK")
		c.recv("486")
		old.Receive([]byte(inv.clone().rename("ACK").String()), c.flow())
	})
}

// TestDepart: a process that was succeeded ends when its last transaction has, the absorbing ones included, and its own
// predecessor; connections that it could not give away are closed when no request waits. A stop shortens that.
func TestDepart(t *testing.T) {
	depart := func(l *lab, ctx context.Context) (gone chan time.Duration, hung *time.Duration) {
		gone, hung = make(chan time.Duration, 1), new(time.Duration)
		l.p.hangUpAll = func() { *hung = time.Since(l.start) }
		go func(p *Proxy) {
			p.depart(context.Background(), ctx)
			gone <- time.Since(l.start)
		}(l.p)
		l.wait(0)
		return gone, hung
	}
	inLab(t, setup{routing: func(r *Routing) { r.Drain.Timeout = 5 * time.Second }}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		c.invite("fs-recog-udp-01-INVITE")
		in := srv.recv("INVITE")
		gone, hung := depart(l, context.Background())
		l.until(time.Second - 10*time.Millisecond)
		c.recv("100")
		for srv.next() != nil {
		}
		srv.answer(in, "fs-recog-udp-03-200-INVITE")
		d := &dialog{l: l, client: c, server: srv, invite: in, ok: c.recv("200")}
		c.send(d.fromClient("ACK"))
		srv.recv("ACK")
		d.bye()
		l.until(10 * time.Second)
		l.p.Follow(l.p, nil) // a predecessor of its own
		if *hung < time.Second || *hung > 1200*time.Millisecond {
			t.Errorf("connections closed at %v", *hung)
		}
		l.until(40 * time.Second)
		if n := l.p.Transactions(); n != 0 || len(gone) != 0 {
			t.Errorf("%d transactions, gone %d", n, len(gone))
		}
		l.p.Follow(nil, nil)
		if at := <-gone; at > 41*time.Second {
			t.Errorf("ended at %v", at)
		}
	})
	inLab(t, setup{}, func(l *lab) { // SIGTERM meanwhile: the client waits for nothing
		c, srv := l.udp(freeswitch), l.udp(serverA)
		c.invite("fs-recog-udp-01-INVITE")
		in := srv.recv("INVITE")
		ctx, stop := context.WithCancel(context.Background())
		gone, _ := depart(l, ctx)
		stop()
		if at := <-gone; at > 1300*time.Millisecond {
			t.Errorf("ended at %v", at)
		}
		l.wait(0)
		c.recv("100")
		m := c.recv("480")
		c.send(c.request("fs-recog-udp-01-INVITE").rename("ACK").set("To", m.get("To")))
		for srv.next() != nil {
		}
		srv.answer(in, "486 Busy Here")
		srv.recv("ACK")
	})
	inLab(t, func() setup {
		s := queued(3*time.Second, 5)
		routing := s.routing
		s.routing = func(r *Routing) {
			routing(r)
			r.Drain.Timeout = 500 * time.Millisecond
		}
		return s
	}(), func(l *lab) { // who waits for a place does so no longer than for an answer
		c, srv := l.udp(freeswitch), l.udp(serverA)
		d := l.call(c, srv)
		waits := c.another(1)
		_, _ = depart(l, context.Background())
		c.recvAt(150*time.Millisecond, "100")
		l.until(600 * time.Millisecond)
		c.ackFinal(waits, c.recv("480"))
		l.wantQueued(0)
		if n := l.p.queues.waiting.Load(); n != 0 {
			t.Errorf("%d wait", n)
		}
		d.bye()
	})
}
