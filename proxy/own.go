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

// ownRequest is a request that we send in our own name.
type ownRequest struct {
	flow    transport.Flow
	method  message.Method
	build   func(dst, via []byte) []byte // appends the request, with the Via line it is given
	timeout transaction.Time
	done    func(code int, err error) // called once, with the final response's code or an error; must not block; may be nil
	invite  *ownInvite                // of an INVITE, in the place of done
}

// originate sends a request of our own. It returns the pair, or nil when there is no room for one.
func (p *Proxy) originate(s *shard, w *worker, r ownRequest) *pair {
	pr := s.Open(0, true)
	if pr == nil {
		p.obs.Dropped(DropOverload)
		if r.done != nil {
			r.done(0, errNoAnswer{whyNoRoom})
		}
		return nil
	}
	d := &pr.Data
	now := p.now()
	d.kind, d.method, d.done, d.invite = own, r.method, r.done, r.invite
	d.cur = branch{attempt: 1, flow: r.flow, sent: now}
	d.cur.Start(r.method == message.Invite, r.flow.Proto.Reliable(), p.routing.Load().Failover.T1.Milliseconds(), r.timeout, now)
	w.ins = p.appendVia(w.ins[:0], pr, &d.cur)
	w.out = r.build(w.out[:0], w.ins)
	d.msg = s.Keep(w.out)
	if !p.sendBranch(&d.cur, w.out) {
		p.branchFailed(s, w, pr, &d.cur, whySend, true)
	}
	p.arm(s, pr)
	return pr
}

// Options sends one OPTIONS to a server from the socket that calls to it leave from, and waits for the final response's
// code. The error says what happened instead: no answer before ctx's deadline, or a transport failure.
func (p *Proxy) Options(ctx context.Context, uri, network string, to netip.AddrPort) (int, error) {
	flow, target, err := p.ownTarget(uri, network, to)
	if err != nil {
		return 0, err
	}
	type result struct {
		code int
		err  error
	}
	got := make(chan result, 1)
	p.start(ownRequest{flow: flow, method: message.Options, timeout: p.timeoutOf(ctx), build: func(dst, via []byte) []byte {
		return append(dst, p.ownText(sip.OPTIONS, target, via, flow, nil)...)
	}, done: func(code int, err error) { got <- result{code, err} }})
	select {
	case r := <-got:
		return r.code, r.err
	case <-ctx.Done():
		return 0, errNoAnswer{whyNoResponse}
	}
}

// ownTarget is where a request of ours to a server goes.
func (p *Proxy) ownTarget(uri, network string, to netip.AddrPort) (flow transport.Flow, target sip.Uri, err error) {
	flow, ok := p.towards(network, to, 0)
	if !ok {
		return flow, target, fmt.Errorf("no listener for %s to %s", network, to)
	}
	if err := sip.ParseUri(uri, &target); err != nil {
		return flow, target, fmt.Errorf("parse %q: %w", uri, err)
	}
	return flow, target, nil
}

// timeoutOf is how long a request of ours waits for its final response.
func (p *Proxy) timeoutOf(ctx context.Context) transaction.Time {
	if t, ok := ctx.Deadline(); ok {
		return max(tick.Milliseconds(), t.Sub(p.base).Milliseconds()-p.now())
	}
	return transaction.Lifetime
}

// start is originate from outside any shard's lock. It gives the pair's id, 0 when there is none.
func (p *Proxy) start(r ownRequest) transaction.ID {
	w := p.worker()
	defer p.guard(w, "own request")
	s := p.txs.Shard(rand.Uint64())
	s.Lock()
	defer s.Unlock()
	if pr := p.originate(s, w, r); pr != nil {
		return pr.ID
	}
	return 0
}

// ownText writes a request outside of any dialog (RFC 3261 8.1.1): UniMRCP ends a call over an OPTIONS that is in one.
func (p *Proxy) ownText(method sip.RequestMethod, target sip.Uri, via []byte, flow transport.Flow, sdp []byte) string {
	var me sip.Uri
	_ = sip.ParseUri(p.at(flow).contact, &me) // our own
	req := sip.NewRequest(method, target)
	callID := sip.CallIDHeader(fmt.Sprintf("%016x@mrcproxy", rand.Uint64()))
	maxForwards := sip.MaxForwardsHeader(70)
	req.AppendHeader(&maxForwards)
	req.AppendHeader(&sip.FromHeader{Address: sip.Uri{Scheme: me.Scheme, Host: me.Host, Port: me.Port}, Params: sip.HeaderParams{{K: "tag", V: fmt.Sprintf("%08x", rand.Uint32())}}})
	req.AppendHeader(&sip.ToHeader{Address: target})
	req.AppendHeader(&callID)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: 1, MethodName: method})
	req.AppendHeader(sip.NewHeader("Contact", "<"+p.at(flow).contact+">"))
	req.AppendHeader(sip.NewHeader("Accept", "application/sdp"))
	req.AppendHeader(sip.NewHeader("User-Agent", "mrcproxy"))
	if sdp != nil {
		req.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	}
	req.SetBody(sdp)
	text := req.String()
	// Our Via is ready-made, with a branch that finds the pair: it goes in behind the request line.
	for i := range len(text) {
		if text[i] == '\n' {
			return text[:i+1] + string(via) + text[i+1:]
		}
	}
	return text
}
