package proxy

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"mrcproxy/proxy/message"
)

// The tests here show requirements that docs/conformance.md lists and no scene of another file does.

// TestNonInviteProvisional is RFC 4320 4.1: a request other than INVITE gets no provisional response but a 100, and that
// one only when timer E has come to T2 (3.5 s) without an answer, but then always.
func TestNonInviteProvisional(t *testing.T) {
	patient := setup{routing: func(r *Routing) { r.Failover.Deadline = 8 * time.Second }}
	for _, c := range []func(*lab) *peer{func(l *lab) *peer { return l.udp(freeswitch) }, func(l *lab) *peer { return l.tcp(freeswitch) }} {
		inLab(t, patient, func(l *lab) { nonInviteProvisional(l, c(l)) })
	}
}

func nonInviteProvisional(l *lab, c *peer) {
	srv := l.udp(serverA)
	d := l.call(c, srv)
	for _, silent := range []bool{true, false} {
		begun := time.Since(l.start)
		info := c.send(d.fromClient("INFO"))
		in := srv.recv("INFO")
		if !silent {
			srv.answer(in, "100 Trying")
			srv.answer(in, "180 Ringing")
		}
		l.until(begun + 3490*time.Millisecond)
		c.none()
		c.recvAt(begun+3500*time.Millisecond, "100 INFO")
		c.send(info) // RFC 3261 17.2.2: the provisional response again
		c.recv("100 INFO")
		for srv.next() != nil {
		}
		srv.answer(in, "200 OK")
		c.recv("200 INFO")
	}
	d.bye()
}

// TestNonInviteTimeoutPassed is RFC 4320 4.2: a 408 to a request other than INVITE is of no use to its client, and goes no
// further. What does says the same of the dialog (RFC 3261 12.2.1.2): it is over.
func TestNonInviteTimeoutPassed(t *testing.T) {
	for _, method := range []string{"BYE", "INFO", "UPDATE"} {
		inLab(t, setup{}, func(l *lab) {
			c, srv := l.udp(freeswitch), l.udp(serverA)
			d := l.call(c, srv)
			c.send(d.fromClient(method))
			srv.answer(srv.recv(method), "408 Request Timeout")
			final := c.recv("481 " + method)
			if len(final.all("Via")) != 1 || !strings.Contains(final.get("To"), ";tag=") {
				t.Errorf("\n%s", final)
			}
			l.noSessions()
		})
	}
	inLab(t, setup{}, func(l *lab) { // an INVITE's is passed
		c, srv := l.udp(freeswitch), l.udp(serverA)
		d := l.call(c, srv)
		re := c.send(d.fromClient("INVITE"))
		srv.answer(srv.recv("INVITE"), "408 Request Timeout")
		srv.recv("ACK")
		c.recv("408")
		c.send(re.clone().rename("ACK"))
		l.noSessions()
	})
}

// TestNonInviteLate is RFC 4320 4.2: an answer that comes when ours has gone out goes no further.
func TestNonInviteLate(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		d := l.call(c, srv)
		c.send(d.fromClient("BYE"))
		in := srv.recv("BYE")
		l.until(2 * time.Second)
		c.recv("481 BYE")
		for srv.next() != nil {
		}
		srv.answer(in, "200 OK")
		c.none()
		l.wait(40 * time.Second)
		srv.answer(in, "200 OK")
		c.none()
		l.wantDropped(DropStray, 1)
	})
}

