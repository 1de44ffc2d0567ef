package proxy

import (
	"bytes"
	"errors"
	"net/netip"

	"go.uber.org/zap"

	"mrcproxy/proxy/message"
	"mrcproxy/proxy/transaction"
	"mrcproxy/proxy/transport"
)

// errNoAnswer is why a request of ours got no final response.
type errNoAnswer struct{ why string }

func (e errNoAnswer) Error() string { return e.why }

// Timeout reports whether it was for silence: the request went out, and nothing has failed.
func (e errNoAnswer) Timeout() bool { return e.why == whyNoResponse || e.why == whyNoAnswer }

// Unreachable takes an ICMP error (transport.Handler): the datagram's own head names the branch it was sent on (RFC 3261
// 18.4).
func (p *Proxy) Unreachable(head []byte, to netip.AddrPort, why error) {
	i := bytes.Index(head, []byte(mark))
	if i < 0 || len(head) < i+branchLen {
		return
	}
	branch := head[i : i+branchLen]
	id, loop, ok := p.parseBranch(branch)
	if !ok {
		if e := p.elder.Load(); e != nil && e.sent(branch) {
			e.Unreachable(head, to, why)
		}
		return
	}
	s := p.txs.ShardOf(id.id)
	s.Lock()
	defer s.Unlock()
	pr := s.Get(id.id)
	if pr == nil || pr.Data.loop != loop {
		return
	}
	b := pr.Data.branch(id.attempt)
	if b == nil || b.flow.Remote != to || b.State > transaction.ClientProceeding {
		return
	}
	w := p.worker()
	defer p.guard(w, "ICMP error")
	p.branchFailed(s, w, pr, b, whyUnreachable, true)
	p.arm(s, pr)
}

// Closed takes the end of a connection (transport.Handler): the requests that wait for an answer on it have failed. A
// request in a dialog, our own BYE too, is sent once more, on a new connection: the old one may just have been idle for too
// long. A BYE is sent again after that, too, every now and then.
func (p *Proxy) Closed(conn uint64, remote netip.AddrPort, err error) {
	p.log.Debug("connection closed", zap.Uint64("conn", conn), zap.Stringer("remote", remote), zap.Error(err))
	if e := p.elder.Load(); e != nil {
		e.Closed(conn, remote, err) // it came from there, perhaps
	}
	p.sending.Lock() // a connection may be refused before Send's caller knows its id
	_, used := p.used.LoadAndDelete(conn)
	p.sending.Unlock()
	if !used {
		return
	}
	p.txs.Each(func(s *shard, pr *pair) {
		w := p.worker()
		defer p.guard(w, "closed connection") // here, lest a panic leave the shard locked
		d := &pr.Data
		b := &d.cur // abandoned ones wait for nothing that this connection alone could bring
		if b.flow.Conn != conn || b.Done() || b.State > transaction.ClientProceeding {
			return
		}
		if (d.kind == relayed || d.method == message.Bye) && !d.again && p.again(w, pr) {
			d.again = true
		} else {
			p.branchFailed(s, w, pr, b, whyConnection, true)
		}
		p.arm(s, pr)
	})
}

// again sends the request of a relayed pair, or our own BYE, on whatever connection there is now: to a client where its Via
// says that it listens, since the far end of the connection that it had opened takes none.
func (p *Proxy) again(w *worker, pr *pair) bool {
	b := &pr.Data.cur
	b.flow.Conn = 0
	if pr.Data.kind == own {
		return p.sendBranch(b, pr.Data.msg)
	}
	m := p.kept(w, pr)
	if m == nil {
		return false
	}
	if !pr.Data.toServer {
		b.flow = atPort(b.flow, pr.Data.callback)
	}
	w.out = p.appendRequest(w.out[:0], w, m, pr, b)
	return p.sendBranch(b, w.out)
}

// sendBranch sends a branch's request and notes the connection it went on, so that its end is noticed.
func (p *Proxy) sendBranch(b *branch, out []byte) bool {
	if b.flow.Proto.Reliable() {
		p.sending.RLock()
		defer p.sending.RUnlock()
	}
	conn, err := p.net.Send(b.flow, out)
	if err != nil {
		p.obs.Dropped(DropSend)
		b.tooLarge = errors.Is(err, transport.ErrTooLarge)
		return false
	}
	if conn != 0 {
		b.flow.Conn = conn
		if _, ok := p.used.Load(conn); !ok {
			p.used.Store(conn, struct{}{})
		}
	}
	return true
}

// Malformed takes a stream that cannot be framed (transport.Handler).
func (p *Proxy) Malformed(from transport.Flow, reason string) {
	p.obs.Dropped(DropFraming)
	p.log.Debug("malformed stream", zap.Stringer("from", from.Remote), zap.String("reason", reason))
}
