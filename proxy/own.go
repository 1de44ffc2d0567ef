package proxy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/emiago/sipgo/sip"

	"mrcproxy/proxy/message"
	"mrcproxy/proxy/transaction"
	"mrcproxy/proxy/transport"
)

// originate sends a request of our own on a flow. build appends it, with the Via line it is given. done, when not nil, is
// called once with the final response's code, or an error; it must not block.
func (p *Proxy) originate(s *shard, w *worker, flow transport.Flow, method message.Method, build func(dst, via []byte) []byte, timeout transaction.Time, done func(int, error)) {
	pr := s.Open(0)
	if pr == nil {
		p.obs.Dropped(DropOverload)
		if done != nil {
			done(0, errNoAnswer{"no room for a transaction"})
		}
		return
	}
	d := &pr.Data
	now := p.now()
	d.kind, d.method, d.done = own, method, done
	d.cur = branch{attempt: 1, flow: flow, sent: now}
	d.cur.Start(false, flow.Proto.Reliable(), p.routing.Load().Failover.T1.Milliseconds(), timeout, now)
	w.ins = p.appendVia(w.ins[:0], pr, &d.cur)
	w.out = build(w.out[:0], w.ins)
	d.msg = s.Keep(w.out)
	if !p.sendBranch(&d.cur, w.out) {
		p.branchFailed(s, w, pr, &d.cur, whySend, true)
	}
	p.arm(s, pr)
}

// Options sends one OPTIONS to a server from the socket that calls to it leave from, and waits for the final response's
// code. The error says what happened instead: no answer before ctx's deadline, or a transport failure.
func (p *Proxy) Options(ctx context.Context, uri, network string, to netip.AddrPort) (int, error) {
	flow, ok := p.towards(network, to, 0)
	if !ok {
		return 0, fmt.Errorf("no listener for %s to %s", network, to)
	}
	var target sip.Uri
	if err := sip.ParseUri(uri, &target); err != nil {
		return 0, fmt.Errorf("parse %q: %w", uri, err)
	}
	type result struct {
		code int
		err  error
	}
	got := make(chan result, 1)
	timeout := int64(transaction.Lifetime)
	if t, ok := ctx.Deadline(); ok {
		timeout = max(tick.Milliseconds(), t.Sub(p.base).Milliseconds()-p.now())
	}
	p.start(flow, message.Options, timeout, func(dst, via []byte) []byte {
		return append(dst, p.options(target, via, flow)...)
	}, func(code int, err error) { got <- result{code, err} })
	select {
	case r := <-got:
		return r.code, r.err
	case <-ctx.Done():
		return 0, errNoAnswer{whyNoResponse}
	}
}

// start is originate from outside any shard's lock.
func (p *Proxy) start(flow transport.Flow, method message.Method, timeout transaction.Time, build func(dst, via []byte) []byte, done func(int, error)) {
	w := p.worker()
	defer p.guard(w, "own request")
	s := p.txs.Shard(rand.Uint64())
	s.Lock()
	defer s.Unlock()
	p.originate(s, w, flow, method, build, timeout, done)
}

// options writes an OPTIONS (RFC 3261 11.1). It stands in no dialog: UniMRCP ends a call over one that does.
func (p *Proxy) options(target sip.Uri, via []byte, flow transport.Flow) string {
	var me sip.Uri
	_ = sip.ParseUri(p.at(flow).contact, &me) // our own
	req := sip.NewRequest(sip.OPTIONS, target)
	callID := sip.CallIDHeader(fmt.Sprintf("%016x@mrcproxy", rand.Uint64()))
	maxForwards := sip.MaxForwardsHeader(70)
	req.AppendHeader(&maxForwards)
	req.AppendHeader(&sip.FromHeader{Address: sip.Uri{Scheme: me.Scheme, Host: me.Host, Port: me.Port}, Params: sip.HeaderParams{{K: "tag", V: fmt.Sprintf("%08x", rand.Uint32())}}})
	req.AppendHeader(&sip.ToHeader{Address: target})
	req.AppendHeader(&callID)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: 1, MethodName: sip.OPTIONS})
	req.AppendHeader(sip.NewHeader("Contact", "<"+p.at(flow).contact+">"))
	req.AppendHeader(sip.NewHeader("Accept", "application/sdp"))
	req.AppendHeader(sip.NewHeader("User-Agent", "mrcproxy"))
	req.SetBody(nil)
	text := req.String()
	// Our Via is ready-made, with a branch that finds the pair: it goes in behind the request line.
	for i := range len(text) {
		if text[i] == '\n' {
			return text[:i+1] + string(via) + text[i+1:]
		}
	}
	return text
}
