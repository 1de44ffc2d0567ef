package proxy

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mrcproxy/balancer"
)

// TestOptions sends probes of ours: from the calls' own socket, in no dialog (UniMRCP ends a call over one that is in
// one), resent as RFC 3261 17.1.2.2 says.
func TestOptions(t *testing.T) {
	const uri = "sip:" + serverA
	tests := []struct {
		name  string
		uri   string
		meet  func(l *lab, srv *peer)
		code  int
		after time.Duration
	}{
		{"200", uri, func(l *lab, srv *peer) {
			m := srv.recv("OPTIONS")
			if len(m.all("Via")) != 1 || strings.Contains(m.get("To"), "tag=") || m.get("Max-Forwards") != "70" || m.get("Contact") != "<sip:127.0.0.110:5060>" ||
				m.get("CSeq") != "1 OPTIONS" || m.get("Content-Length") != "0" || m.get("To") != "<"+uri+">" || m.get("Call-ID") == "" || !strings.Contains(m.get("From"), ";tag=") || m.uri() != uri {
				t.Errorf("\n%s", m)
			}
			srv.answer(m, "100 Trying")
			srv.answer(m, "200 OK")
			srv.answer(m, "200 OK")
		}, 200, 0},
		{"503", uri, func(l *lab, srv *peer) { srv.answer(srv.recv("OPTIONS"), "server-offline-udp-OPTIONS-answer") }, 503, 0},
		{"lost twice", uri, func(l *lab, srv *peer) {
			srv.recvAt(0, "OPTIONS")
			srv.recvAt(100*time.Millisecond, "OPTIONS")
			srv.answer(srv.recvAt(300*time.Millisecond, "OPTIONS"), "200 OK")
		}, 200, 300 * time.Millisecond},
		{"silence", uri, func(l *lab, srv *peer) {
			l.until(time.Second)
			for srv.next() != nil {
			}
		}, 0, time.Second},
		{"unreachable", uri, func(l *lab, srv *peer) {
			l.p.Unreachable([]byte(srv.recv("OPTIONS").String()), srv.addr, errFlow)
		}, 0, 0},
		{"not sent", uri, func(l *lab, srv *peer) {}, 0, 0},
		{"tcp", uri + ";transport=tcp", func(l *lab, srv *peer) {
			m := srv.recv("OPTIONS")
			if m.get("Contact") != "<sip:127.0.0.110:5060;transport=tcp>" || !strings.HasPrefix(m.get("Via"), "SIP/2.0/TCP 127.0.0.110:5060;") {
				t.Errorf("\n%s", m)
			}
			srv.answer(m, "200 OK")
		}, 200, 0},
		{"tcp refused", uri + ";transport=tcp", func(l *lab, srv *peer) {
			srv.recv("OPTIONS")
			l.close(serverA)
		}, 0, 0},
		{"no socket", "sip:[2001:db8::1]:5060", func(l *lab, srv *peer) {}, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inLab(t, setup{}, func(l *lab) {
				b := backendSpec(tt.uri, 0)
				srv := l.udp(serverA)
				if b.Network == "tcp" {
					srv = l.tcp(serverA)
				}
				if tt.name == "not sent" {
					l.net.fail[b.Addr] = errFlow
				}
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				done := make(chan struct{})
				var code int
				var err error
				var took time.Duration
				go func() {
					defer close(done)
					code, err = l.p.Options(ctx, b.URI, b.Network, b.Addr)
					took = time.Since(l.start)
				}()
				synctest.Wait()
				tt.meet(l, srv)
				<-done
				if code != tt.code || (err == nil) != (tt.code != 0) || took != tt.after {
					t.Errorf("code %d, %v, after %v; want %d after %v", code, err, took, tt.code, tt.after)
				}
			})
		})
	}
}

// TestOptionsURI: nothing is sent to what is no URI, or would be more than one in a message.
func TestOptionsURI(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		for _, uri := range []string{"", "tel:1", "sip:", "sip:" + serverA + "\r\nX: y", "sip:a b@" + serverA, "sip:" + serverA + ">", "sip:" + serverA + "?Subject=x"} {
			if code, err := l.p.Options(context.Background(), uri, "udp", netip.MustParseAddrPort(serverA)); err == nil || code != 0 || !strings.Contains(err.Error(), "no SIP URI") {
				t.Errorf("%q: %d, %v", uri, code, err)
			}
		}
	})
}

