package proxy

import (
	"mrcproxy/proxy/message"
	"mrcproxy/proxy/transaction"
)

// fire does what is due for a pair, under its shard's lock.
func (p *Proxy) fire(s *shard, pr *pair) {
	w := p.worker()
	defer p.guard(w, "timer")
	d := &pr.Data
	now := p.now()
	if now >= pr.Server.Due() {
		if pr.Server.Timer(now).Has(transaction.Resend) {
			p.send(d.replyTo, d.reply)
		}
	}
	for i := range d.old {
		p.branchTimer(s, w, pr, &d.old[i], now)
	}
	if !d.cur.Done() {
		p.branchTimer(s, w, pr, &d.cur, now)
	}
	if d.call != nil && !pr.Server.Final() && now >= d.call.deadline {
		p.failover(s, w, pr, ended{why: whyDeadline}, false)
	}
	if c := d.call; c != nil && c.wait.queue != nil && now >= c.wait.until {
		p.queues.leave(c, now)
		p.giveUp(s, w, pr)
	}
	if pr.Server.State == transaction.Trying && d.tryingAt != 0 && now >= d.tryingAt {
		p.answer(s, w, pr, 100, "")
	}
	p.arm(s, pr)
}

func (p *Proxy) branchTimer(s *shard, w *worker, pr *pair, b *branch, now transaction.Time) {
	if b.Done() || now < b.Due() {
		return
	}
	silent := !b.Answered()
	act := b.Timer(now)
	if act.Has(transaction.Resend) {
		p.resend(w, pr, b)
	}
	if act.Has(transaction.SendCancel) {
		p.sendCancel(w, pr, b)
	}
	if !act.Has(transaction.TimedOut) {
		return
	}
	why := whyNoAnswer
	if silent {
		why = whyNoResponse
	}
	p.branchFailed(s, w, pr, b, why, false)
}

// branchFailed is the end of waiting on a branch: no answer in time, or (definite) its transport failed.
func (p *Proxy) branchFailed(s *shard, w *worker, pr *pair, b *branch, why string, definite bool) {
	d := &pr.Data
	switch {
	case definite && b.Invite:
		b.Lose(p.now()) // the other side may have got it, and answer by another connection
	case definite && d.byeByUDP():
	case definite:
		b.Fail()
	}
	switch {
	case b != &d.cur:
	case d.invite != nil:
		if !definite {
			p.abandon(w, pr, p.now())
		}
		d.invite.settle(ownAnswer{err: errNoAnswer{why}})
	case d.kind == own:
		if d.done != nil {
			d.done(0, errNoAnswer{why})
			d.done = nil
		}
		b.Fail()
	case d.kind == relayed:
		if d.byeByUDP() {
			b.GoOn(b.sent + transaction.Lifetime)
		} else if !definite {
			p.abandon(w, pr, p.now())
		}
		p.relayFailed(s, w, pr, why)
	case d.kind == initial && !pr.Server.Final():
		p.failover(s, w, pr, ended{why: why}, definite)
	}
}

// byeByUDP reports whether this is a BYE on its way by UDP: it is sent again for as long as RFC 3261 17.1.2.2 has it, whatever
// the one who said it was answered meanwhile, and whatever the network says: a server that comes back frees its channel.
func (d *tx) byeByUDP() bool {
	return d.kind == relayed && d.method == message.Bye && !d.cur.flow.Proto.Reliable()
}
