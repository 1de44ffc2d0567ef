package proxy

import (
	"net/netip"
	"strconv"
	"time"

	"mrcproxy/internal/session"
	"mrcproxy/proxy/message"
	"mrcproxy/proxy/transaction"
	"mrcproxy/proxy/transport"
)

// response is RFC 3261 16.7. A response that belongs to no branch of ours is dropped (RFC 6026 7.3).
func (p *Proxy) response(w *worker, from transport.Flow) {
	m := &w.m
	id, loop, ok := p.parseBranch(m.Bytes(m.Via.Branch))
	if !ok {
		if e := p.elder.Load(); e != nil && e.sent(m.Bytes(m.Via.Branch)) {
			e.Receive(m.Raw, from)
			return
		}
		p.obs.Dropped(DropStray)
		return
	}
	s := p.txs.ShardOf(id.id)
	s.Lock()
	defer s.Unlock()
	pr := s.Get(id.id)
	if pr == nil || pr.Data.loop != loop { // 17.1.3: the whole branch must be as we wrote it, and part of it nobody can guess
		p.obs.Dropped(DropStray)
		return
	}
	d := &pr.Data
	b := d.branch(id.attempt)
	method := m.Bytes(m.CSeqMethod)
	ofCancel := d.method == message.Invite && string(method) == "CANCEL"
	// 16.7 step 3: nobody stands behind us. That is as it should be for our own, and for a CANCEL, which is hop by hop (9.1).
	mine := ofCancel || d.kind == own
	if b == nil || !p.at(b.flow).wrote(m) || !mine && m.ViaFields < 2 && m.Via.Next == 0 {
		p.obs.Dropped(DropStray)
		return
	}
	switch {
	case ofCancel:
		if m.Status >= 200 {
			b.CancelResponse()
		}
	case string(method) != p.methodOf(w, pr): // 17.1.3
		p.obs.Dropped(DropStray)
		return
	default:
		p.branchResponse(s, w, pr, b)
	}
	p.arm(s, pr)
}

// wrote reports whether the sent-by of a response's topmost Via is one that we write (RFC 3261 18.1.2).
func (l *local) wrote(m *message.Message) bool {
	a, ok := message.ParseHost(m.Bytes(m.Via.Host))
	return ok && l.addr == netip.AddrPortFrom(a, viaPort(m, l.proto))
}

// methodOf is the method of a pair's request; "" when it is one that we do not know and the request is not kept any more,
// since no response is waited for.
func (p *Proxy) methodOf(w *worker, pr *pair) string {
	if pr.Data.method != message.Other {
		return pr.Data.method.String()
	}
	if m := p.kept(w, pr); m != nil {
		return string(m.Bytes(m.MethodText))
	}
	return ""
}

// branch is the branch of that number, or nil.
func (d *tx) branch(attempt uint8) *branch {
	if d.cur.attempt == attempt {
		return &d.cur
	}
	for i := range d.old {
		if d.old[i].attempt == attempt {
			return &d.old[i]
		}
	}
	return nil
}

// counts reports whether the client's INVITE waits for what comes on that branch: not on an abandoned one, and not on one that has
// failed while the next server is asked for, or waited for.
func (d *tx) counts(b *branch) bool { return b == &d.cur && d.call != nil && d.call.lease != nil }

func (p *Proxy) branchResponse(s *shard, w *worker, pr *pair, b *branch) {
	m, d := &w.m, &pr.Data
	now := p.now()
	act := b.Response(m.Status, now)
	if act.Has(transaction.SendAck) {
		p.sendHop(w, pr, b, message.Ack, m.Bytes(m.To.All))
	}
	if act.Has(transaction.SendCancel) {
		p.sendCancel(w, pr, b)
	}
	if !act.Has(transaction.Forward) {
		return
	}
	switch {
	case d.invite != nil:
		p.invited(s, w, pr, b)
	case d.kind == own:
		if m.Status >= 200 && d.done != nil {
			d.done(m.Status, nil)
			d.done = nil
		}
	case d.kind == relayed:
		p.relayResponse(s, w, pr, now)
	case d.counts(b), b == &d.cur && pr.Server.State == transaction.Accepted:
		p.placedResponse(s, w, pr, now)
	case m.Status >= 200 && m.Status < 300:
		p.endLate(s, w, pr, b)
	}
}

