package proxy

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"mrcproxy/internal/session"
	"mrcproxy/proxy/transport"
)

func someCookies() []cookie {
	v4, v6 := netip.MustParseAddrPort("10.1.1.180:8060"), netip.MustParseAddrPort("[2001:db8::5]:5090")
	var l []cookie
	for _, sp := range []transport.Proto{transport.UDP, transport.TCP, transport.TLS} {
		for _, cp := range []transport.Proto{transport.UDP, transport.TCP, transport.TLS} {
			for _, sa := range []netip.AddrPort{v4, v6} {
				for _, ca := range []netip.AddrPort{v4, v6} {
					l = append(l, cookie{backend: 0xdeadbeef, tag: 7, callback: 5091, server: transport.Flow{Proto: sp, Local: 15, Remote: sa},
						client: transport.Flow{Proto: cp, Local: 3, Remote: ca}})
				}
			}
		}
	}
	return l
}

// TestCookie: what goes in comes out, in unreserved characters (RFC 3261 25.1), and any change is noticed.
func TestCookie(t *testing.T) {
	k := newKeys([][]byte{[]byte("one")})
	unreserved := regexp.MustCompile(`^[ABD-Za-z0-9_.-]+$`)
	for _, c := range someCookies() {
		text := k.append(nil, &c, []byte("call"))
		if !unreserved.Match(text) {
			t.Errorf("%s", text)
		}
		if got, ok := k.parse(text, []byte("call")); !ok || got != c {
			t.Errorf("%+v: %+v %v", c, got, ok)
		}
		if _, ok := k.parse(text, []byte("call2")); ok {
			t.Error("valid for another Call-ID")
		}
		for n := range text {
			if _, ok := k.parse(text[:n], []byte("call")); ok {
				t.Errorf("valid when cut to %d of %d", n, len(text))
			}
		}
		for i, was := range text {
			for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") {
				if text[i] = c; c == was {
					continue
				}
				if _, ok := k.parse(text, []byte("call")); ok {
					t.Errorf("valid with %q for %q at %d", c, was, i)
				}
			}
			text[i] = was
		}
		raw, _ := cookieCoding.DecodeString(string(text))
		for i := range raw {
			for bit := range 8 {
				raw[i] ^= 1 << bit
				if _, ok := k.parse([]byte(cookieCoding.EncodeToString(raw)), []byte("call")); ok {
					t.Errorf("valid with bit %d of byte %d turned", bit, i)
				}
				raw[i] ^= 1 << bit
			}
		}
		for _, more := range []string{"A", "AA", "AAAA", strings.Repeat("A", 200), "="} {
			if _, ok := k.parse(append(append([]byte{}, text...), more...), []byte("call")); ok {
				t.Errorf("valid with %q behind", more)
			}
		}
	}
}

// TestSecrets: several instances share secrets; the first signs, all verify, so that a rotation loses no session.
func TestSecrets(t *testing.T) {
	c := someCookies()[0]
	signed := newKeys([][]byte{[]byte("old")}).append(nil, &c, []byte("call"))
	for _, tt := range []struct {
		secrets string
		ok      bool
	}{{"old", true}, {"new old", true}, {"old new", true}, {"a b c old", true}, {"new", false}, {"new newer", false}} {
		k := newKeys(nil)
		for _, s := range strings.Fields(tt.secrets) {
			k.list = append(k.list, newKeys([][]byte{[]byte(s)}).list...)
		}
		if _, ok := k.parse(signed, []byte("call")); ok != tt.ok {
			t.Errorf("secrets %s: %v", tt.secrets, ok)
		}
	}
}

// TestNoRelayWithoutCookie: nobody can make us an open relay, and nobody gets into another's session.
func TestNoRelayWithoutCookie(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c, srv, thief := l.udp(freeswitch), l.udp(serverA), l.udp("203.0.113.66:5060")
		d := l.call(c, srv)
		route := d.ok.get("Record-Route")
		text := cookieText.FindStringSubmatch(route)[1]
		other := "A"
		if text[20] == 'A' {
			other = "B"
		}
		tests := []struct {
			name   string
			change func(*msg)
			code   string
		}{
			{"no Route", func(m *msg) { m.without("Route") }, "481"},
			{"no cookie", func(m *msg) { m.set("Route", "<sip:127.0.0.110:5060;lr>") }, "481"},
			{"forged", func(m *msg) { m.set("Route", strings.Replace(route, text, text[:20]+other+text[21:], 1)) }, "481"},
			{"truncated", func(m *msg) { m.set("Route", strings.Replace(route, text, text[:len(text)-2], 1)) }, "481"},
			{"other Call-ID", func(m *msg) { m.set("Call-ID", "another") }, "481"},
			{"other tags", func(m *msg) { m.set("From", "<sip:x@y>;tag=1").set("To", "<sip:x@y>;tag=2") }, "481"},
			{"foreign Route", func(m *msg) { m.set("Route", "<sip:10.9.9.9;lr>") }, "481"},
			{"no dialog", func(m *msg) { m.without("Route").set("To", "<sip:x@y>") }, "403"},
		}
		for i, tt := range tests {
			for _, method := range []string{"BYE", "INVITE", "INFO", "ACK"} {
				if method == "INVITE" && tt.code == "403" {
					continue
				}
				m := d.fromClient(method)
				m.set("Via", "SIP/2.0/UDP 203.0.113.66;branch=z9hG4bKthief"+method+string(rune('a'+i)))
				tt.change(m)
				thief.send(m)
				if method != "ACK" {
					if got := thief.recv(tt.code + " " + method); !strings.Contains(got.get("To"), ";tag=") {
						t.Errorf("RFC 3261 8.2.6.2: To %q", got.get("To"))
					}
				}
				srv.none()
				thief.none()
			}
		}
		l.wantSessions(1)
		d.bye()
	})
	inLab(t, setup{}, func(l *lab) { // an initial INVITE that wants to go on elsewhere
		c := l.udp(freeswitch)
		c.send(c.request("fs-recog-udp-01-INVITE").set("Route", "<sip:127.0.0.110:5060;lr>, <sip:10.9.9.9;lr>"))
		c.recv("403")
		l.wantDropped(DropForbidden, 1)
	})
}

