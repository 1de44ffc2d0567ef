package proxy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"mrcproxy/internal/session"
)

const (
	viaTCP   = "127.0.0.131:5091"  // FreeSWITCH's listening TCP port, its Via's
	ephTCP   = "127.0.0.131:60965" // the port that its connection comes from
	serverEx = "127.0.0.11:40000"  // the port that UniMRCP's new connection comes from
)

// TestServerBye is the end of a session by the server: UniMRCP's BYE comes on a connection of its own, to a client whose
// INVITE had no Contact. It goes by the client's flow, never by what Contact or From say (kamailio sends UDP to a port
// that listens for TCP only).
func TestServerBye(t *testing.T) {
	tests := []struct {
		name, server   string
		gone           bool // the client's connection has ended
		fixture, scene string
		to             string // where the BYE has to arrive
	}{
		{"udp", "sip:" + serverA, false, "server-bye-after-mrcp-close-udp-nocontact", "fs-recog-udp", freeswitch},
		{"udp quit", "sip:" + serverA, false, "server-quit-udp-BYE", "fs-recog-udp", freeswitch},
		{"tcp to udp client", "sip:" + serverA + ";transport=tcp", false, "server-bye-after-mrcp-close-tcp", "fs-recog-udp", freeswitch},
		{"tcp open", "sip:" + serverA + ";transport=tcp", false, "server-bye-to-nocontact-tcp-client-via-record-route-1-server-side", "fs-recog-tcp", ephTCP},
		{"tcp gone", "sip:" + serverA + ";transport=tcp", true, "server-bye-to-nocontact-tcp-client-via-record-route-1-server-side", "fs-recog-tcp", viaTCP},
		{"udp to tcp client", "sip:" + serverA, false, "server-bye-after-mrcp-close-tcp-nocontact-arrives-on-udp", "fs-recog-tcp", ephTCP},
		{"udp to tcp client gone", "sip:" + serverA, true, "server-bye-after-mrcp-close-tcp-nocontact-arrives-on-udp", "fs-recog-tcp", viaTCP},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inLab(t, setup{servers: []string{tt.server}}, func(l *lab) {
				c, srv := l.udp(freeswitch), l.udp(serverA)
				if strings.HasSuffix(tt.scene, "tcp") {
					c = l.dials(ephTCP, viaTCP)
				}
				from := srv
				if strings.Contains(tt.server, "tcp") {
					srv = l.tcp(serverA)
					from = l.dials(serverEx, serverA)
				}
				d := l.establish(c, srv, tt.scene+"-01-INVITE", tt.scene+"-03-200-INVITE")
				if tt.gone {
					l.close(ephTCP)
					c = l.tcp(viaTCP)
				}
				d.server = from
				from.send(d.fromServer(tt.fixture))
				bye := c.recv("BYE")
				if c.addr != netip.MustParseAddrPort(tt.to) || bye.get("Route") != "" {
					t.Errorf("to %v\n%s", c.addr, bye)
				}
				c.answer(bye, "client-200-to-server-BYE-udp")
				from.recv("200 BYE")
				l.noSessions()
				l.wantEnded(session.ByeServer)
				l.golden("server-bye-" + strings.ReplaceAll(tt.name, " ", "-"))
			})
		})
	}
}