// TestForeignSentBy is RFC 3261 18.1.2: a response whose topmost Via is not one that we write is discarded, whatever its
// branch. An address may be written in another way, and the default port left out.
func TestForeignSentBy(t *testing.T) {
	for _, tt := range []struct {
		listen, server, sentBy string
		taken                  bool
	}{
		{"127.0.0.110:5060", serverA, "127.0.0.110:5060", true},
		{"127.0.0.110:5060", serverA, "127.0.0.110", true},
		{"127.0.0.110:5060", serverA, "127.0.0.110 : 5060", true},
		{"127.0.0.110:5060", serverA, "127.0.0.110:5061", false},
		{"127.0.0.110:5060", serverA, "127.0.0.111:5060", false},
		{"127.0.0.110:5060", serverA, "proxy.example:5060", false},
		{"127.0.0.110:5062", serverA, "127.0.0.110", false},
		{"[2001:db8::110]:5060", "[2001:db8::11]:8060", "[2001:DB8:0::110]:5060", true},
		{"[2001:db8::110]:5060", "[2001:db8::11]:8060", "[2001:db8::111]:5060", false},
	} {
		t.Run(tt.listen+" is not "+tt.sentBy, func(t *testing.T) {
			client := freeswitch
			if tt.listen[0] == '[' {
				client = "[2001:db8::5]:5090"
			}
			inLab(t, setup{listen: []string{"udp " + tt.listen}, servers: []string{"sip:" + tt.server}}, func(l *lab) {
				c, srv := l.udp(client), l.udp(tt.server)
				c.invite("fs-recog-udp-01-INVITE")
				in := srv.recv("INVITE")
				ok := srv.response(in, "fs-recog-udp-03-200-INVITE")
				odd := ok.clone()
				vias := odd.all("Via")
				vias[0] = strings.Replace(vias[0], tt.listen, tt.sentBy, 1)
				srv.sendRaw(odd.set("Via", vias...).String())
				if !tt.taken {
					c.none()
					l.wantDropped(DropStray, 1)
					srv.sendRaw(ok.String())
				}
				(&dialog{l: l, client: c, server: srv, invite: in, ok: c.recv("200")}).bye()
			})
		})
	}
}

// TestResponseMethod is RFC 3261 17.1.3: the branch and the CSeq's method find the transaction, also that of a method which
// we know nothing of.
func TestResponseMethod(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		d := l.call(c, srv)
		for i, method := range []string{"INFO", "MESSAGE", "UPDATE"} {
			c.send(d.fromClient(method))
			ok := srv.response(srv.recv(method), "200 OK")
			odd := ok.clone()
			n, _, _ := strings.Cut(odd.get("CSeq"), " ")
			srv.send(odd.set("CSeq", n+" NOTIFY"))
			c.none()
			l.wantDropped(DropStray, i+1)
			srv.send(ok)
			c.recv("200 " + method)
		}
		d.bye()
	})
}

// TestMergedRequests is RFC 3261 16.3: requests that a fork before us has made two of are no error, and both go on; only a UAS
// may refuse the second (8.2.2.2).
func TestMergedRequests(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		inv := c.request("fs-recog-udp-01-INVITE")
		c.send(inv)
		d := l.accept(c, srv, "fs-recog-udp-03-200-INVITE")
		c.send(inv.clone().branch("fork2"))
		second := srv.recv("INVITE")
		srv.answer(second, "482 Loop Detected")
		srv.recv("ACK")
		c.recv("482")
		c.send(inv.clone().branch("fork2").rename("ACK"))
		d.bye()
	})
}

// TestResponseUndeliverable is RFC 6026 7.1: a response that cannot be sent ends no transaction, so that the INVITE's
// retransmission does not go to a server as if it were new.
func TestResponseUndeliverable(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c, srv := l.dials(ephTCP, viaTCP), l.udp(serverA)
		inv := c.invite("fs-recog-tcp-01-INVITE")
		in := srv.recv("INVITE")
		l.close(ephTCP)
		l.net.fail[netip.MustParseAddrPort(viaTCP)] = errors.New("refused")
		srv.answer(in, "404 Not Found")
		srv.recv("ACK")
		delete(l.net.fail, netip.MustParseAddrPort(viaTCP))
		l.wantDropped(DropSend, 1)
		again := l.dials("127.0.0.131:61111", viaTCP)
		again.send(inv)
		srv.none()
		l.tcp(viaTCP).recv("404")
	})
}

