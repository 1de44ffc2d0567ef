package proxy

import (
	"strings"
	"testing"
	"time"

	"mrcproxy/internal/session"
)

// TestSessions replays FreeSWITCH's and umc's sessions as captured, on both transports.
func TestSessions(t *testing.T) {
	for _, scene := range []string{"fs-recog", "fs-tts", "umc-recog", "umc-synth"} {
		t.Run(scene+"-udp", func(t *testing.T) { replay(t, scene+"-udp", false) })
		t.Run(scene+"-tcp", func(t *testing.T) { replay(t, scene+"-tcp", true) })
	}
}

func replay(t *testing.T, scene string, tcp bool) {
	s := setup{}
	if tcp {
		s.servers = []string{"sip:" + serverA + ";transport=tcp"}
	}
	inLab(t, s, func(l *lab) {
		sentBy := l.fixture(scene + "-01-INVITE").sentBy()
		c, srv := l.udp(sentBy), l.udp(serverA)
		if tcp {
			c, srv = l.dials("127.0.0.131:60965", sentBy), l.tcp(serverA)
		}
		c.invite(scene + "-01-INVITE")
		inv := srv.recv("INVITE")
		srv.answer(inv, scene+"-02-100-INVITE")
		c.none() // a 100 is hop by hop
		l.wantPlaced(1)
		srv.answer(inv, scene+"-03-200-INVITE")
		d := &dialog{l: l, client: c, server: srv, invite: inv, ok: c.recv("200")}
		c.send(d.fromClient(scene + "-04-ACK"))
		srv.recv("ACK")
		l.wantSessions(1)
		c.send(d.fromClient(scene + "-05-BYE"))
		srv.answer(srv.recv("BYE"), scene+"-06-200-BYE")
		c.recv("200 BYE")
		l.noSessions()
		l.wantEnded(session.ByeClient)
		l.golden(scene)
	})
}

// TestSessionRefresh is RFC 4028: the refresh goes to the same server without a pick, and moves the session's end.
func TestSessionRefresh(t *testing.T) {
	inLab(t, setup{servers: []string{"sip:" + serverC, "sip:" + serverA}}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverC)
		d := l.call(c, srv)
		for _, n := range []string{"01-reINVITE", "05-reINVITE"} {
			l.wait(60 * time.Second)
			c.send(d.fromClient("fs-session-refresh-se120-" + n))
			re := srv.recv("INVITE")
			if re.get("Record-Route") != "" || re.get("Route") != "" {
				t.Errorf("refresh relayed as\n%s", re)
			}
			srv.answer(re, "100 Trying")
			srv.answer(re, "fs-session-refresh-se120-03-200-INVITE")
			ok := c.recv("200")
			c.send(d.fromClient("fs-session-refresh-se120-04-ACK").set("CSeq", strings.Replace(ok.get("CSeq"), "INVITE", "ACK", 1)))
			srv.recv("ACK")
		}
		l.golden("session-refresh")
		l.wait(150 * time.Second) // 120 s, and 32 s of grace
		l.wantSessions(1)
		l.wait(5 * time.Second)
		l.noSessions()
		l.wantEnded(session.Expired)
	})
}

// TestSessionExpires is the end of a session whose client has vanished: Session-Expires passes, the lease comes back.
func TestSessionExpires(t *testing.T) {
	inLab(t, setup{longest: 700 * time.Second}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		l.call(c, srv) // Session-Expires: 600
		l.wait(630 * time.Second)
		l.wantSessions(1)
		l.wait(5 * time.Second)
		l.noSessions()
		l.wantEnded(session.Expired)
		// A refresh without Session-Expires turns the timer off (RFC 4028 7.2); the longest time still holds.
		d := l.accept(c, srv, second(l, c, "fs-recog-udp-03-200-INVITE"))
		c.send(d.fromClient("UPDATE"))
		srv.answer(srv.recv("UPDATE"), "200 OK")
		c.recv("200 UPDATE")
		l.wait(650 * time.Second)
		l.wantSessions(1)
		l.wait(55 * time.Second)
		l.wantEnded(session.Expired, session.TooLong)
	})
}

// second sends an INVITE of another session, and gives back the answer's name.
func second(l *lab, c *peer, ok string) string {
	c.send(c.request("fs-recog-udp-01-INVITE").set("Call-ID", "second").branch("second"))
	return ok
}

// TestInDialogOptions guards UniMRCP's session: it answers OPTIONS in a dialog, then ends the call and leaks the channel.
func TestInDialogOptions(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		d := l.call(c, srv)
		c.send(d.fromClient("server-options-indialog-udp-00-OPTIONS"))
		c.recv("200 OPTIONS")
		srv.send(d.fromServer("OPTIONS"))
		srv.recv("200 OPTIONS")
		d.bye()
	})
}

// TestBothResources relays an offer of two resources whole, and its re-INVITE.
func TestBothResources(t *testing.T) {
	for _, proto := range []string{"udp", "tcp"} {
		t.Run(proto, func(t *testing.T) {
			inLab(t, setup{}, func(l *lab) {
				name := "raw-both-resources-" + proto
				c, srv := l.udp(l.fixture(name+"-01-INVITE").sentBy()), l.udp(serverA)
				if proto == "tcp" {
					c = l.dials(c.sentBy, c.sentBy)
				}
				d := l.establish(c, srv, name+"-01-INVITE", name+"-02-200-INVITE")
				c.send(d.fromClient(name + "-03-reINVITE"))
				srv.answer(srv.recv("INVITE"), name+"-04-200-reINVITE")
				c.recv("200")
				c.send(d.fromClient("ACK"))
				srv.recv("ACK")
				d.bye()
				l.golden(name)
			})
		})
	}
}