// placedResponse is a response to an initial INVITE on its current branch.
func (p *Proxy) placedResponse(s *shard, w *worker, pr *pair, now transaction.Time) {
	m, d := &w.m, &pr.Data
	c := d.call
	switch {
	case m.Status < 200:
		// The server lives. From now on its final answer is waited for, not its first.
		if wait := p.routing.Load().Failover.Answer.Milliseconds(); d.cur.TimeoutAt != c.deadline {
			d.cur.TimeoutAt = min(d.cur.sent+wait, c.deadline)
		}
		if m.Status > 100 { // a 100 is hop by hop (16.7 step 4)
			p.earlyBegins(c, m)
			p.pass(s, w, pr, now)
		}
	case m.Status < 300:
		first := !pr.Server.Final()
		if first { // before its ACK can come
			p.established(w, pr)
		}
		p.pass(s, w, pr, now)
		if first && len(d.old) == 0 {
			s.Drop(&d.msg) // nothing is sent again from here on
		}
	case retryable(m.Status): // after a CANCEL there is no next attempt, and its client gets 487 as it expects
		c.keepBest(w)
		p.failover(s, w, pr, ended{strconv.Itoa(m.Status), m.Status, retryAfter(m)}, true)
	default:
		p.finish(c, ended{strconv.Itoa(m.Status), m.Status, 0}, now-d.cur.sent)
		p.pass(s, w, pr, now)
		p.inviteDone(w, pr, m.Status, "")
	}
}

// retryAfter is how long a refusal wants to be left alone (RFC 3261 20.33); 0 when it does not say.
func retryAfter(m *message.Message) time.Duration { return seconds(m.Field("retry-after")) }

// keepBest remembers a failure response if it is the best so far (16.7 step 6): the lowest class. 503 and 408 say
// something about one server only and are never passed on.
func (c *call) keepBest(w *worker) {
	m := &w.m
	if m.Status == 503 || m.Status == 408 {
		return
	}
	if c.best == nil || m.Status/100 < c.bestCode/100 {
		c.best, c.bestCode = m.AppendResponse(nil), m.Status
	}
}

// pass gives the response to the client.
func (p *Proxy) pass(s *shard, w *worker, pr *pair, now transaction.Time) {
	w.out = w.m.AppendResponse(w.out[:0])
	p.respond(s, pr, w.m.Status, w.out, now)
}

// passAs passes a response on under another code.
func (p *Proxy) passAs(code int, s *shard, w *worker, pr *pair, now transaction.Time) {
	w.ins = w.m.AppendResponse(w.ins[:0])
	w.out = append(strconv.AppendInt(append(w.out[:0], "SIP/2.0 "...), int64(code), 10), ' ')
	w.out = append(append(append(w.out, message.ReasonPhrase(code)...), "\r\n"...), w.ins[w.m.Headers:]...)
	p.respond(s, pr, code, w.out, now)
}

