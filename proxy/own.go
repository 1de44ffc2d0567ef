package proxy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"

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
	flow, err := p.ownFlow(uri, network, to)
	if err != nil {
		return 0, err
	}
	type result struct {
		code int
		err  error
	}
	got := make(chan result, 1)
	p.start(ownRequest{flow: flow, method: message.Options, timeout: p.timeoutOf(ctx), build: func(dst, via []byte) []byte {
		return p.appendOwn(dst, message.Options, uri, via, flow, nil)
	}, done: func(code int, err error) { got <- result{code, err} }})
	select {
	case r := <-got:
		return r.code, r.err
	case <-ctx.Done():
		return 0, errNoAnswer{whyNoResponse}
	}
}

// ownFlow is where a request of ours to a server goes.
func (p *Proxy) ownFlow(uri, network string, to netip.AddrPort) (transport.Flow, error) {
	flow, ok := p.towards(network, to, 0)
	if !ok {
		return flow, fmt.Errorf("no listener for %s to %s", network, to)
	}
	if _, ok := message.ParseURI([]byte(uri)); !ok || strings.ContainsAny(uri, "\r\n <>?") {
		return flow, fmt.Errorf("%q is no SIP URI that a request can go to", uri)
	}
	return flow, nil
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

// appendOwn appends a request outside of any dialog (RFC 3261 8.1.1): UniMRCP ends a call over an OPTIONS that is in one.
func (p *Proxy) appendOwn(dst []byte, method message.Method, uri string, via []byte, flow transport.Flow, sdp []byte) []byte {
	contact := p.at(flow).contact
	me, _, _ := strings.Cut(contact, ";") // From and To have no parameters (19.1.1)
	to, _, _ := strings.Cut(uri, ";")
	name := method.String()
	dst = append(append(append(append(dst, name...), ' '), uri...), " SIP/2.0\r\n"...)
	dst = append(append(dst, via...), "Max-Forwards: 70\r\nFrom: <"...)
	dst = appendHex(append(append(dst, me...), ">;tag="...), rand.Uint64())
	dst = append(append(append(dst, "\r\nTo: <"...), to...), ">\r\nCall-ID: "...)
	dst = append(append(appendHex(dst, rand.Uint64()), "@mrcproxy\r\nCSeq: 1 "...), name...)
	dst = append(append(append(dst, "\r\nContact: <"...), contact...), ">\r\nAccept: application/sdp\r\nUser-Agent: mrcproxy\r\n"...)
	if sdp != nil {
		dst = append(dst, "Content-Type: application/sdp\r\n"...)
	}
	dst = strconv.AppendInt(append(dst, "Content-Length: "...), int64(len(sdp)), 10)
	return append(append(dst, "\r\n\r\n"...), sdp...)
}
