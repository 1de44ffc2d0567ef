package sim

import (
	"context"
	"fmt"
	"net"
	"time"
)

// placing is the INVITE client transaction of a call and, once it is cancelled, the
// CANCEL's beside it (RFC 3261 17.1.1, 9.1).
type placing struct {
	k           *call
	branch      string
	to          hop
	provisional bool
	cancelled   bool // the caller wants out
	cancelSent  bool
	repeat      []byte // what the timer sends again, nil: nothing
	again, end  *time.Timer
	wait        time.Duration
}

// place sends the INVITE and awaits its final. It says whether a session was established;
// then the error, if any, is that of ctx.
func (k *call) place(ctx context.Context) (bool, error) {
	p := &placing{k: k, branch: newBranch(), to: hop{k.c.o.Network, k.c.o.Proxy}, wait: k.c.o.T1}
	raw := k.request("INVITE", p.branch).bytes()
	start := time.Now()
	if err := k.c.ep.send(p.to.network, p.to.addr, raw); err != nil {
		return false, fmt.Errorf("send INVITE: %w", err)
	}
	p.again, p.end = time.NewTimer(p.wait), time.NewTimer(t1ToEnd*k.c.o.T1)
	defer p.again.Stop()
	defer p.end.Stop()
	p.repeating(raw)
	cancel := ctx.Done()
	for {
		select {
		case in := <-k.in:
			if in.m.method != "" || in.m.branch() != p.branch {
				k.stray(in)
				continue
			}
			if _, method := in.m.cseq(); method == "CANCEL" {
				p.repeat = nil
				continue
			}
			if in.m.code < 200 {
				p.ringing()
				continue
			}
			k.res.Code, k.res.Reason, k.res.Setup = in.m.code, in.m.get("Reason"), time.Since(start)
			return p.final(in.m, ctx)
		case <-cancel:
			cancel, p.cancelled = nil, true
			p.cancel()
		case <-p.again.C:
			p.sendAgain()
		case <-p.end.C:
			if p.cancelled {
				return false, fmt.Errorf("%w: %w", ErrNoAnswer, context.Cause(ctx))
			}
			return false, ErrNoAnswer
		case <-k.c.done:
			return false, net.ErrClosed
		}
	}
}

// repeating has raw sent again over UDP until told otherwise.
func (p *placing) repeating(raw []byte) {
	if p.to.network != "udp" {
		return
	}
	p.repeat, p.wait = raw, p.k.c.o.T1
	p.again.Reset(p.wait)
}

func (p *placing) sendAgain() {
	if p.repeat == nil {
		return
	}
	p.k.res.Retransmits++
	_ = p.k.c.ep.send(p.to.network, p.to.addr, p.repeat)
	p.wait *= 2
	p.again.Reset(p.wait)
}

// ringing takes a provisional: no more retransmissions and no limit to the waiting.
func (p *placing) ringing() {
	if p.provisional {
		return
	}
	p.provisional, p.repeat = true, nil
	p.end.Stop()
	p.cancel()
}

// cancel sends CANCEL when it is wanted and allowed, and gives the final 64*T1 from then on.
func (p *placing) cancel() {
	if !p.cancelled || !p.provisional || p.cancelSent {
		return
	}
	p.cancelSent = true
	raw := p.k.cancelRequest(p.branch).bytes()
	_ = p.k.c.ep.send(p.to.network, p.to.addr, raw)
	p.repeating(raw)
	p.end.Reset(t1ToEnd * p.k.c.o.T1)
}

// final takes the INVITE's final response.
func (p *placing) final(m *message, ctx context.Context) (bool, error) {
	err := context.Cause(ctx) // also when it has ended just now
	if m.code >= 300 {
		uri := "sip:" + p.to.addr.String()
		_ = p.k.c.ep.send(p.to.network, p.to.addr, p.k.failAck(m, p.branch, uri))
		return false, err
	}
	if eerr := p.k.establish(m, p.branch); eerr != nil {
		return false, eerr
	}
	return true, err
}

// transact sends a request inside the dialog and awaits its final, for so long; messages of others
// that come meanwhile are served.
func (k *call) transact(req *message, to hop, limit time.Duration) (*message, error) {
	raw, branch := req.bytes(), req.branch()
	if err := k.c.ep.send(to.network, to.addr, raw); err != nil {
		return nil, fmt.Errorf("send %s: %w", req.method, err)
	}
	wait, t1 := k.c.o.T1, k.c.o.T1
	again, end := time.NewTimer(wait), time.NewTimer(limit)
	defer again.Stop()
	defer end.Stop()
	if to.network != "udp" {
		again.Stop()
	}
	for {
		select {
		case in := <-k.in:
			switch {
			case in.m.method != "" || in.m.branch() != branch:
				k.stray(in)
			case in.m.code >= 200:
				return in.m, nil
			case req.method == "INVITE": // Timer A ends with a provisional, Timer E goes on
				again.Stop()
			}
		case <-again.C:
			k.res.Retransmits++
			_ = k.c.ep.send(to.network, to.addr, raw)
			if wait *= 2; req.method != "INVITE" {
				wait = min(wait, t1ToT2*t1)
			}
			again.Reset(wait)
		case <-end.C:
			return nil, fmt.Errorf("%s: %w", req.method, ErrNoAnswer)
		case <-k.c.done:
			return nil, net.ErrClosed
		}
	}
}
