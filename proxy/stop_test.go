package proxy

import (
	"context"
	"strings"
	"testing"
	"time"
)

// TestStop: what is under way when we stop gets its answer; what is new is refused, or left to an heir.
func TestStop(t *testing.T) {
	stop := func(l *lab) chan time.Duration {
		gone := make(chan time.Duration, 1)
		go func() {
			l.p.windDown(context.Background())
			gone <- time.Since(l.start)
		}()
		l.wait(0)
		return gone
	}
	tcp := setup{servers: []string{"sip:" + serverA + ";transport=tcp"}}
	inLab(t, tcp, func(l *lab) { // nothing under way
		if at := <-stop(l); at > 200*time.Millisecond {
			t.Errorf("took %v", at)
		}
	})
	inLab(t, tcp, func(l *lab) { // an answer in time
		c, srv := l.dials(ephTCP, viaTCP), l.tcp(serverA)
		c.invite("fs-recog-tcp-01-INVITE")
		in := srv.recv("INVITE")
		gone := stop(l)
		l.until(300 * time.Millisecond)
		c.recv("100")
		d := &dialog{l: l, client: c, server: srv, invite: in}
		srv.answer(in, "fs-recog-tcp-03-200-INVITE")
		d.ok = c.recv("200")
		l.wait(50 * time.Millisecond)
		c.send(d.fromClient("ACK"))
		srv.recv("ACK")
		if at := <-gone; at > 500*time.Millisecond {
			t.Errorf("took %v", at)
		}
		d.bye()
	})
	inLab(t, tcp, func(l *lab) { // none
		c, srv := l.dials(ephTCP, viaTCP), l.tcp(serverA)
		inv := c.invite("fs-recog-tcp-01-INVITE")
		in := srv.recv("INVITE")
		srv.answer(in, "180 Ringing")
		c.recv("180")
		gone := stop(l)
		// New ones: an heir takes them by UDP, when the client sends them again; by TCP it does not.
		again := c.request("fs-recog-tcp-01-INVITE").set("Call-ID", "new").branch("new")
		u := l.udp(freeswitch)
		for _, heir := range []bool{false, true} {
			l.p.opts.Heir = heir
			c.send(again)
			if m := c.recv("503"); m.get("Retry-After") != "5" {
				t.Errorf("no Retry-After in\n%s", m)
			}
			u.invite("fs-recog-udp-01-INVITE")
			if heir {
				u.none()
			} else {
				u.recv("503")
			}
		}
		l.wantDropped(DropStopping, 3)
		if at := <-gone; at > 1300*time.Millisecond {
			t.Errorf("took %v", at)
		}
		final := c.recv("480")
		srv.answer(srv.recv("CANCEL"), "200 OK")
		l.noSessions()
		c.send(inv.clone().rename("ACK").set("To", final.get("To")))
		srv.answer(in, "487 Request Terminated")
		srv.recv("ACK")
	})
	inLab(t, setup{}, func(l *lab) { // a BYE without an answer
		c, srv := l.udp(freeswitch), l.udp(serverA)
		d := l.call(c, srv)
		c.send(d.fromClient("BYE"))
		<-stop(l)
		c.recv("481 BYE")
		for srv.next() != nil {
		}
	})
}

// TestStopAcceptsFor: new sessions are taken for as long as is said; from then on those under way are given their time. OPTIONS
// is 503 from the beginning, and requests in a dialog are served to the end.
func TestStopAcceptsFor(t *testing.T) {
	inLab(t, setup{routing: func(r *Routing) { r.Drain = Drain{AcceptFor: 3 * time.Second, Timeout: 10 * time.Second} }}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		gone := make(chan time.Duration, 1)
		go func() {
			l.p.windDown(context.Background())
			gone <- time.Since(l.start)
		}()
		l.until(2 * time.Second)
		c.send(c.request("fs-recog-udp-01-INVITE").rename("OPTIONS").branch("ping"))
		c.recv("503 OPTIONS")
		d := l.call(c, srv)
		l.until(2900 * time.Millisecond)
		c.send(c.request("fs-recog-udp-01-INVITE").set("Call-ID", "late").branch("late"))
		late := srv.recv("INVITE")
		srv.answer(late, "180 Ringing")
		c.recv("180")
		l.until(3100 * time.Millisecond)
		c.send(c.request("fs-recog-udp-01-INVITE").set("Call-ID", "too-late").branch("too-late"))
		c.recv("503")
		d.bye()
		l.until(3500 * time.Millisecond)
		srv.answer(late, "486 Busy Here")
		srv.recv("ACK")
		c.recv("486")
		if at := <-gone; at > 4*time.Second {
			t.Errorf("took %v", at)
		}
		for c.next() != nil { // the 486 again: it is not ACKed
		}
		l.until(40 * time.Second)
		for c.next() != nil {
		}
	})
}

// TestSetRouting: calls placed from now on follow the new routing, those under way too where they are still to be placed.
func TestSetRouting(t *testing.T) {
	inLab(t, two, func(l *lab) {
		c, a, b := l.udp(freeswitch), l.udp(serverA), l.udp(serverB)
		inv := c.invite("fs-recog-udp-01-INVITE")
		in := a.recv("INVITE")
		r := *l.p.routing.Load()
		r.Failover.MaxAttempts = 1
		l.p.SetRouting(&r)
		a.answer(in, "486 Busy Here")
		a.recv("ACK")
		b.none()
		c.send(inv.clone().rename("ACK").set("To", c.recv("486").get("To")))
	})
}

// TestOldBranch is RFC 3261 17.2.3 for a client of RFC 2543's time, whose branch is no identifier: transactions are told
// apart by Request-URI, tags, Call-ID, CSeq and Via.
func TestOldBranch(t *testing.T) {
	for _, via := range []string{"SIP/2.0/UDP 127.0.0.131:5090", "SIP/2.0/UDP 127.0.0.131:5090;branch=1", "SIP/2.0/UDP 127.0.0.131:5090;branch=z9hG4bK"} {
		inLab(t, setup{}, func(l *lab) {
			c, srv := l.udp(freeswitch), l.udp(serverA)
			inv := c.request("fs-recog-udp-01-INVITE").set("Via", via)
			c.send(inv)
			in := srv.recv("INVITE")
			c.send(inv)
			srv.none()
			srv.answer(in, "180 Ringing")
			c.recv("180")
			c.send(inv.clone().rename("CANCEL"))
			c.recv("200 CANCEL")
			srv.answer(srv.recv("CANCEL"), "200 OK")
			srv.answer(in, "487 Request Terminated")
			srv.recv("ACK")
			c.send(inv.clone().rename("ACK").set("To", c.recv("487").get("To")))
			l.wait(5 * time.Second)
			c.none()
			next := inv.clone()
			c.send(next.set("CSeq", strings.Replace(inv.get("CSeq"), "123093295", "123093296", 1)))
			l.accept(c, srv, "fs-recog-udp-03-200-INVITE").bye()
		})
	}
}
