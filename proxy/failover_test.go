package proxy

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

var two = setup{servers: []string{"sip:" + serverA, "sip:" + serverB}}

// TestFailoverOnCode: a code that another server may cure moves the call on, at once; any other goes back to the client
// (RFC 3261 16.7). The server that answered got its ACK, and is never asked twice.
func TestFailoverOnCode(t *testing.T) {
	tests := []struct {
		answer string
		next   bool
		report string
	}{
		{"server-overload-maxchannel-udp-INVITE-answer", true, "refused 406"},
		{"408 Request Timeout", true, "answered 408"},
		{"480 Temporarily Unavailable", true, "refused 480"},
		{"486 Busy Here", true, "refused 486"},
		{"500 Server Internal Error", true, "errored 500"},
		{"server-offline-udp-INVITE-answer", true, "refused 503"},
		{"404 Not Found", false, "answered 404"},
		{"420 Bad Extension", false, "answered 420"},
		{"482 Request Merged", false, "answered 482"},
		{"488 Not Acceptable Here", false, "answered 488"},
		{"302 Moved Temporarily", false, "answered 302"},
		{"603 Decline", false, "answered 603"},
	}
	for _, tt := range tests {
		t.Run(tt.answer, func(t *testing.T) {
			inLab(t, two, func(l *lab) {
				c, a, b := l.udp(freeswitch), l.udp(serverA), l.udp(serverB)
				inv := c.invite("fs-recog-udp-01-INVITE")
				in := a.recv("INVITE")
				sent := a.answer(in, tt.answer)
				ack := a.recv("ACK")
				if ack.get("Via") != in.get("Via") || ack.get("To") != sent.get("To") {
					t.Errorf("RFC 3261 17.1.1.3: ACK\n%s", ack)
				}
				if got := l.bal.reports[0]; got != serverA+" "+tt.report {
					t.Errorf("reported %q", got)
				}
				if !tt.next {
					b.none()
					l.noSessions()
					c.send(inv.clone().rename("ACK").set("To", c.recv(sent.start[8:11]).get("To")))
					return
				}
				d := l.accept(c, b, "fs-recog-udp-03-200-INVITE")
				if d.invite.get("Via") == in.get("Via") {
					t.Error("RFC 3261 16.6 step 8: the same branch at two servers")
				}
				if d.invite.uri() != "sip:"+serverB || d.invite.get("Max-Forwards") != "69" || len(d.invite.all("Via")) != 2 {
					t.Errorf("second attempt\n%s", d.invite)
				}
				a.answer(in, tt.answer)
				a.recv("ACK")
				done := l.obs.invites[0]
				if len(done.Attempts) != 2 || done.Backend.Addr().String() != serverB || done.Code != 200 || len(l.obs.failedOver) != 1 {
					t.Errorf("observed %+v, %v", done, l.obs.failedOver)
				}
				d.bye()
			})
		})
	}
}

// TestBestAnswer: when all have failed the best answer goes back (RFC 3261 16.7 step 6), never a 503 or a 408.
func TestBestAnswer(t *testing.T) {
	tests := []struct{ a, b, want, reason string }{
		{"503 Service Unavailable", "503 Service Unavailable", "480", "sip:127.0.0.11:8060 503, sip:127.0.0.12:8060 503"},
		{"408 Request Timeout", "503 Service Unavailable", "480", "408"},
		{"500 Server Internal Error", "486 Busy Here", "486", ""},
		{"486 Busy Here", "500 Server Internal Error", "486", ""},
		{"503 Service Unavailable", "500 Server Internal Error", "500", ""},
		{"486 Busy Here", "404 Not Found", "404", ""},
		{"486 Busy Here", "603 Decline", "603", ""},
	}
	for _, tt := range tests {
		t.Run(tt.a[:3]+" "+tt.b[:3], func(t *testing.T) {
			inLab(t, two, func(l *lab) {
				c, a, b := l.udp(freeswitch), l.udp(serverA), l.udp(serverB)
				inv := c.invite("fs-recog-udp-01-INVITE")
				refused := a.response(a.recv("INVITE"), tt.a)
				a.send(refused.set("Retry-After", "17;duration=3"))
				a.recv("ACK")
				b.answer(b.recv("INVITE"), tt.b)
				b.recv("ACK")
				final := c.recv(tt.want)
				if !strings.Contains(final.get("Reason"), tt.reason) {
					t.Errorf("Reason %q", final.get("Reason"))
				}
				if len(final.all("Via")) != 1 || final.get("Via") != "SIP/2.0/UDP 127.0.0.131:5090;branch=z9hG4bKSH5g9va5Q6gKS;rport=5090;received=127.0.0.131" {
					t.Errorf("Via %v", final.all("Via"))
				}
				if tt.want == "480" && strings.HasPrefix(tt.a, "503") && final.get("Retry-After") != "17" {
					t.Errorf("Retry-After %q", final.get("Retry-After")) // the servers' own, where it is longer
				}
				l.noSessions()
				c.send(inv.clone().rename("ACK").set("To", final.get("To")))
			})
		})
	}
}