// TestLoopHash is RFC 3261 16.6 step 8 and RFC 5393 4.2: what tells a loop from a spiral depends on what routing depends
// on, and never on the method, so that an INVITE, its ACK and its CANCEL have one value.
func TestLoopHash(t *testing.T) {
	const from, other = "127.0.0.131", "127.0.0.132"
	routing := func(r *Routing) {
		r.Routes = append(r.Routes, Route{Cluster: "asr", Source: []netip.Prefix{netip.MustParsePrefix(other + "/32")}},
			Route{Cluster: "asr", Header: []HeaderMatch{{"x-tenant", prefix("acme")}}})
	}
	inLab(t, setup{routing: routing}, func(l *lab) {
		inv := l.fixture("fs-recog-udp-01-INVITE").set("Route", "<sip:a;lr>", "<sip:b;lr>")
		source := netip.MustParseAddr(from)
		hash := func(m *msg) uint32 {
			var s message.Message
			if err := s.Scan([]byte(m.String())); err != nil {
				t.Fatal(err)
			}
			return l.p.loopHash(&s, source)
		}
		want := hash(inv)
		mrcpv1 := inv.clone()
		mrcpv1.body = strings.Replace(inv.body, "MRCPv2", "MRCPv1", 1)
		for _, m := range []*msg{inv.clone().rename("ACK"), inv.clone().rename("CANCEL"), inv.clone().set("Max-Forwards", "3"), inv.clone().branch("other"),
			inv.clone().set("Subject", "no route looks at it")} {
			if hash(m) != want {
				t.Errorf("another loop than the INVITE:\n%s", m)
			}
		}
		for _, m := range []*msg{
			inv.clone().to("sip:elsewhere"), inv.clone().set("Route", "<sip:b;lr>"), inv.clone().set("Call-ID", "x"),
			inv.clone().set("From", "<sip:a@b>;tag=x"), inv.clone().set("To", "<sip:a@b>;tag=x"), inv.clone().set("CSeq", "1 INVITE"),
			inv.clone().set("User-Agent", "x"), inv.clone().set("X-Tenant", "acme"), mrcpv1,
		} {
			if hash(m) == want {
				t.Errorf("no spiral:\n%s", m)
			}
		}
		if source = netip.MustParseAddr(other); hash(inv) == want {
			t.Error("no spiral, though another source may take another route")
		}
	})
}

// TestLongRouteSet is RFC 3261 9.1 and 17.1.1.3: CANCEL and ACK have the whole Route of their INVITE, however long it is.
func TestLongRouteSet(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		d := l.call(c, srv)
		set := []string{"<sip:1;lr>", "<sip:2;lr>", "<sip:3;lr>", "<sip:4;lr>", "<sip:5;lr>, <sip:6;lr>", "<sip:7;lr>"}
		re := d.fromClient("INVITE")
		re.set("Route", append(re.all("Route"), set...)...)
		c.send(re)
		in := srv.recv("INVITE")
		srv.answer(in, "183 Session Progress")
		c.recv("183")
		c.send(re.clone().rename("CANCEL"))
		c.recv("200 CANCEL")
		cancel := srv.recv("CANCEL")
		srv.answer(cancel, "200 OK")
		srv.answer(in, "487 Request Terminated")
		for _, m := range []*msg{in, cancel, srv.recv("ACK")} {
			if got := strings.Join(m.all("Route"), ", "); got != strings.Join(set, ", ") {
				t.Errorf("Route %q in\n%s", got, m)
			}
		}
		c.send(re.clone().rename("ACK").set("To", c.recv("487").get("To")))
		d.bye()
	})
}