// TestConnectionLostUnderRequest: a request in a dialog was sent on a connection that ends before the answer. It goes
// once more: to a server by a new connection; to a client to where its Via says it listens (RFC 3261 18.2.2), for
// nobody listens at the far end of the old one. A second loss ends it, for all but a BYE.
func TestConnectionLostUnderRequest(t *testing.T) {
	inLab(t, setup{servers: []string{"sip:" + serverA + ";transport=tcp"}}, func(l *lab) {
		c, srv := l.dials(ephTCP, viaTCP), l.tcp(serverA)
		d := l.establish(c, srv, "fs-recog-tcp-01-INVITE", "fs-recog-tcp-03-200-INVITE")
		srv.send(d.fromServer("BYE"))
		c.recv("BYE")
		l.close(ephTCP)
		listening := l.tcp(viaTCP)
		listening.answer(listening.recv("BYE"), "200 OK")
		srv.recv("200 BYE")
		l.noSessions()
	})
	inLab(t, setup{servers: []string{"sip:" + serverA + ";transport=tcp"}}, func(l *lab) {
		c, srv := l.dials(ephTCP, viaTCP), l.tcp(serverA)
		d := l.establish(c, srv, "fs-recog-tcp-01-INVITE", "fs-recog-tcp-03-200-INVITE")
		c.send(d.fromClient("BYE"))
		first := srv.recv("BYE")
		l.close(serverA)
		if again := srv.recv("BYE"); again.String() != first.String() {
			t.Errorf("resent as\n%s", again)
		}
		c.none()
		l.close(serverA)
		srv.none()
		c.recv("481 BYE")
		l.noSessions()
		l.wantEnded(session.ByeUnanswered)
		srv.answer(srv.recvAt(2*time.Second, "BYE"), "200 OK")
	})
	inLab(t, setup{servers: []string{"sip:" + serverA + ";transport=tcp"}}, func(l *lab) {
		c, srv := l.dials(ephTCP, viaTCP), l.tcp(serverA)
		d := l.establish(c, srv, "fs-recog-tcp-01-INVITE", "fs-recog-tcp-03-200-INVITE")
		c.send(d.fromClient("UPDATE"))
		for range 2 {
			srv.recv("UPDATE")
			l.close(serverA)
		}
		c.recv("504 UPDATE")
		l.wait(40 * time.Second)
		srv.none()
		d.bye()
	})
}

// TestRelayedMethods relays what UniMRCP and FreeSWITCH say in a dialog, both ways.
func TestRelayedMethods(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		d := l.call(c, srv)
		for _, tt := range []struct{ method, client, server string }{
			{"UPDATE", "client-200-to-UPDATE-udp", "200 OK"},
			{"INFO", "client-405-to-INFO-udp", "501 Not Implemented"},
			{"MESSAGE", "200 OK", "202 Accepted"},
		} {
			c.send(d.fromClient(tt.method))
			srv.answer(srv.recv(tt.method), tt.server)
			c.recv(tt.server[:3] + " " + tt.method)
			srv.send(d.fromServer(tt.method))
			c.answer(c.recv(tt.method), tt.client)
			srv.recv(strings.TrimPrefix(tt.client, "client-")[:3] + " " + tt.method)
		}
		srv.send(d.fromServer("INVITE"))
		re := c.recv("INVITE")
		c.answer(re, "client-200-to-reINVITE-udp")
		srv.recv("200")
		srv.send(d.fromServer("ACK").set("CSeq", strings.Replace(re.get("CSeq"), "INVITE", "ACK", 1)))
		c.recv("ACK")
		l.wantSessions(1)
		l.golden("relayed-methods")
		d.bye()
	})
}

// TestUnansweredBye guards FreeSWITCH, which blocks for 32 s on a BYE without an answer.
func TestUnansweredBye(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		d := l.call(c, srv)
		bye := c.send(d.fromClient("BYE"))
		for _, at := range []time.Duration{0, 100, 300, 700, 1500} { // RFC 3261 17.1.2.2, T1 100 ms
			srv.recvAt(at*time.Millisecond, "BYE")
		}
		c.send(bye) // retransmissions go no further
		srv.none()
		l.wantSessions(1)
		c.recvAt(2*time.Second, "481 BYE")
		l.noSessions()
		l.wantEnded(session.ByeUnanswered)
		c.send(bye)
		c.recv("481 BYE")
		srv.none()
		// The server goes on being told, for as long as FreeSWITCH itself would (17.1.2.2), so that one that comes back frees
		// its channel.
		for _, at := range []time.Duration{3100, 6300, 10300, 14300, 18300, 22300, 26300, 30300} {
			srv.recvAt(at*time.Millisecond, "BYE")
		}
		l.until(40 * time.Second)
		srv.none()
	})
	inLab(t, setup{}, func(l *lab) { // it comes back
		c, srv := l.udp(freeswitch), l.udp(serverA)
		d := l.call(c, srv)
		c.send(d.fromClient("BYE"))
		for range 6 {
			srv.recv("BYE")
			l.wait(time.Second)
		}
		c.recv("481 BYE")
		srv.answer(srv.recvAt(6300*time.Millisecond, "BYE"), "200 OK")
		l.until(40 * time.Second)
		srv.none() // and the client has been answered once
		l.wantEnded(session.ByeUnanswered)
	})
	inLab(t, setup{}, func(l *lab) { // the network says at once that it is not there: so may it be for a moment only
		c, srv := l.udp(freeswitch), l.udp(serverA)
		d := l.call(c, srv)
		c.send(d.fromClient("BYE"))
		bye := srv.recv("BYE")
		l.p.Unreachable([]byte(bye.String()), srv.addr, errFlow)
		c.recvAt(0, "481 BYE")
		l.wantEnded(session.ByeUnanswered)
		srv.answer(srv.recvAt(100*time.Millisecond, "BYE"), "200 OK")
		l.until(2 * time.Second)
		srv.none()
	})
	inLab(t, setup{}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		d := l.call(c, srv)
		srv.send(d.fromServer("BYE"))
		for _, at := range []time.Duration{0, 500, 1500} { // towards clients T1 is RFC 3261's
			c.recvAt(at*time.Millisecond, "BYE")
		}
		srv.recvAt(2*time.Second, "481 BYE")
		l.wantEnded(session.ByeUnanswered)
		c.answer(c.recvAt(3500*time.Millisecond, "BYE"), "200 OK")
	})
}