// TestInviteByCookie: who has a session gets no other one past the limits by its Route: without To tag an INVITE begins a session
// (RFC 3261 8.1.1.2), and is placed as any other.
func TestInviteByCookie(t *testing.T) {
	inLab(t, setup{servers: []string{"sip:" + serverA, "sip:" + serverB}, capacity: 1}, func(l *lab) {
		c, a, b := l.udp(freeswitch), l.udp(serverA), l.udp(serverB)
		d := l.call(c, a)
		second := d.fromClient("INVITE").set("To", "<sip:x@y>")
		c.send(second)
		other := &dialog{l: l, client: c, server: b, invite: b.recv("INVITE")}
		b.answer(other.invite, "fs-recog-udp-03-200-INVITE")
		other.ok = c.recv("200")
		c.send(other.fromClient("ACK"))
		b.recv("ACK")
		third := d.fromClient("INVITE").set("To", "<sip:x@y>").set("Via", "SIP/2.0/UDP "+freeswitch+";branch=z9hG4bKthird")
		c.send(third)
		c.ackFinal(third, c.recv("480"))
		l.wantSessions(2)
		d.bye()
		other.bye()
		l.wantEnded(session.ByeClient, session.ByeClient)
	})
}

// TestOutboundProxy: a client that has us as its outbound proxy sends a Route that names us; it is taken off.
func TestOutboundProxy(t *testing.T) {
	for route, port := range map[string]string{"<sip:127.0.0.110:5060;lr>": "5060", "<sip:127.0.0.110;transport=udp;lr>": "5060", "<sip:any@127.0.0.110;lr>": "5060",
		"<sip:127.0.0.110;transport=TLS;lr>": "5070", "<sips:127.0.0.110;lr>": "5070"} {
		inLab(t, setup{listen: []string{"udp 127.0.0.110:" + port, "tls 127.0.0.110:5061"}}, func(l *lab) {
			c, srv := l.udp(freeswitch), l.udp(serverA)
			c.send(c.request("fs-recog-udp-01-INVITE").set("Route", route))
			d := l.accept(c, srv, "fs-recog-udp-03-200-INVITE")
			if len(d.invite.all("Route")) != 0 {
				t.Errorf("Route %v", d.invite.all("Route"))
			}
			d.bye()
		})
	}
}

// TestRestart: a process that was started a moment ago, or another with the same secret, takes everything in a dialog on.
func TestRestart(t *testing.T) {
	for _, proto := range []string{"", ";transport=tcp"} {
		inLab(t, setup{servers: []string{"sip:" + serverA + proto}}, func(l *lab) {
			c, srv := l.udp(freeswitch), l.udp(serverA)
			if proto != "" {
				srv = l.tcp(serverA)
			}
			c.invite("fs-recog-udp-01-INVITE")
			in := srv.recv("INVITE")
			srv.answer(in, "fs-recog-udp-03-200-INVITE")
			d := &dialog{l: l, client: c, server: srv, invite: in, ok: c.recv("200")}
			old := l.table
			l.restart()
			c.send(d.fromClient("ACK"))
			srv.recv("ACK")
			srv.answer(in, "fs-recog-udp-03-200-INVITE") // the predecessor's branch: nobody knows it
			c.none()
			l.wantDropped(DropStray, 1)
			l.wait(30 * time.Second)
			c.send(d.fromClient("INVITE"))
			srv.answer(srv.recv("INVITE"), "200 OK")
			c.recv("200")
			c.send(d.fromClient("ACK"))
			srv.recv("ACK")
			srv.send(d.fromServer("INFO"))
			c.answer(c.recv("INFO"), "200 OK")
			srv.recv("200 INFO")
			d.bye()
			l.stop()
			l.wait(1000 * time.Second)
			old.Tick() // the lease was the predecessor's
			l.run()
		})
	}
}

// TestCookieLetters: a cookie has unreserved characters only (RFC 3261 25.1), and never the name of a header field that somebody may
// look for anywhere in a message.
func TestCookieLetters(t *testing.T) {
	seen := map[rune]bool{}
	for i := range 1 << 12 {
		for _, c := range cookieCoding.EncodeToString([]byte{byte(i >> 4), byte(i << 4), 0}) {
			seen[c] = true
		}
	}
	for c := range seen {
		if !strings.ContainsRune("ABDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.", c) {
			t.Errorf("%q", c)
		}
	}
	if len(seen) != 64 {
		t.Errorf("%d letters", len(seen))
	}
}