// TestAckWithInviteBranch is RFC 6026 7.1: an ACK that matches an INVITE which was accepted belongs to the dialog and is
// passed on. Clients of RFC 2543's time send it with the INVITE's branch.
func TestAckWithInviteBranch(t *testing.T) {
	for _, branch := range []string{"z9hG4bKsame", "1"} {
		inLab(t, setup{}, func(l *lab) {
			c, srv := l.udp(freeswitch), l.udp(serverA)
			inv := c.request("fs-recog-udp-01-INVITE").set("Via", "SIP/2.0/UDP "+freeswitch+";branch="+branch)
			c.send(inv)
			in := srv.recv("INVITE")
			srv.answer(in, "fs-recog-udp-03-200-INVITE")
			d := &dialog{l: l, client: c, server: srv, invite: in, ok: c.recv("200")}
			ack := d.fromClient("ACK").set("Via", inv.get("Via"))
			c.send(ack)
			c.send(ack)
			srv.recv("ACK")
			if via := srv.recv("ACK").all("Via"); len(via) != 2 || strings.HasSuffix(via[0], "="+branch) {
				t.Errorf("Via %v", via)
			}
			d.bye()
		})
	}
}

// TestAnswersLeaveWhereTheyCame is RFC 3581 4 and RFC 3261 18.2.2: a response leaves from the address and port, or on the
// connection, that the request came to; ours and the server's.
func TestAnswersLeaveWhereTheyCame(t *testing.T) {
	s := setup{listen: []string{"udp 127.0.0.110:5060", "udp 127.0.0.110:5070", "tcp 127.0.0.110:5060", "tcp 127.0.0.110:5070"}}
	inLab(t, s, func(l *lab) {
		srv := l.udp(serverA)
		for local := range uint8(4) {
			c := l.udp("127.0.0.131:600" + string('0'+rune(local)))
			if local > 1 {
				c = l.dials(c.sentBy, "127.0.0.131:5091")
			}
			c.local = local
			want := c.flow()
			inv := c.request("fs-recog-udp-01-INVITE").branch("from"+string('0'+rune(local))).set("Call-ID", "call"+string('0'+rune(local)))
			inv.set("Via", inv.get("Via")+";rport")
			c.send(inv)
			in := srv.recv("INVITE")
			srv.answer(in, "180 Ringing")
			ringing := c.recv("180")
			c.send(inv.clone().rename("CANCEL"))
			ok := c.recv("200 CANCEL")
			srv.answer(srv.recv("CANCEL"), "200 OK")
			srv.answer(in, "487 Request Terminated")
			srv.recv("ACK")
			final := c.recv("487")
			c.send(inv.clone().rename("ACK").set("To", final.get("To")))
			c.send(c.request("server-options-ood-udp-00-OPTIONS").set("Via", inv.get("Via")))
			for _, m := range []*msg{ringing, ok, final, c.recv("200 OPTIONS")} {
				if m.flow.Local != want.Local || m.flow.Conn != want.Conn {
					t.Errorf("left by %+v, want %+v:\n%s", m.flow, want, m)
				}
			}
		}
	})
}

// TestCancelTag is RFC 3261 9.2: our answers to an INVITE and to its CANCEL have one To tag.
func TestCancelTag(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c, cancel := umcCancels(l)
		srv := l.udp(serverA)
		c.send(cancel)
		ok := c.recv("200 CANCEL")
		l.until(500 * time.Millisecond)
		c.recv("100")
		final := c.recv("487")
		if ok.get("To") != final.get("To") || !strings.Contains(ok.get("To"), ";tag=") {
			t.Errorf("To %q and %q", ok.get("To"), final.get("To"))
		}
		c.send(c.request("umc-ACK-to-487-udp").set("To", final.get("To")))
		for srv.next() != nil {
		}
	})
}

