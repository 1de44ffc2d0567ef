package proxy

import (
	"strings"
	"testing"
	"time"

	"mrcproxy/internal/session"
)

// hangUp ends the only session with HangUp.
func (l *lab) hangUp() bool {
	l.Helper()
	all := l.sessions()
	if len(all) != 1 || !l.table.End(all[0].Key(), session.BackendDown) {
		l.Fatalf("%d sessions", len(all))
	}
	return l.p.HangUp(all[0], `SIP;cause=503;text="backend down"`)
}

// TestHangUp ends a session whose server is dead: with a BYE to the client, over the flow its INVITE came on, though
// FreeSWITCH names no Contact; and one to the server, for the case that it comes back.
func TestHangUp(t *testing.T) {
	for _, c := range []struct {
		scene  string
		server string
		gone   bool // the client's connection
	}{
		{"fs-recog-udp", "sip:" + serverA, false},
		{"fs-recog-tcp", "sip:" + serverA + ";transport=tcp", false},
		{"fs-recog-tcp", "sip:" + serverA, true},
		{"fs-recog-udp", "sip:" + serverA + ";transport=tcp", false},
	} {
		t.Run(c.scene+" "+c.server, func(t *testing.T) {
			inLab(t, setup{servers: []string{c.server}}, func(l *lab) {
				client, srv := l.udp(freeswitch), l.udp(serverA)
				if c.scene == "fs-recog-tcp" {
					client = l.dials(ephTCP, viaTCP)
				}
				if c.server != "sip:"+serverA {
					srv = l.tcp(serverA)
				}
				d := l.establish(client, srv, c.scene+"-01-INVITE", c.scene+"-03-200-INVITE")
				if c.gone {
					l.close(ephTCP)
					client = l.tcp(viaTCP)
				}
				if !l.hangUp() {
					t.Fatal("cannot be ended")
				}
				bye := client.recv("BYE")
				for _, h := range [][2]string{{"From", d.ok.get("To")}, {"To", d.ok.get("From")}, {"Call-ID", d.ok.get("Call-ID")}, {"Route", ""}, {"CSeq", "2147483647 BYE"},
					{"Reason", `SIP;cause=503;text="backend down"`}} {
					if got := bye.get(h[0]); got != h[1] {
						t.Errorf("%s %q, want %q", h[0], got, h[1])
					}
				}
				if want := uriOf(d.ok.get("From")); bye.uri() != want {
					t.Errorf("to %s, want %s", bye.uri(), want)
				}
				client.answer(bye, "200 OK")
				bye = srv.recv("BYE")
				if bye.get("From") != d.ok.get("From") || bye.get("To") != d.ok.get("To") || bye.uri() != uriOf(d.ok.get("Contact")) || bye.get("Route") != "" {
					t.Errorf("to the server:\n%s", bye)
				}
				if srv.proto.Reliable() {
					return
				}
				for _, at := range []time.Duration{100, 300, 700, 1500, 3100} {
					srv.recvAt(at*time.Millisecond, "BYE")
				}
				srv.answer(bye, "200 OK") // it is back
				l.wait(40 * time.Second)
				l.wantEnded(session.BackendDown)
			})
		})
	}
}

// TestHangUpBehindProxy: a proxy between the client and us is gone through, to the Contact.
func TestHangUpBehindProxy(t *testing.T) {
	inLab(t, setup{listen: []string{"udp 127.0.0.111:5060"}}, func(l *lab) {
		name := "fs-via-kamailio-udp-to-udp"
		k, srv := l.udp("127.0.0.110:5060"), l.udp(serverA)
		inv := k.send(l.fixture(name+"-03-server-side-INVITE").set("Contact", "<sip:bot@10.0.0.7:5090>"))
		in := srv.recv("INVITE")
		srv.send(srv.response(in, name+"-05-server-side-200-INVITE").set("Record-Route", append([]string{"<sip:10.9.9.2;lr>, <sip:10.9.9.1;lr>"}, in.all("Record-Route")...)...))
		ok := k.recv("200")
		ack := l.fixture(name+"-08-server-side-ACK").set("Route", ok.all("Record-Route")[1])
		k.send(ack)
		srv.recv("ACK")
		if !l.hangUp() {
			t.Fatal("cannot be ended")
		}
		bye := k.recv("BYE")
		if bye.uri() != "sip:bot@10.0.0.7:5090" || bye.get("Route") != inv.get("Record-Route") {
			t.Errorf("to the client:\n%s", bye)
		}
		k.answer(bye, "200 OK")
		bye = srv.recv("BYE")
		if bye.uri() != uriOf(ok.get("Contact")) || bye.get("Route") != "<sip:10.9.9.1;lr>, <sip:10.9.9.2;lr>" {
			t.Errorf("to the server:\n%s", bye)
		}
		srv.answer(bye, "200 OK")
	})
}