// TestByeAnsweredForPeer: who ends a session may be told that it has, though the other side says nothing. It is told once,
// and the other side goes on being asked.
func TestByeAnsweredForPeer(t *testing.T) {
	inLab(t, setup{routing: func(r *Routing) { r.Failover.ByeAnswer = 200 }}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		d := l.call(c, srv)
		bye := c.send(d.fromClient("BYE"))
		for _, at := range []time.Duration{0, 100, 300, 700, 1500} {
			srv.recvAt(at*time.Millisecond, "BYE")
		}
		ok := c.recvAt(2*time.Second, "200 BYE")
		if ok.get("Warning") == "" || ok.get("Reason") != "" || ok.get("To") != bye.get("To") || ok.get("CSeq") != bye.get("CSeq") {
			t.Errorf("\n%s", ok)
		}
		l.noSessions()
		l.wantEnded(session.ByeUnanswered)
		srv.answer(srv.recvAt(3100*time.Millisecond, "BYE"), "200 OK")
		l.until(40 * time.Second)
		srv.none()
		c.none()
	})
	inLab(t, setup{routing: func(r *Routing) { r.Failover.ByeAnswer = 200 }}, func(l *lab) { // what it does say is passed on
		c, srv := l.udp(freeswitch), l.udp(serverA)
		d := l.call(c, srv)
		c.send(d.fromClient("BYE"))
		srv.answer(srv.recv("BYE"), "481 Call/Transaction Does Not Exist")
		c.recv("481 BYE")
	})
}

// TestByeAnswers: whatever the other side answers to a BYE, the session is over.
func TestByeAnswers(t *testing.T) {
	for _, answer := range []string{"200 OK", "481 Call/Transaction Does Not Exist", "408 Request Timeout", "500 Server Internal Error"} {
		inLab(t, setup{}, func(l *lab) {
			c, srv := l.udp(freeswitch), l.udp(serverA)
			d := l.call(c, srv)
			bye := c.send(d.fromClient("BYE"))
			m := srv.recv("BYE")
			srv.answer(m, answer)
			code := strings.Replace(answer[:3], "408", "481", 1) // RFC 4320 4.2
			c.recv(code + " BYE")
			l.noSessions()
			l.wantEnded(session.ByeClient)
			srv.answer(m, answer) // a retransmission
			c.none()
			l.wait(10 * time.Second)
			c.send(bye) // the answer was lost (RFC 3261 17.2.2)
			c.recv(code + " BYE")
			srv.none()
		})
	}
}

// TestServerGone: 481 to anything in the dialog ends the session (RFC 3261 12.2.1.2); silence to a refresh is answered,
// so that FreeSWITCH ends it by a BYE.
func TestServerGone(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		d := l.call(c, srv)
		c.send(d.fromClient("INFO"))
		srv.answer(srv.recv("INFO"), "server-options-indialog-udp-06-481-BYE")
		c.recv("481 INFO")
		l.noSessions()
		l.wantEnded(session.Gone)
		d.bye() // relayed all the same
	})
	inLab(t, setup{}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		d := l.call(c, srv)
		re := c.send(d.fromClient("INVITE"))
		for srv.next() != nil {
		}
		l.wait(4 * time.Second)
		for srv.next() != nil {
		}
		c.recv("100")
		c.send(re.clone().rename("ACK").set("To", c.recv("408").get("To")))
		c.send(d.fromClient("BYE"))
		l.p.Unreachable([]byte(srv.recv("BYE").String()), srv.addr, errFlow)
		c.recv("481 BYE") // at once
		l.wantEnded(session.ByeUnanswered)
	})
	inLab(t, setup{}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		d := l.call(c, srv)
		l.net.fail[srv.addr] = errFlow
		c.send(d.fromClient("UPDATE"))
		c.recv("504 UPDATE")
		c.send(d.fromClient("BYE"))
		c.recv("481 BYE")
	})
}

