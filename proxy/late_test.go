package proxy

import (
	"testing"
	"time"
)

// TestLate guards the channel at a server that was given up: its 200 is ACKed and the session ended (RFC 3261
// 13.2.2.4), and the client, who has another, never sees it.
func TestLate(t *testing.T) {
	inLab(t, setup{servers: []string{"sip:" + serverA, "sip:" + serverB}}, func(l *lab) {
		c, a, b := l.udp(freeswitch), l.udp(serverA), l.udp(serverB)
		c.invite("fs-recog-udp-01-INVITE")
		inv := a.recv("INVITE")
		a.recvAt(100*time.Millisecond, "INVITE")
		l.until(300 * time.Millisecond)
		c.recv("100")
		a.recv("INVITE")
		l.until(500 * time.Millisecond)
		d := l.accept(c, b, "fs-recog-udp-03-200-INVITE")
		a.answer(inv, "fs-recog-udp-03-200-INVITE")
		ack, bye := a.recv("ACK"), a.recv("BYE")
		c.none()
		a.answer(inv, "fs-recog-udp-03-200-INVITE") // again: the ACK was lost
		if again := a.recv("ACK"); again.String() != ack.String() {
			t.Errorf("RFC 3261 13.2.2.4: another ACK\n%s\nthan\n%s", again, ack)
		}
		a.recvAt(600*time.Millisecond, "BYE") // unanswered
		a.recvAt(800*time.Millisecond, "BYE")
		a.answer(bye, "umc-recog-udp-06-200-BYE")
		if len(l.obs.late) != 1 || l.obs.late[0] != serverA {
			t.Errorf("late %v", l.obs.late)
		}
		l.wantSessions(1)
		d.bye()
		l.golden("late-200")
	})
}

// TestLateProvisional: a server that was given up in silence answers after all. Only now may it be CANCELled (RFC 3261
// 9.1).
func TestLateProvisional(t *testing.T) {
	inLab(t, setup{servers: []string{"sip:" + serverA, "sip:" + serverB}}, func(l *lab) {
		c, a, b := l.udp(freeswitch), l.udp(serverA), l.udp(serverB)
		c.invite("fs-recog-udp-01-INVITE")
		inv := a.recv("INVITE")
		l.until(500 * time.Millisecond)
		a.recv("INVITE")
		a.recv("INVITE")
		c.recv("100")
		d := l.accept(c, b, "fs-recog-udp-03-200-INVITE")
		l.until(3 * time.Second)
		a.none()
		a.answer(inv, "180 Ringing")
		c.none()
		a.answer(a.recv("CANCEL"), "200 OK")
		a.answer(inv, "487 Request Terminated")
		a.recv("ACK")
		d.bye()
	})
}

// TestLateAfterGivingUp: the 200 comes after the client was told 480. Our BYE goes through the proxies between us and
// the server (RFC 3261 12.1.2).
func TestLateAfterGivingUp(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c, a := l.udp(freeswitch), l.udp(serverA)
		inv := c.invite("fs-recog-udp-01-INVITE")
		in := a.recv("INVITE")
		l.until(4 * time.Second)
		for a.next() != nil {
		}
		c.recv("100")
		final := c.recv("480")
		c.send(inv.clone().rename("ACK").set("To", final.get("To")))
		l.until(10 * time.Second)
		ok := a.response(in, "fs-recog-udp-03-200-INVITE")
		a.send(ok.set("Record-Route", "<sip:inner.example;lr>, <sip:outer.example;lr>", ok.get("Record-Route")))
		ack, bye := a.recv("ACK"), a.recv("BYE")
		for _, m := range []*msg{ack, bye} {
			if r := m.all("Route"); len(r) != 2 || r[0] != "<sip:outer.example;lr>" || r[1] != "<sip:inner.example;lr>" {
				t.Errorf("routes %v", r)
			}
		}
		if bye.uri() != "sip:127.0.0.11:8060" || bye.get("CSeq") != "123093296 BYE" || bye.get("To") != ok.get("To") {
			t.Errorf("BYE\n%s", bye)
		}
		a.answer(bye, "200 OK")
		l.noSessions()
	})
}