// TestHangUpUnknown: a session that was learned, and one whose 2xx came without our Record-Route, cannot be ended.
func TestHangUpUnknown(t *testing.T) {
	for name, prepare := range map[string]func(l *lab, client, srv *peer){
		"learned": func(l *lab, client, srv *peer) {
			d := l.call(client, srv)
			l.forget()
			client.send(d.fromClient("ACK"))
			srv.recv("ACK")
		},
		"no Record-Route": func(l *lab, client, srv *peer) {
			client.send(client.request("fs-recog-udp-01-INVITE"))
			srv.send(srv.response(srv.recv("INVITE"), "fs-recog-udp-03-200-INVITE").without("Record-Route"))
			client.recv("200")
		},
	} {
		t.Run(name, func(t *testing.T) {
			inLab(t, setup{}, func(l *lab) {
				prepare(l, l.udp(freeswitch), l.udp(serverA))
				if s := l.sessions()[0]; l.p.CanHangUp(s) {
					t.Errorf("can be ended: %+v", s)
				}
				if l.hangUp() {
					t.Error("ended")
				}
			})
		})
	}
}

// TestHangUpKept: nothing is kept that is known without it, and a folded header field is kept as one line.
func TestHangUpKept(t *testing.T) {
	for _, c := range []struct {
		name, contact, server, from string
		client, kept                string // the target of the BYE to the client; what is kept behind To
	}{
		{"no Contact", "", "<sip:" + serverA + ">", "<sip:a@10.0.0.1:5090>;tag=1", "sip:a@10.0.0.1:5090", ""},
		{"the Contact says nothing new", "<sip:a@10.0.0.1:5090>", "<sip:" + serverA + ">", "<sip:a@10.0.0.1:5090>;tag=1", "sip:a@10.0.0.1:5090", ""},
		{"another Contact", "<sip:b@10.0.0.1:5090>;q=1", "<sip:" + serverA + ">", "<sip:a@10.0.0.1:5090>;tag=1", "sip:b@10.0.0.1:5090", "\nsip:b@10.0.0.1:5090"},
		{"the server's, too", "", "<sip:x@10.9.9.9>", "sip:a@10.0.0.1:5090;tag=1", "sip:a@10.0.0.1:5090", "\n\nsip:x@10.9.9.9"},
		{"folded", "", "<sip:" + serverA + ">", "\"A\r\n B\" <sip:a@10.0.0.1:5090>\r\n\t;tag=1", "sip:a@10.0.0.1:5090", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			inLab(t, setup{}, func(l *lab) {
				client, srv := l.udp(freeswitch), l.udp(serverA)
				inv := client.request("fs-recog-udp-01-INVITE").set("From", c.from)
				if c.contact != "" {
					inv.set("Contact", c.contact)
				}
				client.send(inv)
				srv.send(srv.response(srv.recv("INVITE"), "fs-recog-udp-03-200-INVITE").set("Contact", c.server).set("From", c.from))
				ok := client.recv("200")
				from := strings.ReplaceAll(c.from, "\r\n", "")
				s := l.sessions()[0]
				if cookie, rest, _ := strings.Cut(s.Dialog, "\n"); rest != from+"\n"+ok.get("To")+c.kept || !strings.Contains(ok.get("Record-Route"), "<sip:"+cookie+"@") || !l.p.CanHangUp(s) {
					t.Errorf("kept %q", s.Dialog)
				}
				if !l.hangUp() {
					t.Fatal("cannot be ended")
				}
				bye := client.recv("BYE")
				if bye.uri() != c.client || bye.get("To") != from {
					t.Errorf("to the client:\n%s", bye)
				}
				client.answer(bye, "200 OK")
				bye = srv.recv("BYE")
				if bye.uri() != uriOf(c.server) || bye.get("From") != from {
					t.Errorf("to the server:\n%s", bye)
				}
				srv.answer(bye, "200 OK")
			})
		})
	}
}