// TestForeignRoutes is a kamailio in front of us: what it put into the Route set stays, and requests towards the client
// go to it.
func TestForeignRoutes(t *testing.T) {
	for _, scene := range []string{"tcp-to-udp", "udp-to-udp"} {
		t.Run(scene, func(t *testing.T) {
			inLab(t, setup{listen: []string{"udp 127.0.0.111:5060"}}, func(l *lab) {
				name := "fs-via-kamailio-" + scene
				k, srv := l.udp("127.0.0.110:5060"), l.udp(serverA)
				inv := k.send(l.fixture(name + "-03-server-side-INVITE"))
				in := srv.recv("INVITE")
				srv.answer(in, name+"-05-server-side-200-INVITE")
				ok := k.recv("200")
				rr := ok.all("Record-Route")
				if len(rr) != 1+len(inv.all("Record-Route")) || !slices.Equal(rr[1:], inv.all("Record-Route")) {
					t.Errorf("Record-Route %v", rr)
				}
				ours := rr[0]
				k.send(l.fixture(name+"-08-server-side-ACK").set("Route", ours))
				srv.recv("ACK")
				d := &dialog{l: l, client: k, server: srv, invite: in, ok: ok}
				srv.send(d.fromServer("INFO"))
				info := k.recv("INFO")
				if !slices.Equal(info.all("Route"), rr[1:]) {
					t.Errorf("Route %v", info.all("Route"))
				}
				k.answer(info, "client-405-to-INFO-udp")
				srv.recv("405 INFO")
				// A re-INVITE of the server's that fails: RFC 3261 17.1.1.3 and 9.1 want its Route in ACK and CANCEL.
				re := d.fromServer("INVITE")
				srv.send(re)
				in = k.recv("INVITE")
				k.answer(in, "180 Ringing")
				srv.recv("180")
				srv.send(re.clone().rename("CANCEL"))
				srv.recv("200 CANCEL")
				cancel := k.recv("CANCEL")
				k.answer(cancel, "200 OK")
				k.answer(in, "487 Request Terminated")
				for _, m := range []*msg{cancel, k.recv("ACK")} {
					if !slices.Equal(m.all("Route"), rr[1:]) {
						t.Errorf("Route %v in\n%s", m.all("Route"), m)
					}
				}
				srv.recv("487")
				srv.send(re.clone().rename("ACK"))
				k.send(l.fixture(name+"-10-server-side-BYE").set("Route", ours))
				srv.answer(srv.recv("BYE"), name+"-11-server-side-200-BYE")
				k.recv("200 BYE")
				l.golden(name)
			})
		})
	}
}

// TestRetransmitted2xx: each goes to the client, whose ACK goes to the server (RFC 6026, RFC 3261 13.3.1.4).
func TestRetransmitted2xx(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		inv := c.invite("fs-recog-udp-01-INVITE")
		in := srv.recv("INVITE")
		for range 3 {
			srv.answer(in, "fs-recog-udp-03-200-INVITE")
			c.recv("200")
			l.wait(time.Second)
			c.send(inv) // absorbed: the server sends its 2xx again by itself
			c.none()
		}
		d := &dialog{l: l, client: c, server: srv, invite: in}
		srv.answer(in, "fs-recog-udp-03-200-INVITE")
		d.ok = c.recv("200")
		ack := c.send(d.fromClient("ACK"))
		c.send(ack)
		if a, b := srv.recv("ACK"), srv.recv("ACK"); a.String() != b.String() {
			t.Errorf("ACK\n%s\nthen\n%s", a, b)
		}
		if len(l.obs.invites) != 1 {
			t.Errorf("%d INVITEs", len(l.obs.invites))
		}
		l.wantSessions(1)
		d.bye()
	})
}
