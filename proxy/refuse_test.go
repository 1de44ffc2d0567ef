package proxy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestRefused: what a proxy may not pass on (RFC 3261 16.3) is answered by us, and never reaches a server.
func TestRefused(t *testing.T) {
	tests := []struct {
		name   string
		change func(*msg)
		want   string // the answer; empty: none
		why    DropReason
		header string
	}{
		{"Max-Forwards 0", func(m *msg) { m.set("Max-Forwards", "0") }, "483", DropHops, ""},
		{"Proxy-Require", func(m *msg) { m.set("Proxy-Require", "foo, bar") }, "420", DropExtension, "Unsupported: foo, bar"},
		{"tel:", func(m *msg) { m.to("tel:+358-555-1234567") }, "416", DropMalformed, ""},
		{"no Call-ID", func(m *msg) { m.without("Call-ID") }, "400", DropMalformed, "Warning: 399 127.0.0.110:5060 \"mandatory header field missing: Call-ID\""},
		{"no To", func(m *msg) { m.without("To") }, "400", DropMalformed, ""},
		{"no Via", func(m *msg) { m.without("Via") }, "", DropMalformed, ""},
		{"broken To", func(m *msg) { m.set("To", "<sip:x@y") }, "400", DropMalformed, "Warning: 399 127.0.0.110:5060 \"malformed address: To\""},
		{"two Call-IDs", func(m *msg) { m.head = append(m.head, "i: other") }, "400", DropMalformed, "Warning: 399 127.0.0.110:5060 \"header field given more than once: Call-ID\""},
		{"Max-Forwards 256", func(m *msg) { m.set("Max-Forwards", "256") }, "400", DropMalformed, ""},
		{"Max-Forwards -1", func(m *msg) { m.set("Max-Forwards", "-1") }, "400", DropMalformed, ""},
		{"CSeq method", func(m *msg) { m.set("CSeq", "1 BYE") }, "400", DropMalformed, ""},
		{"Content-Length too big", func(m *msg) { m.set("Content-Length", "9999") }, "400", DropMalformed, ""},
		{"Content-Length negative", func(m *msg) { m.set("Content-Length", "-1") }, "400", DropMalformed, ""},
		{"broken Route", func(m *msg) { m.set("Route", `"x, <sip:y;lr>`) }, "400", DropMalformed, ""},
		{"SIP/3.0", func(m *msg) { m.start = strings.Replace(m.start, "SIP/2.0", "SIP/3.0", 1) }, "505", DropMalformed, ""},
		{"no CSeq", func(m *msg) { m.without("CSeq") }, "", DropMalformed, ""},
		{"CSeq of another method, unknown", func(m *msg) { m.start = strings.Replace(m.start, "INVITE", "NEW", 1) }, "501", DropMalformed, ""},
		{"bare CR", func(m *msg) { m.set("Subject", "x\rRoute: <sip:evil>") }, "", DropMalformed, ""},
		{"NUL", func(m *msg) { m.set("Call-ID", "x\x00y") }, "", DropMalformed, ""},
		{"bare CR and no To", func(m *msg) { m.without("To").set("Subject", "\r") }, "", DropMalformed, ""},
		{"OPTIONS with Proxy-Require", func(m *msg) { m.rename("OPTIONS").set("Proxy-Require", "foo") }, "420 OPTIONS", DropExtension, "Unsupported: foo"},
		{"OPTIONS with Require", func(m *msg) { m.rename("OPTIONS").set("Require", "foo, bar") }, "420 OPTIONS", DropExtension, "Unsupported: foo, bar"},
		{"OPTIONS tel:", func(m *msg) { m.rename("OPTIONS").to("tel:1") }, "416 OPTIONS", DropMalformed, ""},
		{"REGISTER", func(m *msg) { m.rename("REGISTER") }, "403 REGISTER", DropForbidden, ""},
		{"BYE", func(m *msg) { m.rename("BYE") }, "403 BYE", DropForbidden, ""},
		{"BYE in a dialog", func(m *msg) { m.rename("BYE").set("To", "<sip:x@y>;tag=1") }, "481 BYE", DropNoDialog, ""},
		{"ACK", func(m *msg) { m.rename("ACK") }, "", DropNoDialog, ""},
		{"ACK without hops", func(m *msg) { m.rename("ACK").set("Max-Forwards", "0") }, "", DropHops, ""},
		{"malformed ACK", func(m *msg) { m.rename("ACK").set("To", "<sip:x@y") }, "", DropMalformed, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inLab(t, setup{}, func(l *lab) {
				c := l.udp(freeswitch)
				m := c.request("fs-recog-udp-01-INVITE")
				tt.change(m)
				c.send(m)
				l.wantDropped(tt.why, 1)
				if l.leases() != 0 || l.p.Transactions() != 0 {
					t.Errorf("%d leases, %d transactions", l.leases(), l.p.Transactions())
				}
				if tt.want == "" {
					return
				}
				r := c.next()
				if r == nil || !strings.HasPrefix(r.start, "SIP/2.0 "+tt.want[:3]+" ") {
					t.Fatalf("got %v, want %s", r, tt.want)
				}
				if len(r.all("Via")) != 1 || r.get("From") != m.get("From") || r.get("Call-ID") != m.get("Call-ID") || !strings.Contains(r.String(), tt.header) {
					t.Errorf("\n%s", r)
				}
			})
		})
	}
}

