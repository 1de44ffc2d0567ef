package proxy

import (
	"context"
	"time"

	"mrcproxy/proxy/message"
	"mrcproxy/proxy/transaction"
	"mrcproxy/proxy/transport"
)

// stopSettle is how long a stop waits after the last answer, for its ACK: a server whose 2xx is not ACKed ends the session,
// and a connection that is closed while the peer writes may lose what it has not read.
const stopSettle = 100 * time.Millisecond

const whyStopping = "stopping"

// windDown ends what must not be left to a successor, who knows nothing of it: requests without a final response. They are
// given Drain.Timeout; then we answer them, since a client that has seen a provisional response waits for ever. Requests in a
// dialog are served to the end.
func (p *Proxy) windDown(ctx context.Context) {
	p.stopping.Store(true)
	t := time.NewTicker(tick)
	defer t.Stop()
	drain := p.routing.Load().Drain
	p.refusing.Store(drain.AcceptFor <= 0)
	start := time.Now()
	for quiet := start; ; {
		var now time.Time
		select {
		case <-ctx.Done():
			return
		case now = <-t.C:
		}
		closing := now.Sub(start) - drain.AcceptFor
		if closing < 0 {
			quiet = now
			continue
		}
		p.refusing.Store(true)
		waiting, late := p.unanswered() > 0, closing > drain.Timeout
		if waiting {
			quiet = now
		}
		if waiting && late {
			p.txs.Each(p.cutOff)
		}
		if now.Sub(quiet) > stopSettle || closing > drain.Timeout+2*stopSettle {
			return
		}
	}
}

func (p *Proxy) unanswered() (n int) {
	p.txs.Each(func(_ *shard, pr *pair) {
		if pr.Data.waits(pr) || pr.Data.frees() {
			n++
		}
	})
	return n
}

// frees reports whether we wait for an answer to a request that gives a channel back, and that nobody but us sends again: the BYE
// of a session to its server, or of our own an INVITE that is cancelled, or will be ended as soon as it is accepted.
func (d *tx) frees() bool {
	if d.cur.Done() || d.cur.State > transaction.ClientProceeding {
		return false
	}
	return d.kind == own && d.method != message.Options || d.kind == relayed && d.method == message.Bye && d.toServer
}

// waits reports whether a peer waits for a final response.
func (d *tx) waits(pr *pair) bool {
	return (d.kind == initial || d.kind == relayed) && pr.Server.State != transaction.ServerNone && !pr.Server.Final()
}

// cutOff answers a request that is still unanswered.
func (p *Proxy) cutOff(s *shard, pr *pair) {
	d := &pr.Data
	if !d.waits(pr) {
		return
	}
	w := p.worker()
	defer p.guard(w, "stop")
	if d.kind == relayed {
		p.letGo(w, pr)
		p.relayFailed(s, w, pr, whyStopping)
	} else {
		d.call.deadline = p.now() // no other server is tried
		p.failover(s, w, pr, ended{why: whyStopping}, false)
	}
	p.arm(s, pr)
}

// turnAway is for a new INVITE while we stop: 503, so that its client goes elsewhere at once (RFC 3261 21.5.4). Where an heir
// will read our sockets, one over UDP is left unanswered: its client sends it again, and the heir takes it.
func (p *Proxy) turnAway(w *worker, from transport.Flow) {
	if from.Proto.Reliable() || !p.opts.Heir {
		p.refuse(w, from, 503, "Retry-After: 5\r\n", DropStopping)
	}
}