// TestStateless is RFC 3261 8.2.7: what is refused without a transaction gets the same answer each time it comes, is never
// sent by a timer, has no provisional response, and its ACK is ignored.
func TestStateless(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c := l.udp(freeswitch)
		for _, m := range []*msg{
			c.request("fs-recog-udp-01-INVITE").set("Proxy-Require", "foo"),
			c.request("fs-recog-udp-01-INVITE").rename("SUBSCRIBE"),
			c.request("fs-recog-udp-01-INVITE").set("To", "<sip:a@b>;tag=x"),
		} {
			c.send(m)
			first := c.next()
			c.send(m)
			if again := c.next(); first == nil || again == nil || again.String() != first.String() || !strings.Contains(first.get("To"), ";tag=") {
				t.Errorf("answered\n%v\nthen\n%v", first, again)
			}
			if m.method() == "INVITE" {
				c.send(m.clone().rename("ACK").set("To", first.get("To")))
			}
			l.wait(40 * time.Second)
			c.none()
		}
	})
}

// TestChallenge is RFC 3261 16.7 steps 6 and 7: a server that wants credentials is no reason to try another, and its
// challenge goes to the client, also behind another server's refusal.
func TestChallenge(t *testing.T) {
	for _, tt := range [][3]string{{"", "401 Unauthorized", "WWW-Authenticate"}, {"486 Busy Here", "407 Proxy Authentication Required", "Proxy-Authenticate"}} {
		inLab(t, two, func(l *lab) {
			c, a, b := l.udp(freeswitch), l.udp(serverA), l.udp(serverB)
			inv := c.invite("fs-recog-udp-01-INVITE")
			asked := a
			if tt[0] != "" {
				a.answer(a.recv("INVITE"), tt[0])
				a.recv("ACK")
				asked = b
			}
			asked.send(asked.response(asked.recv("INVITE"), tt[1]).set(tt[2], `Digest realm="asr"`))
			asked.recv("ACK")
			final := c.recv(tt[1][:3])
			if final.get(tt[2]) != `Digest realm="asr"` {
				t.Errorf("\n%s", final)
			}
			c.send(inv.clone().rename("ACK").set("To", final.get("To")))
		})
	}
}

// TestSips is RFC 3261 26.2.2: a SIPS Request-URI asks for TLS on every hop, and is refused rather than lowered to SIP.
func TestSips(t *testing.T) {
	for _, method := range []string{"INVITE", "OPTIONS"} {
		inLab(t, setup{}, func(l *lab) {
			c := l.udp(freeswitch)
			c.send(c.request("fs-recog-udp-01-INVITE").rename(method).to("sips:asr@127.0.0.110"))
			c.recv("416 " + method)
		})
	}
}

// TestTransparent: what we do not know goes on as it came (RFC 3261 16.3, 16.6 step 1): methods, header fields, and of RFC
// 4028 the refusal of an interval and the Min-SE in it, which are between the user agents.
func TestTransparent(t *testing.T) {
	odd := []string{"x-Odd : a,b;c", "Max-Breadth: 60", "Require: timer", "Session-Expires: 30;refresher=uac", "Min-SE: 30"}
	inLab(t, setup{}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		inv := c.request("fs-recog-udp-01-INVITE").without("Session-Expires", "Min-SE", "Require")
		inv.head = append(inv.head, odd...)
		c.send(inv)
		in := srv.recv("INVITE")
		for _, line := range odd {
			if !slices.Contains(in.head, line) {
				t.Errorf("%q is lost:\n%s", line, in)
			}
		}
		refusal := srv.response(in, "422 Session Interval Too Small")
		srv.send(refusal.set("Min-SE", "90"))
		srv.recv("ACK")
		final := c.recv("422")
		if final.get("Min-SE") != "90" {
			t.Errorf("\n%s", final)
		}
		c.send(inv.clone().rename("ACK").set("To", final.get("To")))
		d := l.accept(c, srv, second(l, c, "fs-recog-udp-03-200-INVITE"))
		c.send(d.fromClient("FROB"))
		srv.answer(srv.recv("FROB"), "299 Frobbed")
		c.recv("299 FROB")
		d.bye()
	})
}