// TestProxyRequireInDialog is RFC 3261 16.3 step 5 for a request in a dialog; ACK and CANCEL are never refused so.
func TestProxyRequireInDialog(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		d := l.call(c, srv)
		c.send(d.fromClient("UPDATE").set("Proxy-Require", "privacy"))
		if u := c.recv("420 UPDATE").get("Unsupported"); u != "privacy" {
			t.Errorf("Unsupported %q", u)
		}
		c.send(d.fromClient("ACK").set("Proxy-Require", "privacy"))
		srv.recv("ACK")
		d.bye()
	})
}

// TestMaxForwards: one less, and 70 where there was none (FreeSWITCH's BYE of an orphan).
func TestMaxForwards(t *testing.T) {
	for _, tt := range [][2]string{{"1", "0"}, {"70", "69"}, {"255", "254"}, {"", "70"}} {
		inLab(t, setup{}, func(l *lab) {
			c, srv := l.udp(freeswitch), l.udp(serverA)
			m := c.request("fs-recog-udp-01-INVITE").without("Max-Forwards")
			if tt[0] != "" {
				m.set("Max-Forwards", tt[0])
			}
			c.send(m)
			d := l.accept(c, srv, "fs-recog-udp-03-200-INVITE")
			if got := d.invite.all("Max-Forwards"); len(got) != 1 || got[0] != tt[1] {
				t.Errorf("%q became %q", tt[0], got)
			}
			d.bye()
		})
	}
}

// TestLoop: our own INVITE comes back, because a server's address is our own. Changed by us it may be a spiral and goes
// on; unchanged it is a loop (RFC 3261 16.3 step 4).
func TestLoop(t *testing.T) {
	inLab(t, setup{servers: []string{"sip:127.0.0.110:5060"}}, func(l *lab) {
		c, us := l.udp(freeswitch), l.udp("127.0.0.110:5060")
		inv := c.request("fs-recog-udp-01-INVITE").to("sip:somebody.example")
		c.send(inv)
		us.sendRaw(us.recv("INVITE").String())
		us.sendRaw(us.recv("INVITE").String())
		us.sendRaw(us.recv("482").String())
		us.sendRaw(us.recv("ACK").String())
		us.sendRaw(us.recv("482").String())
		us.sendRaw(us.recv("ACK").String())
		c.send(inv.clone().rename("ACK").set("To", c.recv("482").get("To")))
		l.wantDropped(DropLoop, 1)
		l.noSessions()
	})
}

// TestAllow: who may start a session. What is in one already comes from wherever its cookie is good for.
func TestAllow(t *testing.T) {
	s := setup{routing: func(r *Routing) { r.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.128/25")} }}
	inLab(t, s, func(l *lab) {
		c, srv, other := l.udp(freeswitch), l.udp(serverA), l.udp("10.9.9.9:5060")
		other.invite("fs-recog-udp-01-INVITE")
		other.recv("403")
		other.send(other.request("server-options-ood-udp-00-OPTIONS"))
		other.recv("403 OPTIONS")
		d := l.call(c, srv)
		l.wantDropped(DropForbidden, 2)
		srv.send(d.fromServer("BYE")) // the server is not among them
		c.answer(c.recv("BYE"), "200 OK")
		srv.recv("200 BYE")
	})
}

// TestStray: responses that belong to nothing, or not to what their branch names, go nowhere (RFC 6026 7.3).
func TestStray(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		srv.send(l.fixture("fs-recog-udp-03-200-INVITE"))
		l.wantDropped(DropStray, 1)
		c.invite("fs-recog-udp-01-INVITE")
		in := srv.recv("INVITE")
		ok := srv.response(in, "fs-recog-udp-03-200-INVITE")
		via := ok.all("Via")
		branch := via[0][strings.Index(via[0], magic):]
		for i, b := range []string{
			branch[:len(mark)+8+16] + "02" + branch[len(branch)-8:],                                      // an attempt that was never made
			branch[:len(mark)+8+16] + "00" + branch[len(branch)-8:],                                      //
			mark + "00000000" + branch[len(mark)+8:],                                                     // another process's
			branch[:len(mark)+8] + "00000009" + branch[len(mark)+16:],                                    // another generation
			branch[:len(mark)+8] + "0000000200000000" + branch[len(mark)+24:],                            // none
			branch[:len(mark)+8] + branch[len(mark)+8:len(mark)+16] + "ffffffff" + branch[len(mark)+24:], // no such place
			branch[:len(branch)-8] + "00000000",                                                          // what it looks like, but for what nobody can guess
			branch + "00", branch[:20], "z9hG4bKmq", "z9hG4bK", "1",
		} {
			srv.send(ok.clone().set("Via", via[0][:len(via[0])-len(branch)]+b, via[1]))
			if c.next() != nil || l.obs.dropped[DropStray] != 2+i {
				t.Errorf("taken, branch %s", b)
			}
		}
		n := l.obs.dropped[DropStray]
		srv.send(ok.clone().set("CSeq", "123093295 BYE"))
		srv.send(ok.clone().set("CSeq", "123093295 CANCEL")) // no CANCEL is out
		srv.send(ok.clone().set("Via", via[0]))              // for us: RFC 3261 16.7 step 3
		c.none()
		l.wantDropped(DropStray, n+2)
		srv.send(ok)
		d := &dialog{l: l, client: c, server: srv, invite: in, ok: c.recv("200")}
		d.bye()
	})
}

