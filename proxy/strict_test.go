package proxy

import (
	"slices"
	"testing"
)

// strict is a request as a strict router of RFC 2543 sends it on: the topmost Route in the Request-URI, the Request-URI
// at the end of the Route set.
func strict(m *msg) *msg {
	routes := m.all("Route")
	target := "<" + m.uri() + ">"
	return m.to(uriOf(routes[0])).set("Route", append(routes[1:], target)...)
}

// wantRoute checks the Request-URI and the Route set of a request that the proxy sent.
func (l *lab) wantRoute(m *msg, uri string, routes ...string) {
	l.Helper()
	if m.uri() != uri || !slices.Equal(m.all("Route"), routes) {
		l.Errorf("to %s by %q, want %s by %q:\n%s", m.uri(), m.all("Route"), uri, routes, m)
	}
}

// TestStrictUpstream is RFC 3261 16.4: the one before us is a strict router. What goes on is as if it were a loose one.
func TestStrictUpstream(t *testing.T) {
	for _, s := range []setup{
		{},
		{servers: []string{"sip:" + serverA + ";transport=tcp"}}, // two Record-Routes (RFC 5658)
	} {
		inLab(t, s, func(l *lab) {
			c, srv := l.udp(freeswitch), l.udp(serverA)
			if s.servers != nil {
				srv = l.tcp(serverA)
			}
			d := l.establish(c, srv, "fs-recog-udp-01-INVITE", "fs-recog-udp-03-200-INVITE")
			target := uriOf(d.ok.get("Contact"))
			c.send(strict(d.fromClient("UPDATE")))
			up := srv.recv("UPDATE")
			l.wantRoute(up, target)
			srv.answer(up, "200 OK")
			c.recv("200 UPDATE")
			c.send(strict(d.fromClient("ACK")))
			l.wantRoute(srv.recv("ACK"), target)

			re := strict(d.fromClient("INVITE"))
			c.send(re)
			in := srv.recv("INVITE")
			l.wantRoute(in, target)
			srv.answer(in, "180 Ringing")
			c.recv("180")
			c.send(re.clone().rename("CANCEL"))
			c.recv("200 CANCEL")
			cancel := srv.recv("CANCEL")
			l.wantRoute(cancel, target)
			srv.answer(cancel, "200 OK")
			srv.answer(in, "487 Request Terminated")
			l.wantRoute(srv.recv("ACK"), target)
			c.send(re.clone().rename("ACK").set("To", c.recv("487").get("To"))) // goes no further

			srv.send(strict(d.fromServer("INFO")))
			info := c.recv("INFO")
			l.wantRoute(info, uriOf(d.invite.get("From"))) // it had no Contact
			c.answer(info, "200 OK")
			srv.recv("200 INFO")
			c.send(strict(d.fromClient("BYE")))
			srv.answer(srv.recv("BYE"), "200 OK")
			c.recv("200 BYE")
			l.noSessions()
		})
	}
}

// TestStrictDownstream is RFC 3261 16.6 step 6: the next one in the Route set is a strict router, here on the client's side.
func TestStrictDownstream(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		c.send(c.request("fs-recog-udp-01-INVITE").set("Record-Route", "<sip:strict.example;maddr=10.1.1.1>", "<sip:loose.example;lr>"))
		d := &dialog{l: l, client: c, server: srv, invite: srv.recv("INVITE")}
		srv.answer(d.invite, "fs-recog-udp-03-200-INVITE")
		d.ok = c.recv("200")
		ours := d.ok.get("Record-Route") // the others take their own off
		c.send(d.fromClient("ACK").set("Route", ours))
		srv.recv("ACK")
		target := uriOf(d.invite.get("From"))
		want := func(m *msg) *msg {
			l.Helper()
			l.wantRoute(m, "sip:strict.example;maddr=10.1.1.1", "<sip:loose.example;lr>", "<"+target+">")
			return m
		}
		srv.send(d.fromServer("INFO"))
		c.answer(want(c.recv("INFO")), "200 OK")
		srv.recv("200 INFO")

		re := d.fromServer("INVITE")
		re.set("Via", "SIP/2.0/UDP "+serverA) // its transactions, too, are RFC 2543's: known by the Request-URI
		srv.send(re)
		in := want(c.recv("INVITE"))
		srv.send(re) // a retransmission goes no further
		c.answer(in, "180 Ringing")
		srv.recv("180")
		srv.send(re.clone().rename("CANCEL"))
		srv.recv("200 CANCEL")
		c.answer(want(c.recv("CANCEL")), "200 OK")
		c.answer(in, "487 Request Terminated")
		want(c.recv("ACK"))
		srv.send(re.clone().rename("ACK").set("To", srv.recv("487").get("To")))

		both := strict(d.fromServer("MESSAGE")) // and one before us, by the same Route set
		srv.send(both)
		c.answer(want(c.recv("MESSAGE")), "200 OK")
		srv.recv("200 MESSAGE")
		c.send(d.fromClient("BYE").set("Route", ours))
		srv.answer(srv.recv("BYE"), "200 OK")
		c.recv("200 BYE")
	})
}

// TestStrictRefused: a Request-URI with our cookie opens nothing that a Route with it does not.
func TestStrictRefused(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		d := l.call(c, srv)
		c.send(strict(d.fromClient("BYE")).set("Call-ID", "another"))
		c.recv("481 BYE")
		c.send(strict(d.fromClient("BYE")).without("Route")) // nobody left to go to
		c.recv("481 BYE")
		c.send(strict(d.fromClient("BYE")).set("Route", `"open, <sip:x>`))
		c.recv("400 BYE")
		c.send(strict(d.fromClient("BYE")).set("Route", "<tel:>, x")) // no Request-URI
		c.recv("400 BYE")
		c.send(strict(d.fromClient("BYE")).set("From", "<sip:a@b>;tag=x").set("To", "<sip:a@b>;tag=y"))
		c.recv("481 BYE")
		c.send(d.fromClient("OPTIONS").without("To").set("To", "<sip:a@b>").set("Max-Forwards", "0"))
		c.recv("200 OPTIONS")
		srv.none()
		d.bye()
	})
}
