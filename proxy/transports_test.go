package proxy

import (
	"regexp"
	"strings"
	"testing"

	"mrcproxy/proxy/transport"
)

var cookieText = regexp.MustCompile(`<sip:([A-Za-z0-9_.-]+)@`)

// TestRecordRoute: one Record-Route where both sides look alike, else two (RFC 5658), the server's topmost; FreeSWITCH
// never sends ACK and BYE when the one it sees first has another transport than its own.
func TestRecordRoute(t *testing.T) {
	const v4, v6, udp, tcp = "127.0.0.110:5060", "[2001:db8::110]:5060", ";lr>", ";transport=tcp;lr>"
	all := []string{"udp " + v4, "tcp " + v4, "udp " + v6, "tcp " + v6}
	tests := []struct {
		name, client, server string
		listen               []string
		want                 []string // topmost first, as the server gets them; the client's is the last
	}{
		{"udp to udp", "udp 127.0.0.131:5090", "sip:" + serverA, nil, []string{v4 + udp}},
		{"tcp to tcp", "tcp 127.0.0.131:60965", "sip:" + serverA + ";transport=tcp", nil, []string{v4 + tcp}},
		{"tcp to udp", "tcp 127.0.0.131:60965", "sip:" + serverA, nil, []string{v4 + udp, v4 + tcp}},
		{"udp to tcp", "udp 127.0.0.131:5090", "sip:" + serverA + ";transport=tcp", nil, []string{v4 + tcp, v4 + udp}},
		{"v6 to v6", "udp [2001:db8::5]:5090", "sip:[2001:db8::11]:8060", all, []string{v6 + udp}},
		{"v6 to v4", "tcp [2001:db8::5]:40000", "sip:" + serverA, all, []string{v4 + udp, v6 + tcp}},
		{"v4 to v6", "udp 127.0.0.131:5090", "sip:[2001:db8::11]:8060;transport=tcp", all, []string{v6 + tcp, v4 + udp}},
		{"two networks", "udp 10.0.0.1:5090", "sip:" + serverA, []string{"udp 127.0.0.110:5060", "udp 10.0.0.110:5062"}, []string{"10.0.0.110:5062" + udp}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inLab(t, setup{servers: []string{tt.server}, listen: tt.listen}, func(l *lab) {
				proto, addr, _ := strings.Cut(tt.client, " ")
				c, b := l.udp(addr), backendSpec(tt.server, 0)
				if proto == "tcp" {
					c = l.dials(addr, addr)
				}
				if tt.name == "two networks" {
					c.local = 1
				}
				srv := l.udp(b.Addr.String())
				if b.Network == "tcp" {
					srv = l.tcp(b.Addr.String())
				}
				d := l.call(c, srv)
				got := d.invite.all("Record-Route")
				if len(got) != len(tt.want) {
					t.Fatalf("Record-Route %v, want %v", got, tt.want)
				}
				for i := range got {
					if !strings.HasSuffix(got[i], "@"+tt.want[i]) || cookieText.FindString(got[i]) != cookieText.FindString(got[0]) {
						t.Errorf("Record-Route %d %q, want %q", i, got[i], tt.want[i])
					}
				}
				host, _, _ := strings.Cut(tt.want[0], ";")
				if want := "SIP/2.0/" + strings.ToUpper(b.Network) + " " + host + ";branch="; !strings.HasPrefix(d.invite.get("Via"), want) {
					t.Errorf("Via %q, want %q", d.invite.get("Via"), want)
				}
				srv.send(d.fromServer("INFO"))
				m := c.recv("INFO")
				if len(m.all("Route")) != 0 {
					t.Errorf("Route %v", m.all("Route"))
				}
				c.answer(m, "200 OK")
				srv.recv("200 INFO")
				d.bye()
			})
		})
	}
}

// TestNoListener: a server whose transport or address family we have no socket for counts as failed, and is not asked.
func TestNoListener(t *testing.T) {
	s := setup{listen: []string{"udp 127.0.0.110:5060"}, servers: []string{"sip:" + serverA + ";transport=tcp", "sip:[2001:db8::11]:8060", "sip:" + serverB}}
	inLab(t, s, func(l *lab) {
		c, b := l.udp(freeswitch), l.udp(serverB)
		l.call(c, b).bye()
		if len(l.bal.reports) != 3 {
			t.Errorf("%v", l.bal.reports)
		}
	})
}

