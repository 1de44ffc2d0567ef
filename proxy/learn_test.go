package proxy

import (
	"strings"
	"testing"
	"time"

	"mrcproxy/internal/session"
)

// TestLearned: a session that the process does not have is counted again from the first message that shows that both sides
// have it, with the expiry that the message names.
func TestLearned(t *testing.T) {
	for _, c := range []struct {
		name string
		say  func(l *lab, d *dialog)
		end  time.Duration // Session-Expires and grace; 0: none
	}{
		{"re-INVITE", func(l *lab, d *dialog) {
			d.client.send(d.fromClient("INVITE"))
			d.server.answer(d.server.recv("INVITE"), "fs-recog-udp-03-200-INVITE")
			d.client.recv("200")
		}, 632 * time.Second},
		{"UPDATE of the server's", func(l *lab, d *dialog) {
			d.server.send(d.fromServer("UPDATE"))
			d.client.send(d.client.response(d.client.recv("UPDATE"), "200 OK").set("Session-Expires", "90;refresher=uac"))
			d.server.recv("200 UPDATE")
		}, 120 * time.Second},
		{"ACK", func(l *lab, d *dialog) {
			d.client.send(d.fromClient("ACK"))
			d.server.recv("ACK")
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			inLab(t, setup{capacity: 1}, func(l *lab) {
				client, srv := l.udp(freeswitch), l.udp(serverA)
				d := l.call(client, srv)
				for _, s := range l.sessions() {
					if s.Learned || s.Client.String() != freeswitch || s.Resource != "speechrecog" || s.Route != "all" || !s.Confirmed() {
						t.Errorf("%+v", s)
					}
				}
				l.forget()
				l.wantSessions(0)
				c.say(l, d)
				l.wantSessions(1)
				for _, s := range l.sessions() {
					if got := time.Until(s.Expires()); !s.Learned || s.Client.String() != freeswitch || s.CallID != d.ok.get("Call-ID") || c.end == 0 != s.Expires().IsZero() || c.end != 0 && got.Round(time.Second) != c.end {
						t.Errorf("%+v, expires in %v", s, got)
					}
				}
				d.bye()
				l.noSessions()
				l.wantEnded(session.ByeClient)
				client.send(d.fromClient("ACK")) // overtaken by the BYE
				srv.recv("ACK")
				l.noSessions()
			})
		})
	}
}

// forget is what kill -9 does to the table.
func (l *lab) forget() {
	l.Helper()
	for _, s := range l.sessions() {
		s.Lease.Release()
	}
	l.restart()
}

func (l *lab) sessions() []*session.Session {
	all, _ := l.table.List(nil, 0, 1000)
	return all
}

// TestEarlyDialog: a request in a dialog whose INVITE is not answered yet (RFC 3261 12.1, RFC 3311 5.1) shows no session, whatever
// becomes of it, and takes no place. The one that comes to be is the INVITE's own.
func TestEarlyDialog(t *testing.T) {
	for _, answer := range []string{"404 Not Found", "fs-recog-udp-03-200-INVITE"} {
		g, s := gated(Admitted)
		inLab(t, s, func(l *lab) {
			c, srv := l.udp(freeswitch), l.udp(serverA)
			c.invite("fs-recog-udp-01-INVITE")
			inv := srv.recv("INVITE")
			srv.answer(inv, "183 Session Progress")
			d := &dialog{l: l, client: c, server: srv, invite: inv, ok: c.recv("183")}
			for method, code := range map[string]string{"UPDATE": "200 OK", "INFO": "481 Call Does Not Exist", "BYE": "200 OK"} {
				c.send(d.fromClient(method))
				srv.answer(srv.recv(method), code)
				c.recv(code[:3] + " " + method)
			}
			if l.table.Len() != 0 || l.leases() != 1 || len(g.ended) != 0 || len(l.ended) != 0 {
				t.Errorf("%d sessions, %d places taken, ended: %v, %v", l.table.Len(), l.leases(), g.ended, l.ended)
			}
			srv.answer(inv, answer)
			if d.ok = c.next(); strings.HasPrefix(d.ok.start, "SIP/2.0 404") {
				srv.recv("ACK")
				c.ackFinal(c.request("fs-recog-udp-01-INVITE"), d.ok)
				l.wantEnded()
				return
			}
			c.send(d.fromClient("ACK"))
			srv.recv("ACK")
			for _, s := range l.sessions() {
				if s.Learned || s.Route != "all" {
					t.Errorf("%+v", s)
				}
			}
			d.bye()
			l.wantEnded(session.ByeClient)
		})
	}
}

// TestUnknownBye: the BYE of a session that the process does not have is relayed, and its end counted once.
func TestUnknownBye(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		d := l.call(c, srv)
		l.forget()
		d.bye()
		l.wantEnded(session.ByeUnknown)
		d.bye()
		c.send(d.fromClient("BYE"))
		srv.answer(srv.recv("BYE"), "481 Call/Transaction Does Not Exist")
		c.recv("481 BYE")
		l.wantEnded(session.ByeUnknown)
	})
	inLab(t, setup{}, func(l *lab) { // a server that knows nothing of it has had no session
		c, srv := l.udp(freeswitch), l.udp(serverA)
		d := l.call(c, srv)
		l.forget()
		c.send(d.fromClient("BYE"))
		srv.answer(srv.recv("BYE"), "481 Call/Transaction Does Not Exist")
		c.recv("481 BYE")
		l.wantEnded()
	})
}

// TestNoAck: the server ends a session whose 2xx nobody acknowledged (RFC 3261 13.3.1.4), and where it does not, the place is
// free all the same.
func TestNoAck(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		c.invite("fs-recog-udp-01-INVITE")
		srv.answer(srv.recv("INVITE"), "fs-recog-udp-03-200-INVITE")
		c.recv("200")
		l.until(39 * time.Second)
		l.wantSessions(1)
		l.until(42 * time.Second)
		l.noSessions()
		l.wantEnded(session.NoAck)
	})
}

// TestRefreshFails: a refresh that is answered 422 (RFC 4028 6) or not at all changes nothing, and the next one counts.
func TestRefreshFails(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		d := l.call(c, srv) // 600 s
		l.wait(300 * time.Second)
		re := c.send(d.fromClient("UPDATE").set("Session-Expires", "60;refresher=uac"))
		srv.send(srv.response(srv.recv("UPDATE"), "422 Session Interval Too Small").set("Min-SE", "90"))
		if got := c.recv("422 UPDATE").get("Min-SE"); got != "90" {
			t.Errorf("Min-SE %q", got)
		}
		c.send(re.clone()) // a retransmission
		c.recv("422 UPDATE")
		l.until(631 * time.Second)
		l.wantSessions(1)
		l.until(634 * time.Second)
		l.wantEnded(session.Expired)
	})
	inLab(t, setup{}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		d := l.call(c, srv)
		c.send(d.fromClient("UPDATE"))
		srv.send(srv.response(srv.recv("UPDATE"), "422 Session Interval Too Small").set("Min-SE", "90"))
		c.recv("422 UPDATE")
		c.send(d.fromClient("UPDATE").set("Session-Expires", "90;refresher=uac"))
		srv.send(srv.response(srv.recv("UPDATE"), "200 OK").set("Session-Expires", "90;refresher=uac"))
		c.recv("200 UPDATE")
		l.until(118 * time.Second)
		l.wantSessions(1)
		l.until(122 * time.Second)
		l.wantEnded(session.Expired)
	})
}