// TestClientOrphan is umc's own late 200: it gave up with a CANCEL that got no answer, then ACKs and ends what came. Its
// BYE has no Max-Forwards and the last CSeq there is.
func TestClientOrphan(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		fix := l.fixture("umc-late-200-after-timeout-udp-1-ACK")
		c, a := l.udp(fix.sentBy()), l.udp(serverA)
		inv := c.request("umc-recog-udp-01-INVITE")
		for _, n := range []string{"From", "Call-ID"} {
			inv.set(n, fix.get(n))
		}
		c.send(inv.set("CSeq", "123093857 INVITE"))
		in := a.recv("INVITE")
		a.answer(in, "umc-recog-udp-03-200-INVITE")
		d := &dialog{l: l, client: c, server: a, invite: in, ok: c.recv("200")}
		c.send(d.fromClient("umc-late-200-after-timeout-udp-1-ACK"))
		if hops := a.recv("ACK").get("Max-Forwards"); hops != "70" {
			t.Errorf("Max-Forwards %q", hops)
		}
		c.send(d.fromClient("umc-late-200-after-timeout-udp-2-BYE"))
		bye := a.recv("BYE")
		if bye.get("CSeq") != "2147483647 BYE" || bye.get("Max-Forwards") != "70" {
			t.Errorf("BYE\n%s", bye)
		}
		a.answer(bye, "200 OK")
		c.recv("200 BYE")
		l.golden("umc-orphan")
	})
}

// TestLateOnAnotherConnection guards the channel at a server whose connection broke before it answered: its 200 comes on
// another one (RFC 3261 18.2.2), and is ended like any late one. So is the session when the connection with our BYE breaks.
func TestLateOnAnotherConnection(t *testing.T) {
	inLab(t, setup{servers: []string{"sip:" + serverA + ";transport=tcp", "sip:" + serverB}}, func(l *lab) {
		c, a, b := l.udp(freeswitch), l.tcp(serverA), l.udp(serverB)
		c.invite("fs-recog-udp-01-INVITE")
		inv := a.recv("INVITE")
		l.close(serverA)
		d := l.accept(c, b, "fs-recog-udp-03-200-INVITE")
		a.answer(inv, "180 Ringing")
		a.answer(a.recv("CANCEL"), "200 OK")
		a.answer(inv, "fs-recog-udp-03-200-INVITE")
		a.recv("ACK")
		bye := a.recv("BYE")
		l.close(serverA)
		if again := a.recv("BYE"); again.String() != bye.String() {
			t.Errorf("another BYE\n%s\nthan\n%s", again, bye)
		}
		a.answer(bye, "200 OK")
		l.close(serverA)
		a.none()
		l.wantSessions(1)
		d.bye()
	})
}

// TestLateServerEnds: a server that was given up accepts late, and ends its session itself. The session that the client has
// with another server, under the same Call-ID and From tag, goes on.
func TestLateServerEnds(t *testing.T) {
	inLab(t, setup{servers: []string{"sip:" + serverA, "sip:" + serverB}}, func(l *lab) {
		c, a, b := l.udp(freeswitch), l.udp(serverA), l.udp(serverB)
		c.invite("fs-recog-udp-01-INVITE")
		inv := a.recv("INVITE")
		l.until(500 * time.Millisecond)
		a.recv("INVITE")
		a.recv("INVITE")
		c.recv("100")
		d := l.accept(c, b, "fs-recog-udp-03-200-INVITE")
		late := &dialog{l: l, client: c, server: a, invite: inv, ok: a.answer(inv, "umc-recog-udp-03-200-INVITE")}
		a.recv("ACK")
		ours := a.recv("BYE")
		a.send(late.fromServer("BYE")) // they cross
		c.answer(c.recv("BYE"), "481 Call/Transaction Does Not Exist")
		a.recv("481 BYE")
		l.wantSessions(1)
		a.answer(ours, "481 Call/Transaction Does Not Exist")
		l.wantSessions(1)
		d.bye()
	})
}