// TestReplyTo: responses go where RFC 3261 18.2.2 and RFC 3581 4 say.
func TestReplyTo(t *testing.T) {
	tests := []struct{ name, from, via, to, wantVia string }{
		{"rport", "127.0.0.131:6000", "SIP/2.0/UDP 127.0.0.131:5090;rport;branch=z9hG4bK1", "127.0.0.131:6000", ";rport=6000;received=127.0.0.131"},
		{"no rport", "127.0.0.131:6000", "SIP/2.0/UDP 127.0.0.131:5090;branch=z9hG4bK1", freeswitch, ""},
		{"behind NAT", "192.0.2.9:6000", "SIP/2.0/UDP 10.9.9.9:5090;branch=z9hG4bK1", "192.0.2.9:5090", ";received=192.0.2.9"},
		{"a name", "192.0.2.9:6000", "SIP/2.0/UDP fs.example;branch=z9hG4bK1", "192.0.2.9:5060", ";received=192.0.2.9"},
		{"a lie", "192.0.2.9:6000", "SIP/2.0/UDP 192.0.2.9:5090;received=1.2.3.4;branch=z9hG4bK1", "192.0.2.9:5090", ";received=192.0.2.9"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inLab(t, setup{}, func(l *lab) {
				c, srv := l.udp(tt.from), l.udp(serverA)
				inv := c.request("fs-recog-udp-01-INVITE").set("Via", tt.via)
				c.send(inv)
				in := srv.recv("INVITE")
				via := in.all("Via")[1]
				if !strings.HasSuffix(via, tt.wantVia) || strings.Contains(via, "1.2.3.4") {
					t.Errorf("Via %q", via)
				}
				srv.answer(in, "fs-recog-udp-03-200-INVITE")
				back := l.udp(tt.to)
				d := &dialog{l: l, client: back, server: srv, invite: in, ok: back.recv("200")}
				srv.send(d.fromServer("BYE")) // without Contact the client is where its INVITE's responses go
				back.answer(back.recv("BYE"), "200 OK")
				srv.recv("200 BYE")
			})
		})
	}
}

// TestReplyConnectionGone: the client's connection ends before the answer, which goes to where its Via says it listens
// (RFC 3261 18.2.2).
func TestReplyConnectionGone(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c, srv := l.dials(ephTCP, viaTCP), l.udp(serverA)
		c.invite("fs-recog-tcp-01-INVITE")
		in := srv.recv("INVITE")
		l.close(ephTCP)
		srv.answer(in, "fs-recog-tcp-03-200-INVITE")
		listening := l.tcp(viaTCP)
		d := &dialog{l: l, client: listening, server: srv, invite: in, ok: listening.recv("200")}
		again := l.dials("127.0.0.131:61111", viaTCP) // FreeSWITCH opens a new one
		again.send(d.fromClient("ACK"))
		srv.recv("ACK")
		again.send(d.fromClient("BYE"))
		srv.answer(srv.recv("BYE"), "200 OK")
		again.recv("200 BYE")
	})
}

// TestTarget is the Request-URI at the server: its URI, with the client's user part unless it has one itself.
func TestTarget(t *testing.T) {
	for _, tt := range []struct{ asked, server, want string }{
		{"sip:127.0.0.110:5060", "sip:" + serverA, "sip:" + serverA},
		{"sip:mresources@127.0.0.110:5060", "sip:" + serverA, "sip:mresources@" + serverA},
		{"sip:a@127.0.0.110:5060;transport=tcp", "sip:b@" + serverA, "sip:b@" + serverA},
		{"sip:a:pw@127.0.0.110", "sip:" + serverA, "sip:a@" + serverA},
	} {
		inLab(t, setup{servers: []string{tt.server}}, func(l *lab) {
			c, srv := l.udp(freeswitch), l.udp(serverA)
			c.send(c.request("fs-recog-udp-01-INVITE").to(tt.asked))
			d := l.accept(c, srv, "fs-recog-udp-03-200-INVITE")
			if d.invite.uri() != tt.want {
				t.Errorf("%s at %s: %s, want %s", tt.asked, tt.server, d.invite.uri(), tt.want)
			}
			d.bye()
		})
	}
}