// TestRetryAfter: what one server asks for does not keep a client from the proxy for a day (RFC 3261 21.5.4).
func TestRetryAfter(t *testing.T) {
	for asked, told := range map[string]string{"3": "5", "29": "29", "86400": "30", "99999999999": "30", "soon": "5"} {
		inLab(t, setup{}, func(l *lab) {
			c, a := l.udp(freeswitch), l.udp(serverA)
			inv := c.invite("fs-recog-udp-01-INVITE")
			a.send(a.response(a.recv("INVITE"), "503 Service Unavailable").set("Retry-After", asked))
			a.recv("ACK")
			final := c.recv("480")
			if got := final.get("Retry-After"); got != told {
				t.Errorf("asked for %s, told %s, want %s", asked, got, told)
			}
			c.ackFinal(inv, final)
		})
	}
}

// TestFull: no server has room.
func TestFull(t *testing.T) {
	for _, code := range []int{480, 503} {
		inLab(t, setup{capacity: 1, routing: func(r *Routing) { r.Failover.Reject = code }}, func(l *lab) {
			c, srv := l.udp(freeswitch), l.udp(serverA)
			d := l.call(c, srv)
			c.send(c.request("fs-recog-udp-01-INVITE").set("Call-ID", "second").branch("second"))
			final := c.recv(strconv.Itoa(code))
			reason := fmt.Sprintf(`SIP;cause=%d;text="cluster 'asr': 1 full"`, code)
			if final.get("Retry-After") != "5" || final.get("Reason") != reason || len(final.all("Content-Length")) != 1 {
				t.Errorf("\n%s", final)
			}
			c.send(c.request("fs-recog-udp-01-INVITE").set("Call-ID", "second").branch("second").rename("ACK"))
			srv.none()
			if n := len(l.obs.invites); n != 2 || l.obs.invites[1].Code != code {
				t.Errorf("%d told, the last with %+v", n, l.obs.invites[n-1])
			}
			d.bye()
		})
	}
}

// TestSilentServer: the second server's turn comes at 500 ms.
func TestSilentServer(t *testing.T) {
	inLab(t, two, func(l *lab) {
		c, a, b := l.udp(freeswitch), l.udp(serverA), l.udp(serverB)
		c.invite("fs-recog-udp-01-INVITE")
		l.until(490 * time.Millisecond)
		b.none()
		l.until(500 * time.Millisecond)
		for a.next() != nil {
		}
		c.recv("100")
		d := l.accept(c, b, "fs-recog-udp-03-200-INVITE")
		if l.bal.reports[0] != serverA+" failed no_response" || l.obs.failedOver[0] != "no_response" {
			t.Errorf("%v, %v", l.bal.reports, l.obs.failedOver)
		}
		l.wait(20 * time.Second)
		a.none() // no retransmission, and no CANCEL (RFC 3261 9.1)
		d.bye()
	})
}

// TestAllBelievedDown: where the probes are wrong about one server of three, the call finds it. Where they are right, its answer
// comes when all have been tried: who is believed dead is not waited for till the deadline.
func TestAllBelievedDown(t *testing.T) {
	for _, alive := range []bool{true, false} {
		inLab(t, setup{servers: []string{"sip:" + serverA, "sip:" + serverB, "sip:" + serverC}, down: true}, func(l *lab) {
			c, third := l.udp(freeswitch), l.udp(serverC)
			inv := c.invite("fs-recog-udp-01-INVITE")
			for i, dead := range []*peer{l.udp(serverA), l.udp(serverB)} {
				dead.recvAt(time.Duration(i)*500*time.Millisecond, "INVITE")
				l.wait(490 * time.Millisecond)
				for dead.next() != nil { // retransmissions
				}
			}
			c.recv("100")
			l.until(time.Second)
			if alive {
				l.accept(c, third, "fs-recog-udp-03-200-INVITE").bye()
				return
			}
			l.until(1490 * time.Millisecond)
			for third.next() != nil {
			}
			c.ackFinal(inv, c.recvAt(1500*time.Millisecond, "480"))
		})
	}
}

// TestSlowServer: 100 and then nothing. The second's turn comes a second after the first's INVITE, which is CANCELled.
func TestSlowServer(t *testing.T) {
	inLab(t, two, func(l *lab) {
		c, a, b := l.udp(freeswitch), l.udp(serverA), l.udp(serverB)
		c.invite("fs-recog-udp-01-INVITE")
		in := a.recv("INVITE")
		l.until(50 * time.Millisecond)
		a.answer(in, "100 Trying")
		cancel := a.recvAt(time.Second, "CANCEL")
		c.recv("100")
		a.answer(cancel, "200 OK")
		d := l.accept(c, b, "fs-recog-udp-03-200-INVITE")
		a.answer(in, "487 Request Terminated")
		a.recv("ACK")
		if l.bal.reports[0] != serverA+" failed no_answer" {
			t.Errorf("%v", l.bal.reports)
		}
		d.bye()
	})
}

