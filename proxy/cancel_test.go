package proxy

import (
	"strings"
	"testing"
	"time"
)

// umcCancels is a client's INVITE and CANCEL as captured: sharing the branch (RFC 3261 9.1).
func umcCancels(l *lab) (c *peer, cancel *msg) {
	cancel = l.fixture("umc-CANCEL-udp")
	c = l.udp(cancel.sentBy())
	inv := c.request("umc-recog-udp-01-INVITE").to(cancel.uri())
	for _, n := range []string{"Via", "From", "To", "Call-ID"} {
		inv.set(n, cancel.get(n))
	}
	c.send(inv.set("CSeq", strings.Replace(cancel.get("CSeq"), "CANCEL", "INVITE", 1)))
	return c, cancel
}

// TestCancel cancels after a provisional response: the CANCEL goes on at once, the 487 comes back, both sides' ACKs are
// hop by hop (RFC 3261 9.2, 16.10, 17.1.1.3).
func TestCancel(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c, cancel := umcCancels(l)
		srv := l.udp(serverA)
		inv := srv.recv("INVITE")
		srv.answer(inv, "100 Trying")
		l.until(150 * time.Millisecond)
		c.recv("100")
		c.send(cancel)
		c.recv("200 CANCEL")
		out := srv.recv("CANCEL")
		if out.get("Via") != inv.get("Via") || len(out.all("Via")) != 1 || out.uri() != inv.uri() {
			t.Errorf("RFC 3261 9.1: CANCEL\n%s\nof\n%s", out, inv)
		}
		srv.answer(out, "200 OK")
		srv.answer(inv, "487 Request Terminated")
		ack := srv.recv("ACK")
		if ack.get("Via") != inv.get("Via") || ack.get("CSeq") != "123093380 ACK" || !strings.Contains(ack.get("To"), ";tag="+serverA) {
			t.Errorf("RFC 3261 17.1.1.3: ACK\n%s", ack)
		}
		final := c.recv("487")
		l.noSessions()
		c.send(c.request("umc-ACK-to-487-udp").set("To", final.get("To")))
		l.golden("umc-cancel")
		l.wait(5 * time.Second) // no 487 again, no CANCEL again
		c.none()
		srv.none()
		srv.answer(inv, "487 Request Terminated") // our ACK was lost
		srv.recv("ACK")
	})
}

// TestCancelEarly is RFC 3261 9.1: before a provisional response no CANCEL is sent.
func TestCancelEarly(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c, cancel := umcCancels(l)
		srv := l.udp(serverA)
		inv := srv.recv("INVITE")
		c.send(cancel)
		c.recv("200 CANCEL")
		srv.none()
		c.send(cancel) // again: the 200 was lost
		c.recv("200 CANCEL")
		l.until(100 * time.Millisecond)
		srv.recv("INVITE")
		srv.answer(inv, "180 Ringing")
		c.recv("180")
		srv.recv("CANCEL")
		srv.recvAt(200*time.Millisecond, "CANCEL") // unanswered
		srv.recvAt(400*time.Millisecond, "CANCEL")
		srv.answer(inv, "487 Request Terminated")
		srv.recv("ACK")
		c.send(c.request("umc-ACK-to-487-udp").set("To", c.recv("487").get("To")))
	})
}

// TestCancelAnswered is RFC 3261 17.1.2.2: a CANCEL is not sent again once it is answered, however long the INVITE's 487 takes.
func TestCancelAnswered(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c, cancel := umcCancels(l)
		srv := l.udp(serverA)
		inv := srv.recv("INVITE")
		srv.answer(inv, "180 Ringing")
		c.recv("180")
		c.send(cancel)
		c.recv("200 CANCEL")
		srv.answer(srv.recv("CANCEL"), "200 OK")
		l.wait(450 * time.Millisecond)
		srv.none()
		srv.answer(inv, "487 Request Terminated")
		srv.recv("ACK")
		c.send(c.request("umc-ACK-to-487-udp").set("To", c.recv("487").get("To")))
		l.wantDropped(DropStray, 0)
	})
}

// TestCancelCrossing guards the channel of a 2xx that crosses the CANCEL: it goes to the client, who ends the session.
func TestCancelCrossing(t *testing.T) {
	for _, provisional := range []bool{false, true} {
		inLab(t, setup{}, func(l *lab) {
			c, cancel := umcCancels(l)
			srv := l.udp(serverA)
			inv := srv.recv("INVITE")
			if provisional {
				srv.answer(inv, "180 Ringing")
				c.recv("180")
			}
			c.send(cancel)
			c.recv("200 CANCEL")
			if provisional {
				srv.answer(srv.recv("CANCEL"), "481 Call/Transaction Does Not Exist")
			}
			srv.answer(inv, "umc-recog-udp-03-200-INVITE")
			d := &dialog{l: l, client: c, server: srv, invite: inv, ok: c.recv("200")}
			c.send(d.fromClient("ACK"))
			srv.recv("ACK")
			l.wantSessions(1)
			c.send(cancel) // nothing is left to cancel
			c.recv("200 CANCEL")
			d.bye()
		})
	}
}

