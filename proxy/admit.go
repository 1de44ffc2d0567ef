package proxy

import (
	"time"

	"mrcproxy/balancer"
	"mrcproxy/internal/session"
	"mrcproxy/proxy/message"
	"mrcproxy/proxy/transaction"
)

// Verdict is what an Admitter says of a lease.
type Verdict uint8

// The verdicts.
const (
	Later     Verdict = iota // it is not known yet
	Admitted                 // the session may be placed
	Full                     // the server has no room for it; another may
	Unchecked                // it cannot be found out, and then no session is to be placed
)

// Admitter has the last word on a lease that the Balancer gave: it knows the limits that several instances share. It may
// not block, since it is called on the path of a message.
type Admitter interface {
	// Admit asks for the place of a lease, for the session of that key, which is established or given up within the
	// time. Unless the answer is there at once it is Later, and done is called later, from another goroutine. The place
	// is taken until the lease is released.
	Admit(l *balancer.Lease, key uint64, within time.Duration, done func(Verdict)) Verdict
	// Established tells that the session of that key has come to be.
	Established(key uint64)
	// Ended tells that the session of that key at the server with that ID is over, though this instance has no such
	// session: another may.
	Ended(server uint32, key uint64)
}

// admission is what a call waits for, and what it has heard, of the Admitter.
type admission struct {
	next    *balancer.Lease // asked for; nil: nothing is
	failing ended           // why the next server is wanted
	passed  int             // servers that were refused, the last of call.avoid
	closed  bool            // it was Unchecked
}

// drop gives up what is asked for.
func (a *admission) drop() {
	if a.next != nil {
		a.next.Release()
		a.next = nil
	}
}

// admit asks the Admitter for the lease's place, and as long as it refuses, for that of the next pick. It returns the lease
// that is admitted, nil when there is none, or that the call waits: verdict goes on then.
func (p *Proxy) admit(pr *pair, m *message.Message, lease *balancer.Lease, now transaction.Time) (admitted *balancer.Lease, waits bool) {
	if p.admitter == nil {
		return lease, false
	}
	c := pr.Data.call
	for lease != nil {
		id, l := pr.ID, lease
		key := session.Key(m.Bytes(m.CallID.Value), m.Bytes(m.FromTag), l.Backend().ID())
		within := time.Duration(c.deadline-now) * time.Millisecond
		switch v := p.admitter.Admit(l, key, within, func(v Verdict) { p.verdict(id, l, v) }); v {
		case Later:
			c.next = l
			return nil, true
		case Admitted:
			return l, false
		default:
			lease = p.passOver(c, l, v, now)
		}
	}
	return nil, false
}

// passOver gives back a lease that was not admitted, and picks another.
func (p *Proxy) passOver(c *call, l *balancer.Lease, v Verdict, now transaction.Time) *balancer.Lease {
	l.Release()
	if v == Unchecked {
		c.closed = true
		return nil
	}
	c.avoid = append(c.avoid, l.Backend().Addr())
	c.passed++
	return p.pick(c, now)
}

// forgive has the servers asked for again that were not admitted, when the call has waited.
func (c *call) forgive() {
	c.avoid = c.avoid[:0]
	for i := range c.attempts {
		c.avoid = append(c.avoid, c.attempts[i].Backend.Addr())
	}
	c.passed = 0
}

// verdict goes on with the call that waits for it, if it still does.
func (p *Proxy) verdict(id transaction.ID, l *balancer.Lease, v Verdict) {
	s := p.txs.ShardOf(id)
	s.Lock()
	defer s.Unlock()
	pr := s.Get(id)
	if pr == nil || pr.Data.call == nil || pr.Data.call.next != l {
		l.Release()
		return
	}
	w := p.worker()
	defer p.guard(w, "admission")
	c, now := pr.Data.call, p.now()
	c.next = nil
	lease, waits := l, false
	switch {
	case v != Admitted:
		if lease = p.passOver(c, l, v, now); lease != nil {
			lease, waits = p.admit(pr, p.kept(w, pr), lease, now)
		}
	case now >= c.deadline:
		l.Release()
		lease = nil
	}
	if !waits {
		p.moveOn(s, w, pr, lease, now)
	}
	p.arm(s, pr)
}

// ended ends the session of a request in a dialog, which may be another instance's. It reports whether it was this one's.
func (p *Proxy) ended(d *tx, why session.Reason) bool {
	if p.sessions.End(d.session, why) {
		return true
	}
	if p.admitter != nil && !p.isEarly(d.session) {
		p.admitter.Ended(d.server, d.session)
	}
	return false
}
