package proxy

import (
	"fmt"
	"slices"
)

// dialog is an established session between two peers, as they see it.
type dialog struct {
	l              *lab
	client, server *peer
	invite         *msg // as the server got it
	ok             *msg // as the client got it
	n              int
}

// establish sets a session up from captured messages, up to the ACK.
func (l *lab) establish(client, server *peer, invite, ok string) *dialog {
	l.Helper()
	client.invite(invite)
	return l.accept(client, server, ok)
}

// accept has the server accept the INVITE that it got, and the client send its ACK.
func (l *lab) accept(client, server *peer, ok string) *dialog {
	l.Helper()
	d := &dialog{l: l, client: client, server: server, invite: server.recv("INVITE")}
	server.answer(d.invite, ok)
	d.ok = client.recv("200")
	client.send(d.fromClient("ACK"))
	server.recv("ACK")
	return d
}

// call is establish with FreeSWITCH's usual messages.
func (l *lab) call(client, server *peer) *dialog {
	l.Helper()
	return l.establish(client, server, "fs-recog-udp-01-INVITE", "fs-recog-udp-03-200-INVITE")
}

// fromClient is a request of the client's in the dialog: of that method, or a captured one fitted into it.
func (d *dialog) fromClient(what string) *msg {
	d.l.Helper()
	routes := d.ok.all("Record-Route")
	slices.Reverse(routes) // RFC 3261 12.1.2
	return d.request(d.client, what, routes, d.ok.get("From"), d.ok.get("To"), uriOf(d.ok.get("Contact")))
}

// fromServer is a request of the server's.
func (d *dialog) fromServer(what string) *msg {
	d.l.Helper()
	target := d.invite.get("Contact")
	if target == "" {
		target = d.invite.get("From") // what UniMRCP does
	}
	return d.request(d.server, what, d.invite.all("Record-Route"), d.ok.get("To"), d.ok.get("From"), uriOf(target))
}

func (d *dialog) request(p *peer, what string, routes []string, from, to, target string) *msg {
	d.l.Helper()
	d.n++
	var m *msg
	if len(what) > 8 {
		m = p.request(what).to(target).set("Call-ID", d.ok.get("Call-ID"))
	} else {
		m = &msg{start: fmt.Sprintf("%s %s SIP/2.0", what, target), head: []string{
			fmt.Sprintf("Via: SIP/2.0/%v %s;branch=z9hG4bKtest%d", p.proto, p.sentBy, d.n), "Max-Forwards: 70", "From: x", "To: x",
			"Call-ID: " + d.ok.get("Call-ID"), fmt.Sprintf("CSeq: %d %s", 123093900+d.n, what), "Content-Length: 0"}}
	}
	m.set("From", from).set("To", to)
	if m.method() == "ACK" {
		m.set("CSeq", d.ok.get("CSeq")[:len(d.ok.get("CSeq"))-len("INVITE")]+"ACK")
	}
	return m.set("Route", routes...)
}

// bye ends the session from the client's side.
func (d *dialog) bye() {
	d.l.Helper()
	d.client.send(d.fromClient("BYE"))
	d.server.answer(d.server.recv("BYE"), "200 OK")
	d.client.recv("200 BYE")
}