// TestCancelSilence guards the client's wait: a server that has said nothing, or answers a CANCEL with nothing, does not
// keep it from its 487; no other server is tried, and nothing is reported against this one.
func TestCancelSilence(t *testing.T) {
	for _, tt := range []struct {
		provisional bool
		at          time.Duration
	}{{false, 500 * time.Millisecond}, {true, 500 * time.Millisecond}} {
		inLab(t, setup{servers: []string{"sip:" + serverA, "sip:" + serverB}}, func(l *lab) {
			c, cancel := umcCancels(l)
			srv := l.udp(serverA)
			inv := srv.recv("INVITE")
			if tt.provisional {
				srv.answer(inv, "100 Trying")
			}
			c.send(cancel)
			c.recv("200 CANCEL")
			l.until(150 * time.Millisecond)
			c.recv("100")
			c.recvAt(tt.at, "487")
			l.noSessions()
			if len(l.bal.reports) != 0 {
				t.Errorf("reported %v", l.bal.reports)
			}
			c.send(c.request("umc-ACK-to-487-udp"))
			for srv.next() != nil {
			}
			l.wait(40 * time.Second)
			for srv.next() != nil { // CANCELs
			}
		})
	}
}

// TestCancelRefused: after CANCEL no failure starts another attempt, and a 503 still does not reach the client (RFC 3261
// 16.7 step 6).
func TestCancelRefused(t *testing.T) {
	inLab(t, setup{servers: []string{"sip:" + serverA, "sip:" + serverB}}, func(l *lab) {
		c, cancel := umcCancels(l)
		srv := l.udp(serverA)
		inv := srv.recv("INVITE")
		c.send(cancel)
		c.recv("200 CANCEL")
		srv.answer(inv, "503 Service Unavailable")
		srv.recv("ACK")
		c.recv("487")
		l.noSessions()
		c.send(c.request("umc-ACK-to-487-udp"))
	})
}

// TestCancelNothing is RFC 3261 9.2: a CANCEL that matches no INVITE.
func TestCancelNothing(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c := l.udp(freeswitch)
		c.send(c.request("umc-CANCEL-udp"))
		c.recv("481 CANCEL")
	})
}

// TestCancelReinvite cancels a re-INVITE.
func TestCancelReinvite(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		d := l.call(c, srv)
		re := c.send(d.fromClient("INVITE"))
		in := srv.recv("INVITE")
		srv.answer(in, "183 Session Progress")
		c.recv("183")
		c.send(re.clone().rename("CANCEL"))
		c.recv("200 CANCEL")
		srv.answer(srv.recv("CANCEL"), "200 OK")
		srv.answer(in, "487 Request Terminated")
		srv.recv("ACK")
		c.recv("487")
		c.send(re.clone().rename("ACK"))
		l.wantSessions(1)
		d.bye()
	})
}

// TestCancelReinviteSilence: the server leaves both unanswered. The client's session goes on, so it is not told 408, which would end
// it (RFC 3261 12.2.1.2).
func TestCancelReinviteSilence(t *testing.T) {
	for _, provisional := range []bool{false, true} {
		inLab(t, setup{}, func(l *lab) {
			c, srv := l.udp(freeswitch), l.udp(serverA)
			d := l.call(c, srv)
			start := time.Since(l.start)
			re := c.send(d.fromClient("INVITE"))
			in := srv.recv("INVITE")
			if provisional {
				srv.answer(in, "183 Session Progress")
				c.recv("183")
			}
			c.send(re.clone().rename("CANCEL"))
			c.recv("200 CANCEL")
			l.until(start + 490*time.Millisecond)
			if !provisional {
				c.recv("100")
			}
			c.recvAt(start+500*time.Millisecond, "487")
			c.send(re.clone().rename("ACK"))
			l.wantSessions(1)
			for srv.next() != nil {
			}
			d.bye()
			l.wait(40 * time.Second)
			for srv.next() != nil { // CANCELs
			}
		})
	}
}

// TestRefusedHopByHop: a failure goes back, and both ACKs stay on their hop; without the client's it is sent again
// (timer G), and stops at timer H.
func TestRefusedHopByHop(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		inv := c.invite("fs-recog-udp-01-INVITE")
		srv.answer(srv.recv("INVITE"), "480 Temporarily Unavailable")
		srv.recv("ACK")
		final := c.recv("480")
		c.recvAt(500*time.Millisecond, "480")
		c.recvAt(1500*time.Millisecond, "480")
		c.recvAt(3500*time.Millisecond, "480")
		c.recvAt(7500*time.Millisecond, "480")
		c.send(inv) // its own retransmission
		c.recv("480")
		c.send(inv.clone().rename("ACK").set("To", final.get("To")))
		srv.none()
	})
	inLab(t, setup{servers: []string{"sip:" + serverA + ";transport=tcp"}}, func(l *lab) {
		c, srv := l.dials("127.0.0.131:60965", "127.0.0.131:5091"), l.tcp(serverA)
		inv := c.invite("fs-recog-tcp-01-INVITE")
		srv.answer(srv.recv("INVITE"), "486 Busy Here")
		srv.recv("ACK")
		final := c.recv("486")
		l.wait(5 * time.Second) // once only
		c.send(inv.clone().rename("ACK").set("To", final.get("To")))
		l.wait(20 * time.Millisecond)
		if n := l.p.Transactions(); n != 0 { // timers D and I are 0
			t.Errorf("%d transactions", n)
		}
	})
}

// TestCancelLate: the only server has been silent for longer than it may, and is waited for only because there is no other.
// A CANCEL ends that wait soon, not at the deadline.
func TestCancelLate(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c, cancel := umcCancels(l)
		srv := l.udp(serverA)
		l.until(time.Second)
		c.recv("100")
		c.send(cancel)
		c.recv("200 CANCEL")
		c.recvAt(1500*time.Millisecond, "487")
		for srv.next() != nil { // the INVITE, four times
		}
		c.send(c.request("umc-ACK-to-487-udp"))
		l.wait(40 * time.Second)
		l.noSessions()
	})
}
