package proxy

import (
	"mrcproxy/proxy/message"
	"mrcproxy/proxy/transaction"
)

// afterFault is when what is due is tried again, in milliseconds, should a bug of ours end it: a client that has seen a provisional
// response waits for ever, and a lease is to be given back.
const afterFault = 1000

// fire does what is due for a pair, under its shard's lock.
func (p *Proxy) fire(s *shard, pr *pair) {
	w := p.worker()
	defer p.guard(w, "timer")
	d := &pr.Data
	now := p.now()
	s.Arm(pr, now+afterFault)
	if now >= pr.Server.Due() {
		if pr.Server.Timer(now).Has(transaction.Resend) {
			p.send(d.replyTo(), d.reply)
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

// byeAgain is how long after the failure of its connection a BYE is sent on another, at most: half of what timer E comes to over
// UDP, since a connect that is refused costs little.
const byeAgain = transaction.T2 / 2

// byeAgainAt is when a BYE whose connection has failed now is sent again. Those to one server go on the same second, and so
// over one connection.
func byeAgainAt(now transaction.Time) transaction.Time {
	const second = 1000
	return (now + byeAgain) / second * second
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
	case definite && d.isBye():
		if b.Reliable {
			b.SendAgain(byeAgainAt(p.now()))
		}
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
		if !definite || !d.isBye() {
			b.Fail()
		}
	case d.kind == relayed:
		if !definite || d.isBye() {
			p.letGo(w, pr)
		}
		p.relayFailed(s, w, pr, why)
	case d.counts(b):
		p.failover(s, w, pr, ended{why: why}, definite)
	}
}

// letGo ends the waiting for the answer to a relayed request. A BYE is sent again all the same.
func (p *Proxy) letGo(w *worker, pr *pair) {
	if b := &pr.Data.cur; pr.Data.isBye() {
		b.GoOn(b.sent + transaction.Lifetime)
	} else {
		p.abandon(w, pr, p.now())
	}
}

// isBye reports whether this is a BYE on its way to the other side. It is sent again for as long as RFC 3261 17.1.2.2 has it,
// whatever the one who said it was answered meanwhile, and whatever the network says: a server that comes back frees its channel.
// Over UDP that is timer E; over a stream, which repeats nothing once it has failed, it goes on another.
func (d *tx) isBye() bool {
	return d.method == message.Bye && (d.kind == relayed || d.kind == own)
}
