package proxy

import (
	"net/netip"
	"time"

	"go.uber.org/zap"

	"mrcproxy/internal/session"
	"mrcproxy/proxy/message"
	"mrcproxy/proxy/transaction"
	"mrcproxy/proxy/transport"
)

// ackBranch begins the branch of an ACK that we send without a transaction; its answer, if one comes, finds nothing.
const ackBranch = magic + "mqa"

// timerEAtT2 is how long timer E takes to come to T2 (RFC 3261 17.1.2.2): a request other than INVITE that has no answer by
// then gets a 100, and none before (RFC 4320 4.1).
const timerEAtT2 = 7 * transaction.T1

// inDialog relays a request whose topmost Route is ours, by the flows that the cookie pins, whatever Contact and Route say
// beyond that.
func (p *Proxy) inDialog(w *worker, from transport.Flow, c *cookie, pops int) {
	m := &w.m
	fromClient := tagHash(m.Bytes(m.FromTag)) == c.tag
	clientTag := m.FromTag
	if !fromClient {
		clientTag = m.ToTag
		if tagHash(m.Bytes(m.ToTag)) != c.tag {
			p.refuse(w, from, 481, "", DropNoDialog) // the cookie is another dialog's
			return
		}
	}
	if !m.ProxyRequire.Value.Empty() && m.Method != message.Ack {
		p.badExtension(w, from, m.Bytes(m.ProxyRequire.Value))
		return
	}
	if m.Method == message.Options && (m.InDialog() || m.Hops == 0) {
		// UniMRCP answers an OPTIONS in a dialog and then ends the call: it goes no further. Nor does one that may not (RFC
		// 3261 16.3 step 3).
		p.reply(w, from, 200, allow)
		return
	}
	dst := p.peer(c, fromClient)
	ses := session.Key(m.Bytes(m.CallID.Value), m.Bytes(clientTag), c.backend)
	if m.Method == message.Ack {
		if !p.sessions.Confirm(ses) && p.sessions.Learn(ses, c.backend, p.learned(m, c.client.Remote), 0) {
			p.log.Debug("session learned", zap.ByteString("call_id", m.Bytes(m.CallID.Value)))
		}
		p.relayAck(w, from, dst, pops)
		return
	}
	key := p.serverKey(m, m.Method)
	s := p.txs.Shard(key)
	s.Lock()
	defer s.Unlock()
	if pr := s.Find(key); pr != nil {
		p.absorb(pr)
		return
	}
	pr := p.open(s, key, w, from, relayed)
	if pr == nil {
		return
	}
	d := &pr.Data
	d.pops, d.toServer, d.callback = uint8(pops), fromClient, c.callback
	d.session, d.server = ses, c.backend
	now := p.now()
	f := &p.routing.Load().Failover
	timeout, t1 := f.Deadline.Milliseconds(), int64(transaction.T1)
	if m.Method == message.Bye {
		timeout = f.Bye.Milliseconds()
	}
	if fromClient {
		t1 = f.T1.Milliseconds()
	}
	d.tryingAt = now + timerEAtT2
	if m.Method == message.Invite {
		d.tryingAt = now + f.TryingAfter.Milliseconds()
	}
	d.cur = branch{attempt: 1, flow: dst, sent: now}
	d.cur.Start(m.Method == message.Invite, dst.Proto.Reliable(), t1, timeout, now)
	w.out = p.appendRequest(w.out[:0], w, m, pr, &d.cur)
	if !p.sendBranch(&d.cur, w.out) {
		p.branchFailed(s, w, pr, &d.cur, whySend, true)
	}
	p.arm(s, pr)
}

// learned is a session that only a message in it tells of.
func (p *Proxy) learned(m *message.Message, client netip.AddrPort) *session.Session {
	return &session.Session{Kind: p.sessions.Kind(session.Kind{Resource: resourceOf(m)}), CallID: string(m.Bytes(m.CallID.Value)), Client: client, Start: time.Now()}
}

// peer is the flow to the other side of a dialog.
func (p *Proxy) peer(c *cookie, toServer bool) transport.Flow {
	if toServer {
		f := c.server
		p.fit(&f) // a restart may have changed the list of listeners
		return f
	}
	f := c.client
	p.fit(&f)
	if f.Proto.Reliable() {
		// The connection its INVITE came on while that is open (RFC 5923), else a new one to where its Via says it listens.
		if conn, ok := p.net.Find(f.Proto, f.Remote); ok {
			f.Conn = conn
		} else {
			f = atPort(f, c.callback)
		}
	}
	return f
}

// relayAck sends an ACK to a 2xx on, end to end and without a transaction (RFC 3261 16.6, 16.11).
func (p *Proxy) relayAck(w *worker, from, dst transport.Flow, pops int) {
	m := &w.m
	w.ins = append(append(w.ins[:0], p.at(dst).via...), ackBranch...)
	w.ins = appendHex(w.ins, p.serverKey(m, message.Ack)) // the same for its retransmissions
	w.ins = append(w.ins, "\r\n"...)
	e := message.Edit{Insert: w.ins, PopRoutes: pops, Hops: hops(m), Source: from.Remote.Addr(), Port: from.Remote.Port()}
	w.out = m.AppendRequest(w.out[:0], &e)
	p.send(dst, w.out)
}

func appendHex(b []byte, v uint64) []byte {
	const digits = "0123456789abcdef"
	for i := 60; i >= 0; i -= 4 {
		b = append(b, digits[v>>i&15])
	}
	return b
}

// relayFailed answers a request in a dialog that the other side does not: quickly, since FreeSWITCH blocks on an unanswered
// BYE for 32 s. A session that one side has ended is over, whatever the other says (RFC 3261 15.1.1), so we may say so in its
// place: 200; or that there is no dialog any more: 481, which a 408 to a non-INVITE may not say (RFC 4320 4.2).
func (p *Proxy) relayFailed(s *shard, w *worker, pr *pair, why string) {
	d := &pr.Data
	if pr.Server.Final() {
		return
	}
	reason := "Reason: SIP;cause=408;text=\"" + why + "\"\r\n"
	switch {
	case d.method == message.Bye:
		code := p.routing.Load().Failover.ByeAnswer
		if code < 300 {
			reason = warning(p.at(d.from).sentBy, "the other side has not answered: "+why)
		}
		p.answer(s, w, pr, code, reason)
		p.ended(d, session.ByeUnanswered)
	case d.unwanted: // 408 would end the dialog (12.2.1.2), and the rest of it is well
		p.answer(s, w, pr, 487, "")
	case d.method == message.Invite:
		p.answer(s, w, pr, 408, reason)
	default:
		p.answer(s, w, pr, 504, reason)
	}
	if d.method != message.Invite && !d.isBye() {
		s.Drop(&d.msg)
	}
}
