package proxy

import (
	"bytes"
	"errors"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"mrcproxy/proxy/message"
	"mrcproxy/proxy/transaction"
	"mrcproxy/proxy/transport"
)

// request is RFC 3261 16.3 (validation) and 16.4 (route information); then one of relay, invite, or an answer of ours.
func (p *Proxy) request(w *worker, from transport.Flow) {
	m := &w.m
	if e := p.elder.Load(); e != nil && e.asks(m) {
		e.Receive(m.Raw, from)
		return
	}
	route, err := p.routeSet(w)
	if err != nil {
		p.malformed(w, from, err)
		return
	}
	if m.Method == message.Ack && p.ackOfFailure(m) {
		return
	}
	if m.Hops == 0 && m.Method != message.Options { // 16.3 step 3
		p.refuse(w, from, 483, "", DropHops)
		return
	}
	if p.looped(m, from.Remote.Addr()) {
		p.refuse(w, from, 482, "", DropLoop)
		return
	}
	if m.Method == message.Cancel {
		p.cancel(w, from)
		return
	}
	switch {
	case route.ours && (m.InDialog() || m.Method != message.Invite): // an INVITE without To tag wants a session more, whatever its Route
		p.inDialog(w, from, &route.cookie, route.pops)
	case m.InDialog() && m.Method == message.Ack:
		p.obs.Dropped(DropNoDialog)
	case m.InDialog():
		p.refuse(w, from, 481, "", DropNoDialog)
	default:
		p.outOfDialog(w, from, route.values)
	}
}

// outOfDialog takes a request that starts something: an INVITE to place, an OPTIONS to answer, anything else to refuse.
func (p *Proxy) outOfDialog(w *worker, from transport.Flow, routes []message.Span) {
	m := &w.m
	r := p.routing.Load()
	pops := 0
	for pops < len(routes) && p.isUs(m.Bytes(message.AddrSpec(m.Raw, routes[pops]))) {
		pops++ // a client that has us as its outbound proxy
	}
	switch {
	case m.Method == message.Ack:
		p.obs.Dropped(DropNoDialog)
	case m.Method == message.Invite && p.retransmitted(m): // before all that asks whether something may start
	case !contains(r.Allow, from.Remote.Addr()):
		p.refuse(w, from, 403, "", DropForbidden)
	case !p.limits.Load().admit(from.Remote.Addr(), time.Now()):
		p.refuse(w, from, 503, "Retry-After: 1\r\n", DropRate)
	case pops < len(routes): // a next hop that is not ours to serve: we are no open relay
		p.refuse(w, from, 403, warning(p.at(from).sentBy, "Route leads away from here"), DropForbidden)
	case !isSIP(m.Bytes(m.URI)): // 16.3 step 2
		p.refuse(w, from, 416, "", DropMalformed)
	case !m.ProxyRequire.Value.Empty(): // 16.3 step 5
		p.badExtension(w, from, m.Bytes(m.ProxyRequire.Value))
	case m.Method == message.Options:
		p.ping(w, from)
	case m.Method != message.Invite:
		p.refuse(w, from, 403, warning(p.at(from).sentBy, "not a dialog of this proxy"), DropForbidden)
	default:
		p.invite(w, from, r, pops)
	}
}

// retransmitted answers an INVITE that has its transaction already as that was answered (RFC 3261 17.2.1).
func (p *Proxy) retransmitted(m *message.Message) bool {
	key := p.serverKey(m, message.Invite)
	s := p.txs.Shard(key)
	s.Lock()
	defer s.Unlock()
	pr := s.Find(key)
	if pr != nil {
		p.absorb(pr)
	}
	return pr != nil
}

// isSIP: a sips: URI asks for TLS on every hop, which we do not promise; sip: over TLS is served.
func isSIP(uri []byte) bool {
	u, ok := message.ParseURI(uri)
	return ok && !u.Secure
}

// badExtension is RFC 3261 16.3 step 5: there is no extension that a proxy must know to serve MRCPv2.
func (p *Proxy) badExtension(w *worker, from transport.Flow, tags []byte) {
	p.refuse(w, from, 420, "Unsupported: "+string(tags)+"\r\n", DropExtension)
}

// warning is a Warning header line (RFC 3261 20.43).
func warning(agent, text string) string { return "Warning: 399 " + agent + " \"" + text + "\"\r\n" }

// isUs reports whether a URI names one of our listeners.
func (p *Proxy) isUs(uri []byte) bool {
	u, ok := message.ParseURI(uri)
	if !ok {
		return false
	}
	a, ok := message.ParseHost(u.Host)
	if !ok {
		return false
	}
	port := uint16(u.Port)
	if port == 0 { // RFC 3261 19.1.2
		port = 5060
		if u.Secure || bytes.EqualFold(u.Transport, []byte("tls")) {
			port = 5061
		}
	}
	for i := range p.listeners {
		if p.listeners[i].addr == netip.AddrPortFrom(a, port) {
			return true
		}
	}
	return false
}

func (p *Proxy) at(f transport.Flow) *local {
	return &p.listeners[min(int(f.Local), len(p.listeners)-1)]
}

// allow are the methods that we serve or relay (RFC 3261 20.5).
const allow = "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO, PRACK\r\n"