// TestUnreachable: an ICMP error with the datagram's head names the branch, and the next server's turn is at once. Heads
// too short to say, and errors for others, do nothing.
func TestUnreachable(t *testing.T) {
	inLab(t, two, func(l *lab) {
		c, a, b := l.udp(freeswitch), l.udp(serverA), l.udp(serverB)
		c.invite("fs-recog-udp-01-INVITE")
		head := []byte(a.recv("INVITE").String())
		for _, h := range [][]byte{nil, head[:60], []byte("garbage"), []byte(strings.Replace(string(head), "z9hG4bKmq", "z9hG4bKmqzz", 1))} {
			l.p.Unreachable(h, a.addr, syscall.ECONNREFUSED)
		}
		l.p.Unreachable(head, b.addr, syscall.ECONNREFUSED)
		b.none()
		l.p.Unreachable(head[:120], a.addr, syscall.ECONNREFUSED)
		l.p.Unreachable(head, a.addr, syscall.ECONNREFUSED) // an earlier retransmission's
		d := l.accept(c, b, "fs-recog-udp-03-200-INVITE")
		if l.bal.reports[0] != serverA+" failed unreachable" || len(l.obs.failedOver) != 1 {
			t.Errorf("%v, %v", l.bal.reports, l.obs.failedOver)
		}
		d.bye()
	})
}

// TestConnectionFails: TCP refused, timed out or reset before an answer.
func TestConnectionFails(t *testing.T) {
	s := setup{servers: []string{"sip:" + serverA + ";transport=tcp", "sip:" + serverB + ";transport=tcp"}}
	inLab(t, s, func(l *lab) {
		c, a, b := l.dials(ephTCP, viaTCP), l.tcp(serverA), l.tcp(serverB)
		c.invite("fs-recog-tcp-01-INVITE")
		a.recv("INVITE")
		l.close(serverA)
		d := l.accept(c, b, "fs-recog-tcp-03-200-INVITE")
		if l.bal.reports[0] != serverA+" failed connection" {
			t.Errorf("%v", l.bal.reports)
		}
		l.close(serverB) // an idle connection's end is nothing to a dialog
		l.wantSessions(1)
		d.bye()
	})
	inLab(t, s, func(l *lab) { // a provisional response before: still no answer can come
		c, a, b := l.dials(ephTCP, viaTCP), l.tcp(serverA), l.tcp(serverB)
		c.invite("fs-recog-tcp-01-INVITE")
		a.answer(a.recv("INVITE"), "180 Ringing")
		c.recv("180")
		l.close(serverA)
		l.accept(c, b, "fs-recog-tcp-03-200-INVITE").bye()
	})
	for _, servers := range [][]string{s.servers, two.servers} {
		inLab(t, setup{servers: servers}, func(l *lab) { // Send itself fails
			c, b := l.dials(ephTCP, viaTCP), l.udp(serverB)
			if strings.Contains(servers[0], "tcp") {
				b = l.tcp(serverB)
			}
			l.net.fail[netip.MustParseAddrPort(serverA)] = errors.New("no route")
			c.invite("fs-recog-tcp-01-INVITE")
			d := l.accept(c, b, "fs-recog-tcp-03-200-INVITE")
			if l.bal.reports[0] != serverA+" failed send_failed" || len(l.obs.failedOver) != 1 {
				t.Errorf("%v, %v", l.bal.reports, l.obs.failedOver)
			}
			d.bye()
		})
	}
	inLab(t, s, func(l *lab) { // nobody left
		c := l.dials(ephTCP, viaTCP)
		l.net.fail[netip.MustParseAddrPort(serverA)] = errors.New("no route")
		l.net.fail[netip.MustParseAddrPort(serverB)] = errors.New("no route")
		inv := c.invite("fs-recog-tcp-01-INVITE")
		c.send(inv.clone().rename("ACK").set("To", c.recv("480").get("To")))
	})
}

// TestSameAddress: a server configured for both transports is one server: it would answer 482 to the second INVITE.
func TestSameAddress(t *testing.T) {
	inLab(t, setup{servers: []string{"sip:" + serverA, "sip:" + serverA + ";transport=tcp"}}, func(l *lab) {
		c, a := l.udp(freeswitch), l.udp(serverA)
		inv := c.invite("fs-recog-udp-01-INVITE")
		a.answer(a.recv("INVITE"), "486 Busy Here")
		a.recv("ACK")
		l.tcp(serverA).none()
		c.send(inv.clone().rename("ACK").set("To", c.recv("486").get("To")))
	})
}