// TestGarbage is what port scanners and broken peers send.
func TestGarbage(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c := l.udp(freeswitch)
		inv := c.request("fs-recog-udp-01-INVITE").String()
		for _, s := range []string{"", "\x00", "\r\n", "\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "INVITE", "INVITE sip:x SIP/2.0\r\n\r\n", "SIP/2.0 200 OK\r\n\r\n",
			"SIP/2.0 999 X\r\n\r\n", strings.Repeat("A", 65000), inv[:40], inv[:len(inv)/2], strings.Repeat("\r\n ", 20000), "INVITE sip:x SIP/2.0\r\nVia" + strings.Repeat(":", 60000)} {
			c.sendRaw(s)
			for c.next() != nil {
			}
		}
		l.p.Malformed(c.flow(), "no end")
		l.wantDropped(DropFraming, 1)
		if l.obs.dropped[DropMalformed] < 13 {
			t.Errorf("%v", l.obs.dropped)
		}
	})
}

// TestTableFull: no room for another transaction.
func TestTableFull(t *testing.T) {
	inLab(t, setup{limit: 1}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		d := l.call(c, srv)
		c.send(c.request("fs-recog-udp-01-INVITE").branch("second").set("Call-ID", "second"))
		c.recv("503")
		c.send(d.fromClient("BYE"))
		c.recv("503 BYE")
		l.wantDropped(DropOverload, 2)
		l.wantSessions(1)
		l.wait(33 * time.Second)
		d.bye()
	})
}

// TestLargeRequestsKept: requests are kept with their transactions, and large ones use up the room before there are many.
func TestLargeRequestsKept(t *testing.T) {
	const room = 1 << 20
	some := func(r *Routing) { r.Routes[0].UserAgent, r.Otherwise = prefix("ASR"), Otherwise{Reject: 488} }
	inLab(t, setup{routing: some, kept: room}, func(l *lab) {
		c := l.tcp(freeswitch)
		d := l.call(l.udp(freeswitch), l.udp(serverA))
		large := c.request("fs-recog-tcp-01-INVITE").set("User-Agent", strings.Repeat("x", 30000))
		for i, from := range []string{freeswitch, "127.0.0.132:5090"} { // the second finds that the first has taken it all
			p := l.tcp(from) // where no answer is sent again
			got := map[int]int{}
			for n := range 200 {
				p.send(large.clone().set("Via", fmt.Sprintf("SIP/2.0/TCP %s;branch=z9hG4bKlarge%d-%d;x=%s", from, i, n, strings.Repeat("y", 30000))))
				got[p.next().code()]++
			}
			if got[503] == 0 || got[488]+got[503] != 200 || i == 1 && got[488] != 0 {
				t.Errorf("%v", got)
			}
			if n := l.p.txs.Kept(); n > room {
				t.Errorf("%d bytes are kept, want %d at most", n, room)
			}
		}
		d.bye() // what belongs to a session has room left
		l.wait(33 * time.Second)
		if n := l.p.txs.Kept(); n != 0 {
			t.Errorf("%d bytes are kept for no transaction", n)
		}
	})
}

// TestPanic: a bug met with one message does not end the process, nor block the next.
func TestPanic(t *testing.T) {
	inLab(t, setup{routing: func(r *Routing) { r.Routes[0].UserAgent = faulty{} }}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		bad := c.request("fs-recog-udp-01-INVITE").set("User-Agent", "bad")
		for range 3 {
			c.send(bad)
		}
		l.wantDropped(DropPanic, 3)
		l.obs.dropped[DropPanic] = 0
		l.call(c, srv).bye()
	})
}

type faulty struct{}

func (faulty) Match(b []byte) bool {
	if string(b) == "bad" {
		panic("a bug")
	}
	return true
}
