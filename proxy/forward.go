package proxy

import (
	"net/netip"

	"mrcproxy/balancer"
	"mrcproxy/proxy/message"
	"mrcproxy/proxy/transaction"
	"mrcproxy/proxy/transport"
)

// appendVia appends our Via line for a branch.
func (p *Proxy) appendVia(dst []byte, pr *pair, b *branch) []byte {
	dst = append(dst, p.at(b.flow).via...)
	dst = p.appendBranch(dst, branchID{pr.ID, b.attempt}, pr.Data.loop)
	return append(dst, "\r\n"...)
}

// appendRequest appends the request m as it goes out on a branch (RFC 3261 16.6).
func (p *Proxy) appendRequest(dst []byte, w *worker, m *message.Message, pr *pair, b *branch) []byte {
	d := &pr.Data
	e := message.Edit{PopRoutes: int(d.pops), Hops: hops(m), Source: d.from.Remote.Addr(), Port: d.from.Remote.Port()}
	w.ins = p.appendVia(w.ins[:0], pr, b) // early, so that an ICMP error's excerpt has it
	if d.kind == initial {
		e.URI = p.target(w, m, b.backend)
		w.ins = p.appendRecordRoute(w.ins, m, d, b)
	}
	e.Insert = w.ins
	return m.AppendRequest(dst, &e)
}

// hops is the Max-Forwards to send on: one less, or 70 where the client gave none (16.6 step 3).
func hops(m *message.Message) int {
	if m.Hops < 0 {
		return 70
	}
	return m.Hops - 1
}

// target is the Request-URI for a server: its URI, with the user part that the client asked for unless it has its own (16.6
// step 2).
func (p *Proxy) target(w *worker, m *message.Message, b *balancer.Backend) []byte {
	uri := b.URI()
	if b.User() == "" {
		if u, ok := message.ParseURI(m.Bytes(m.URI)); ok && len(u.User) > 0 {
			w.uri = append(append(append(append(w.uri[:0], "sip:"...), u.User...), '@'), uri[len("sip:"):]...)
			return w.uri
		}
	}
	w.uri = append(w.uri[:0], uri...)
	return w.uri
}

// appendRecordRoute appends our Record-Route: one line, or one for each side when they differ in transport or address (RFC
// 5658), the server's topmost.
func (p *Proxy) appendRecordRoute(dst []byte, m *message.Message, d *tx, b *branch) []byte {
	var buf [96]byte
	c := cookie{backend: b.backend.ID(), tag: tagHash(m.Bytes(m.FromTag)), server: b.flow, client: d.from, callback: viaPort(m, d.from.Proto)}
	if !d.from.Proto.Reliable() {
		c.client = d.replyTo()
	}
	text := p.keys.append(buf[:0], &c, m.Bytes(m.CallID.Value))
	line := func(l *local) {
		dst = append(dst, "Record-Route: <sip:"...)
		dst = append(dst, text...)
		dst = append(dst, l.rrTail...)
	}
	server, client := p.at(b.flow), &p.listeners[p.at(d.from).home]
	line(server)
	if server != client {
		line(client)
	}
	return dst
}

// towards is the flow to a server: from the listener that the client came in on when it fits, else from the first that
// does.
func (p *Proxy) towards(network string, to netip.AddrPort, preferred uint8) (transport.Flow, bool) {
	f := transport.Flow{Proto: ProtoOf(network), Local: preferred, Remote: to}
	ok := p.fit(&f) // first: it changes f
	return f, ok
}

// ProtoOf is the transport that a configuration calls "udp", "tcp" or "tls".
func ProtoOf(network string) transport.Proto {
	switch network {
	case "tcp":
		return transport.TCP
	case "tls":
		return transport.TLS
	}
	return transport.UDP
}

// fit makes a flow leave from a listener of its transport and address family; false when there is none. One that advertises
// the address of another leaves requests to that: an address that several instances share (anycast) would have the
// answers come back to any of them.
func (p *Proxy) fit(f *transport.Flow) bool {
	fits := func(l *local) bool { return l.proto == f.Proto && l.is4 == f.Remote.Addr().Is4() }
	if int(f.Local) < len(p.listeners) {
		if f.Local = p.listeners[f.Local].home; fits(&p.listeners[f.Local]) {
			return true
		}
	}
	for i := range p.listeners {
		if fits(&p.listeners[i]) {
			f.Local = uint8(i)
			return true
		}
	}
	return false
}

// resend sends a branch's request again, made anew from what came in: the bytes are the same. Over a stream it goes on another
// connection than the one that has failed, and is tried again when there is none.
func (p *Proxy) resend(w *worker, pr *pair, b *branch) {
	d := &pr.Data
	if b.Reliable {
		if !p.again(w, pr) {
			b.SendAgain(byeAgainAt(p.now()))
		}
		return
	}
	if d.kind == own {
		p.send(b.flow, d.msg)
		return
	}
	if m := p.kept(w, pr); m != nil {
		w.out = p.appendRequest(w.out[:0], w, m, pr, b)
		p.send(b.flow, w.out)
	}
}

// kept scans the request that a pair keeps; nil when it keeps none any more.
func (p *Proxy) kept(w *worker, pr *pair) *message.Message {
	if pr.Data.msg == nil {
		return nil
	}
	if w.kept.Scan(pr.Data.msg) != nil {
		return nil
	}
	return &w.kept
}

// sendHop sends the CANCEL of a branch, or the ACK to its non-2xx answer, whose To line is to.
func (p *Proxy) sendHop(w *worker, pr *pair, b *branch, method message.Method, to []byte) {
	m := p.kept(w, pr)
	if m == nil {
		return
	}
	h := message.Hop{Method: method, To: to, URI: m.Bytes(m.URI)}
	if pr.Data.kind == initial {
		h.URI = p.target(w, m, b.backend)
	}
	w.ins = p.appendVia(w.ins[:0], pr, b)
	if m.HasRoute() { // both carry the INVITE's (RFC 3261 9.1, 17.1.1.3), as it went out
		var spans [8]message.Span
		routes, _ := m.Routes(spans[:0])
		for _, r := range routes[min(int(pr.Data.pops), len(routes)):] {
			w.ins = append(append(append(w.ins, "Route: "...), m.Bytes(r)...), "\r\n"...)
		}
	}
	h.Via = w.ins
	w.out = m.AppendHop(w.out[:0], &h)
	p.send(b.flow, w.out)
}

func (p *Proxy) sendCancel(w *worker, pr *pair, b *branch) {
	p.sendHop(w, pr, b, message.Cancel, nil)
}

// respond gives the client a response made of w.out and moves the server transaction.
func (p *Proxy) respond(s *shard, pr *pair, code int, out []byte, now transaction.Time) {
	d := &pr.Data
	pr.Server.Respond(code, now)
	if !(pr.Server.Invite && code >= 200 && code < 300) { // a 2xx is resent by the server itself
		s.Drop(&d.reply)
		d.reply = s.Keep(out)
	}
	p.send(d.replyTo(), out)
}

// answer gives the client a response of ours to a request that a pair keeps.
func (p *Proxy) answer(s *shard, w *worker, pr *pair, code int, header string) {
	m := p.kept(w, pr)
	if m == nil {
		return
	}
	r := message.Reply{Status: code, Header: header, Source: pr.Data.from.Remote.Addr(), Port: pr.Data.from.Remote.Port()}
	if code > 100 {
		r.ToTag = p.tagOf(m)
	}
	w.out = m.AppendReply(w.out[:0], &r)
	p.respond(s, pr, code, w.out, p.now())
}
