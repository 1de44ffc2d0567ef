package proxy

import (
	"bytes"
	"context"
	"net/netip"

	"mrcproxy/proxy/message"
	"mrcproxy/proxy/transaction"
	"mrcproxy/proxy/transport"
)

// OwnSession is what became of an INVITE of our own. When it was accepted there is a session at the server until Bye.
type OwnSession struct {
	// Code is the final response's.
	Code int
	// Body is that of a 2xx: the SDP answer.
	Body []byte

	p      *Proxy
	flow   transport.Flow
	uri    []byte
	ok     []byte // the 2xx
	hungUp bool
}

// ownInvite is an INVITE of our own and who waits for its answer, under its shard's lock.
type ownInvite struct {
	uri     []byte
	answer  chan ownAnswer // has room for the one
	why     string         // it is given up, if it is
	settled bool           // answered, or given up
	tag     []byte         // the To tag of the session that came to be
}

type ownAnswer struct {
	code int
	ok   []byte // a 2xx
	err  error
}

func (o *ownInvite) settle(a ownAnswer) {
	if !o.settled {
		o.settled = true
		o.answer <- a
	}
}

// Invite places one session of our own at a server, from the socket that calls to it leave from, with sdp as the offer, and
// waits for the final response. The error says what happened instead: no answer before ctx ends, or a transport failure. The
// INVITE is cancelled then, and a 2xx that still comes is ACKed and ended with a BYE, so that no channel stays occupied (RFC
// 3261 9.1, 13.2.2.4). A session that was established must be ended with Bye.
func (p *Proxy) Invite(ctx context.Context, uri, network string, to netip.AddrPort, sdp []byte) (*OwnSession, error) {
	flow, err := p.ownFlow(uri, network, to)
	if err != nil {
		return nil, err
	}
	o := &ownInvite{uri: []byte(uri), answer: make(chan ownAnswer, 1), why: whyNoResponse}
	id := p.start(ownRequest{flow: flow, method: message.Invite, invite: o, timeout: transaction.Lifetime, build: func(dst, via []byte) []byte {
		return p.appendOwn(dst, message.Invite, uri, via, flow, sdp)
	}})
	if id == 0 {
		return nil, errNoAnswer{whyNoRoom}
	}
	var a ownAnswer
	select {
	case a = <-o.answer:
	case <-ctx.Done():
		p.giveUpOwn(id, o)
		a = <-o.answer // what crossed counts
	}
	if a.err != nil {
		return nil, a.err
	}
	s := &OwnSession{Code: a.code, p: p, flow: flow, uri: o.uri, ok: a.ok}
	var m message.Message
	if a.ok != nil && m.Scan(a.ok) == nil {
		s.Body = m.BodyBytes()
	}
	return s, nil
}

// giveUpOwn ends the waiting for an INVITE's answer.
func (p *Proxy) giveUpOwn(id transaction.ID, o *ownInvite) {
	w := p.worker()
	defer p.guard(w, "own request")
	s := p.txs.ShardOf(id)
	s.Lock()
	defer s.Unlock()
	o.settle(ownAnswer{err: errNoAnswer{o.why}})
	if pr := s.Get(id); pr != nil {
		p.abandon(w, pr, p.now())
		p.arm(s, pr)
	}
}

// invited is a response to an INVITE of our own. Each 2xx gets its ACK; a session that nobody waits for, or a second one
// (RFC 3261 13.2.2.4), is ended.
func (p *Proxy) invited(s *shard, w *worker, pr *pair, b *branch) {
	m, o := &w.m, pr.Data.invite
	switch {
	case m.Status < 200:
		o.why = whyNoAnswer
		return
	case m.Status >= 300:
		o.settle(ownAnswer{code: m.Status})
		return
	}
	routes := p.acknowledge(w, pr, b, o.uri)
	tag := m.Bytes(m.ToTag)
	switch {
	case !o.settled:
		o.tag = bytes.Clone(tag)
		o.settle(ownAnswer{code: m.Status, ok: m.AppendTo(nil)})
	case o.tag == nil || !bytes.Equal(o.tag, tag):
		o.tag = bytes.Clone(tag)
		p.hangUp(s, w, b, o.uri, routes)
	}
}

// Bye ends the session, if one was established, and waits for the server's answer until ctx ends; the BYE is resent beyond
// that. It gives the answer's code, 0 when there was no session. Only the first call sends one.
func (s *OwnSession) Bye(ctx context.Context) (int, error) {
	if s.ok == nil || s.hungUp {
		return 0, nil
	}
	s.hungUp = true
	got := make(chan ownAnswer, 1)
	s.p.start(ownRequest{flow: s.flow, method: message.Bye, timeout: transaction.Lifetime, build: func(dst, via []byte) []byte {
		var m message.Message
		_ = m.Scan(s.ok) // it was good when it came
		routes, _ := m.RecordRoutes(nil)
		return m.AppendInDialog(dst, message.Bye, s.uri, via, routes)
	}, done: func(code int, err error) { got <- ownAnswer{code: code, err: err} }})
	select {
	case a := <-got:
		return a.code, a.err
	case <-ctx.Done():
		return 0, errNoAnswer{whyNoResponse}
	}
}

// Local is the address that calls to a server leave from; invalid where the listener has a wildcard address, or there is
// none for that server.
func (p *Proxy) Local(network string, to netip.AddrPort) netip.Addr {
	flow, ok := p.towards(network, to, 0)
	if !ok {
		return netip.Addr{}
	}
	if a := p.opts.Listeners[flow.Local].Bind.Addr(); !a.IsUnspecified() {
		return a
	}
	return netip.Addr{}
}