// TestSpiral: a session that passes us twice, because a server of ours is a proxy which sends it back, is no loop: not
// its INVITE, and no request in its dialog, whose Request-URI nobody changes on the way (RFC 3261 16.3 step 4).
func TestSpiral(t *testing.T) {
	inLab(t, setup{servers: []string{"sip:" + serverB, "sip:" + serverA}}, func(l *lab) {
		c, k, srv := l.udp(freeswitch), l.udp(serverB), l.udp(serverA)
		n := 0
		through := func(m *msg) { // what a proxy does
			n++
			m.set("Via", append([]string{"SIP/2.0/UDP " + serverB + ";branch=z9hG4bKspiral" + string(rune('0'+n))}, m.all("Via")...)...)
			k.send(m)
		}
		back := func(m *msg) { k.send(m.set("Via", m.all("Via")[1:]...)) }
		c.invite("fs-recog-udp-01-INVITE")
		through(k.recv("INVITE"))
		in := srv.recv("INVITE")
		srv.answer(in, "fs-recog-udp-03-200-INVITE")
		back(k.recv("200"))
		d := &dialog{l: l, client: c, server: srv, invite: in, ok: c.recv("200")}
		c.send(d.fromClient("ACK"))
		through(k.recv("ACK"))
		srv.recv("ACK")
		c.send(d.fromClient("BYE"))
		through(k.recv("BYE"))
		srv.answer(srv.recv("BYE"), "200 OK")
		back(k.recv("200 BYE"))
		c.recv("200 BYE")
	})
}

// TestMergedRoutes: both halves of a double Record-Route in one field, with a foreign entry behind.
func TestMergedRoutes(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c, srv := l.dials(ephTCP, viaTCP), l.udp(serverA)
		d := l.establish(c, srv, "fs-recog-tcp-01-INVITE", "fs-recog-tcp-03-200-INVITE")
		for _, foreign := range []string{"", ", <sip:foreign.example;lr>"} {
			m := d.fromClient("INFO")
			c.send(m.set("Route", strings.Join(m.all("Route"), ",")+foreign))
			out := srv.recv("INFO")
			if got := out.get("Route"); got != strings.TrimPrefix(foreign, ", ") {
				t.Errorf("Route %q", got)
			}
			srv.answer(out, "200 OK")
			c.recv("200 INFO")
		}
		d.bye()
	})
}

// TestLargeByTCP: a request larger than tcp_above goes to a UDP server by TCP (RFC 3261 18.1.1), and its dialog stays there; a
// smaller one goes by UDP.
func TestLargeByTCP(t *testing.T) {
	for _, tt := range []struct {
		above int
		tcp   bool
	}{{300, true}, {4000, false}} {
		inLab(t, setup{routing: func(r *Routing) { r.Failover.TCPAbove = tt.above }}, func(l *lab) {
			c, srv := l.udp(freeswitch), l.udp(serverA)
			if tt.tcp {
				srv = l.tcp(serverA)
			}
			d := l.call(c, srv)
			if n := len(d.invite.all("Record-Route")); n != map[bool]int{true: 2, false: 1}[tt.tcp] {
				t.Errorf("%d Record-Routes", n)
			}
			d.bye()
		})
	}
}

// TestTLSRoutes: with TLS on one side or both, the route set that the client sees names its own transport, and requests of
// both directions find their way.
func TestTLSRoutes(t *testing.T) {
	listen := []string{"udp 127.0.0.110:5060", "tls 127.0.0.110:5061"}
	const udp, tls = "127.0.0.110:5060;lr>", "127.0.0.110:5061;transport=tls;lr>"
	for _, tt := range []struct {
		client, server transport.Proto
		want           []string
	}{
		{transport.TLS, transport.TLS, []string{tls}},
		{transport.TLS, transport.UDP, []string{udp, tls}},
		{transport.UDP, transport.TLS, []string{tls, udp}},
	} {
		uri := "sip:" + serverA
		if tt.server == transport.TLS {
			uri += ";transport=tls"
		}
		inLab(t, setup{servers: []string{uri}, listen: listen}, func(l *lab) {
			peer := func(proto transport.Proto, addr string) *peer {
				if proto == transport.UDP {
					return l.udp(addr)
				}
				p := l.tcp(addr)
				p.proto, p.local = transport.TLS, 1
				return p
			}
			c, srv := peer(tt.client, freeswitch), peer(tt.server, serverA)
			d := l.call(c, srv)
			got := d.invite.all("Record-Route")
			if len(got) != len(tt.want) {
				t.Fatalf("Record-Route %v, want %v", got, tt.want)
			}
			for i := range got {
				if !strings.HasSuffix(got[i], "@"+tt.want[i]) {
					t.Errorf("Record-Route %d %q, want %q", i, got[i], tt.want[i])
				}
			}
			srv.send(d.fromServer("INFO"))
			c.answer(c.recv("INFO"), "200 OK")
			srv.recv("200 INFO")
			d.bye()
		})
	}
}