// relayResponse is a response to a request in a dialog.
func (p *Proxy) relayResponse(s *shard, w *worker, pr *pair, now transaction.Time) {
	m, d := &w.m, &pr.Data
	if m.Status == 100 || m.Status < 200 && (pr.Server.Final() || d.method != message.Invite) { // RFC 4320 4.1
		return
	}
	first := !pr.Server.Final()
	if !first && !(pr.Server.State == transaction.Accepted && m.Status < 300) {
		return // answered by us meanwhile
	}
	switch {
	case m.Status == 503:
		// It says that the server is out of service, and would be taken to say that we are (RFC 3261 16.7, 21.5.4). 480
		// ends a dialog's usage, too (RFC 5057 5.1).
		p.passAs(480, s, w, pr, now)
	case m.Status == 408 && d.method != message.Invite:
		// It may not be sent (RFC 4320 4.2). 481 ends the dialog, too (RFC 3261 12.2.1.2).
		p.passAs(481, s, w, pr, now)
	default:
		p.pass(s, w, pr, now)
	}
	if m.Status < 200 {
		return
	}
	if first {
		p.follow(m, d)
	}
	if d.method != message.Invite || m.Status < 300 {
		s.Drop(&d.msg) // nothing is sent again from here on
	}
}

// follow is what the final response to a request in a dialog means for its session. One that is not there is learned when both
// sides have just shown that they have it.
func (p *Proxy) follow(m *message.Message, d *tx) {
	good := m.Status < 300
	switch {
	case d.over:
	case d.method == message.Bye:
		if !p.ended(d, byeReason(d.toServer)) && good && !p.isEarly(d.session) {
			p.sessions.EndUnknown(d.session, d.server, p.learned(m, d.client()))
		}
	case m.Status == 481 || m.Status == 408:
		p.ended(d, session.Gone)
	case good && (d.method == message.Invite || d.method == message.Update):
		if expires := sessionExpires(m); !p.sessions.Refresh(d.session, expires) && !p.isEarly(d.session) {
			p.sessions.Learn(d.session, d.server, p.learned(m, d.client()), expires)
		}
	}
}

// client is the client's address, of a request in a dialog.
func (d *tx) client() netip.AddrPort {
	if d.toServer {
		return d.from.Remote
	}
	return d.cur.flow.Remote
}

func byeReason(fromClient bool) session.Reason {
	if fromClient {
		return session.ByeClient
	}
	return session.ByeServer
}

// endLate ends a session that came to be on an abandoned branch: the client has another, or an answer. It is ACKed and
// BYEd, so that the server's channel is free (RFC 3261 13.2.2.4).
func (p *Proxy) endLate(s *shard, w *worker, pr *pair, b *branch) {
	uri := []byte(b.backend.URI())
	routes := p.acknowledge(w, pr, b, uri)
	if b.ended {
		return
	}
	b.ended = true
	p.obs.Late(b.backend)
	p.hangUp(s, w, b, uri, routes)
}

// acknowledge sends the ACK of a 2xx to a session of which we are the client's end; uri is for a 2xx without Contact. It
// gives the Record-Route values of the proxies between us and the server.
func (p *Proxy) acknowledge(w *worker, pr *pair, b *branch, uri []byte) []message.Span {
	m := &w.m
	routes, _ := m.RecordRoutes(w.routes[:0])
	for i, r := range routes {
		if _, _, ok := p.keys.ownRoute(m.Bytes(message.AddrSpec(m.Raw, r)), m.Bytes(m.CallID.Value)); ok {
			routes = routes[:i] // behind it stand the client's side
			break
		}
	}
	// Each retransmission of the 2xx gets the same ACK.
	w.ins = append(append(append(w.ins[:0], p.at(b.flow).via...), ackBranch...), '.')
	w.ins = p.appendBranch(w.ins, branchID{pr.ID, b.attempt}, pr.Data.loop)
	w.ins = append(w.ins, "\r\n"...)
	w.out = m.AppendInDialog(w.out[:0], message.Ack, uri, w.ins, routes)
	p.send(b.flow, w.out)
	return routes
}

// hangUp sends the BYE of a session that acknowledge was called for, and waits for nothing.
func (p *Proxy) hangUp(s *shard, w *worker, b *branch, uri []byte, routes []message.Span) {
	p.originate(s, w, ownRequest{flow: b.flow, method: message.Bye, timeout: transaction.Lifetime, build: func(dst, via []byte) []byte {
		return w.m.AppendInDialog(dst, message.Bye, uri, via, routes)
	}})
}