// ping answers OPTIONS: 200 while a session could be taken, by the cluster that the Request-URI's user names or by any; 503
// when not, or while we drain.
func (p *Proxy) ping(w *worker, from transport.Flow) {
	m := &w.m
	if tags := m.Field("require"); len(tags) > 0 { // 8.2.2.3: here we are the UAS
		p.badExtension(w, from, tags)
		return
	}
	cluster := ""
	if u, ok := message.ParseURI(m.Bytes(m.URI)); ok {
		cluster = string(u.User)
	}
	if p.stopping.Load() || !p.bal.Available(cluster, time.Now()) {
		p.reply(w, from, 503, "Retry-After: 5\r\n")
		return
	}
	p.reply(w, from, 200, allow+"Accept: application/sdp\r\n")
}

// reply sends a response of ours without a transaction (RFC 3261 8.2.7).
func (p *Proxy) reply(w *worker, from transport.Flow, code int, header string) {
	m := &w.m
	r := message.Reply{Status: code, ToTag: p.tagOf(m), Header: header, Source: from.Remote.Addr(), Port: from.Remote.Port()}
	w.out = m.AppendReply(w.out[:0], &r)
	p.send(atPort(from, replyPort(m, from)), w.out)
}

// refuse is reply for what we do not take; nothing ever answers an ACK.
func (p *Proxy) refuse(w *worker, from transport.Flow, code int, header string, why DropReason) {
	p.obs.Dropped(why)
	if w.m.Method != message.Ack {
		p.reply(w, from, code, header)
	}
}

// malformed answers a request that cannot be proxied, where there is enough of it for its client to know the answer by
// (16.3 step 1): Via and CSeq (17.1.3).
func (p *Proxy) malformed(w *worker, from transport.Flow, err error) {
	m := &w.m
	p.obs.Dropped(DropMalformed)
	p.log.Debug("malformed message", zap.Error(err), zap.Stringer("from", from.Remote))
	if !m.Request || m.Method == message.Ack || m.Via.Value.Empty() || m.CSeq.Value.Empty() {
		return
	}
	switch {
	case errors.Is(err, message.ErrBareCR), errors.Is(err, message.ErrNUL): // an answer would repeat it
	case errors.Is(err, message.ErrVersion):
		p.reply(w, from, 505, "")
	case errors.Is(err, message.ErrMethod): // RFC 4475 3.1.2.18
		p.reply(w, from, 501, warning(p.at(from).sentBy, err.Error()))
	default:
		p.reply(w, from, 400, warning(p.at(from).sentBy, err.Error()))
	}
}

// replyPort is the port at the source's address that the responses to a request go to. Over a stream it is the Via's, for when
// the connection that it came on is gone; over UDP the source's when rport asks for it (RFC 3261 18.2.2, RFC 3581 4).
func replyPort(m *message.Message, from transport.Flow) uint16 {
	if !from.Proto.Reliable() && !m.Via.RPort.Empty() {
		return from.Remote.Port()
	}
	return viaPort(m, from.Proto)
}

func viaPort(m *message.Message, proto transport.Proto) uint16 {
	switch {
	case m.Via.Port != 0:
		return uint16(m.Via.Port)
	case proto == transport.TLS:
		return 5061
	}
	return 5060
}

// send sends and counts what cannot be sent; a lost message is the retransmission's to mend.
func (p *Proxy) send(f transport.Flow, b []byte) {
	if _, err := p.net.Send(f, b); err != nil {
		p.obs.Dropped(DropSend)
	}
}

// ackOfFailure takes the ACK to a non-2xx response of a transaction of ours (RFC 3261 17.2.1); it goes no further.
func (p *Proxy) ackOfFailure(m *message.Message) bool {
	key := p.serverKey(m, message.Invite)
	s := p.txs.Shard(key)
	s.Lock()
	defer s.Unlock()
	pr := s.Find(key)
	if pr == nil || pr.Server.State != transaction.Completed && pr.Server.State != transaction.Confirmed {
		return false
	}
	pr.Server.Ack(p.now())
	p.arm(s, pr)
	return true
}

// cancel is RFC 3261 9.2 and 16.10: it is answered at once, and the INVITE's branch is cancelled; the INVITE's own answer,
// a 2xx too if it crosses, still goes to the client.
func (p *Proxy) cancel(w *worker, from transport.Flow) {
	m := &w.m
	key := p.serverKey(m, message.Invite)
	s := p.txs.Shard(key)
	s.Lock()
	defer s.Unlock()
	pr := s.Find(key)
	if pr == nil {
		p.refuse(w, from, 481, "", DropNoDialog)
		return
	}
	p.reply(w, from, 200, "")
	if pr.Server.Final() {
		return
	}
	d := &pr.Data
	d.unwanted = d.kind == relayed
	if c := d.call; c != nil {
		c.cancelled = true
		c.drop()
		if c.lease == nil { // it has reached no server
			p.giveUp(s, w, pr)
			p.arm(s, pr)
			return
		}
	}
	now := p.now()
	if d.cur.Cancel(now).Has(transaction.SendCancel) {
		p.sendCancel(w, pr, &d.cur)
	}
	// The client is told 487 soon, by us if need be: what the server may still say is dealt with.
	d.cur.TimeoutAt = min(d.cur.TimeoutAt, now+p.routing.Load().Failover.FirstResponse.Milliseconds())
	p.arm(s, pr)
}

// absorb handles the retransmission of a request: the last response again, or nothing.
func (p *Proxy) absorb(pr *pair) {
	if pr.Server.Request().Has(transaction.Resend) && len(pr.Data.reply) > 0 {
		p.send(pr.Data.replyTo(), pr.Data.reply)
	}
}