// TestPing answers FreeSWITCH's gateways: 200 while a session could be taken, 503 while none could or while we drain.
func TestPing(t *testing.T) {
	inLab(t, setup{capacity: 1}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		ping := func(uri, want string) {
			t.Helper()
			c.send(c.request("server-options-ood-udp-00-OPTIONS").to(uri))
			m := c.recv(want + " OPTIONS")
			if (m.get("Retry-After") != "") != (want == "503") || !strings.Contains(m.get("To"), ";tag=") {
				t.Errorf("\n%s", m)
			}
		}
		ping("sip:127.0.0.110:5060", "200")
		ping("sip:asr@127.0.0.110", "200")
		ping("sip:other@127.0.0.110", "503")
		l.p.stopping.Store(true)
		ping("sip:127.0.0.110", "503")
		l.p.stopping.Store(false)
		d := l.call(c, srv)
		ping("sip:127.0.0.110", "503") // full
		d.bye()
		ping("sip:127.0.0.110", "200")
		l.bal.SetState(l.bal.Backends()[0], balancer.Down, time.Now())
		ping("sip:127.0.0.110", "503")
		c.send(c.request("server-options-ood-udp-00-OPTIONS").set("Max-Forwards", "0")) // RFC 3261 11: we are its end
		c.recv("503 OPTIONS")
	})
}

// TestDropReasons: each has a name of its own.
func TestDropReasons(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range DropReasons() {
		if r.String() == "" || seen[r.String()] {
			t.Errorf("reason %d is %q", r, r)
		}
		seen[r.String()] = true
	}
}

// TestAdvertise: what is written into messages is the address that peers reach us at.
func TestAdvertise(t *testing.T) {
	p := newProxy(Options{Routing: &Routing{}, Listeners: []Listener{{Advertise: netip.MustParseAddr("10.1.0.5")}, {}}})
	p.attach(nil, func(i int) netip.AddrPort {
		return netip.MustParseAddrPort([]string{"0.0.0.0:5060", "127.0.0.1:5070"}[i])
	})
	if p.Addr(0).String() != "10.1.0.5:5060" || p.Addr(1).String() != "127.0.0.1:5070" {
		t.Errorf("%v, %v", p.Addr(0), p.Addr(1))
	}
}

// TestSharedAddress: a call comes in at an address that other instances have, too (anycast, or one that moves). Nothing that has
// to come back to this instance leaves from there, and nobody is told of it: requests leave from the listener whose address
// it advertises, and so do those in the dialog. Only its responses do, which go where the request came from.
func TestSharedAddress(t *testing.T) {
	for _, proto := range []string{"udp", "tcp"} {
		t.Run(proto, func(t *testing.T) {
			listen := []string{proto + " 127.0.0.110:5060", proto + " 127.0.0.200:5060 127.0.0.110"}
			inLab(t, setup{listen: listen, servers: []string{"sip:" + serverA + ";transport=" + proto}}, func(l *lab) {
				c, srv := l.udp("127.0.0.20:5090"), l.udp(serverA)
				if proto == "tcp" {
					c, srv = l.dials("127.0.0.20:40000", "127.0.0.20:5090"), l.tcp(serverA)
				}
				c.local = 1
				d := l.call(c, srv)
				if rr := d.ok.all("Record-Route"); len(rr) != 1 || !strings.Contains(rr[0], "@127.0.0.110:5060") {
					t.Errorf("Record-Route %q", rr)
				}
				if via := d.invite.all("Via")[0]; !strings.Contains(via, " 127.0.0.110:5060;") || d.invite.flow.Local != 0 {
					t.Errorf("to the server from listener %d, %s", d.invite.flow.Local, via)
				}
				if d.ok.flow.Local != 1 {
					t.Errorf("the response leaves from listener %d", d.ok.flow.Local)
				}
				c.local = 0 // where the Record-Route leads
				srv.send(d.fromServer("BYE"))
				bye := c.recv("BYE")
				if bye.flow.Local != 0 {
					t.Errorf("a BYE to the client leaves from listener %d", bye.flow.Local)
				}
				c.answer(bye, "200 OK")
				srv.recv("200 BYE")
			})
		})
	}
}
