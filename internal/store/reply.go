package store

import (
	"time"

	"go.uber.org/zap"
)

// tell is what others are to be told once the Store's lock is free.
type tell struct {
	counts   []count
	parts    []count
	ended    []uint64
	verdicts []verdict
}

type count struct {
	pool *pool
	n    int
}

type verdict struct {
	ask *ask
	v   Verdict
}

func (t *tell) count(p *pool, members int) {
	p.saw(members)
	t.counts = append(t.counts, count{p, p.elsewhere})
}

// tell has counts and parts first, since who is refused picks again.
func (o *Options) tell(t *tell) {
	for _, c := range t.counts {
		o.Counted(c.pool.cluster.name, c.pool.name, c.n)
	}
	for _, c := range t.parts {
		o.Parted(c.pool.cluster.name, c.pool.name, c.n)
	}
	for _, key := range t.ended {
		o.Ended(key)
	}
	for _, v := range t.verdicts {
		o.Waited(time.Since(v.ask.since))
		v.ask.done(v.v)
	}
}

// answered acts on a reply. mu is held.
func (s *Store) answered(c *call, now time.Time, t *tell) {
	if c.reply.status == tooLate { // the server's clock was set, and leases have expired early
		s.fix(nil, now)
		s.whole = now.Add(s.settling())
		s.unanswered(c, t)
		return
	}
	cl := s.clusterOf(c)
	if cl != nil {
		s.begun(cl, &c.reply, now)
	}
	switch c.script {
	case s.scripts.admit:
		s.admitted(c, now, t)
	case s.scripts.renew:
		s.renewed(c, now, t)
	case s.scripts.release:
		s.released(c)
	case s.scripts.count:
		for i, p := range c.pools {
			t.count(p, int(c.reply.rest[i]))
		}
		s.parts(t, c.pools, now)
	}
}

func (s *Store) clusterOf(c *call) *cluster {
	switch {
	case len(c.leases) > 0:
		return c.leases[0].place.cluster
	case len(c.gone) > 0:
		return c.gone[0].place.cluster
	case len(c.pools) > 0:
		return c.pools[0].cluster
	}
	return nil
}

// begun notices that a cluster's counts have begun anew: Redis has lost them.
func (s *Store) begun(cl *cluster, r *reply, now time.Time) {
	if age := time.Duration(r.now-r.since) * time.Millisecond; age < s.settling() {
		s.fix(cl, now)
		cl.whole = now.Add(s.settling() - age)
	}
	if cl.begun != 0 && cl.begun != r.since {
		s.stats.Resets++
		s.opts.Log.Warn("the store has lost its data", zap.String("cluster", cl.name), zap.Int("leases", len(s.leases)))
		s.reassert(cl)
	}
	cl.begun = r.since
}

// exact reports whether what Redis says of a cluster can be relied on by itself. Under Open it is all there is.
func (s *Store) exact(cl *cluster, rule *Rule, now time.Time) bool {
	switch rule.OnLoss {
	case Share: // others may have admitted sessions that Redis has not heard of yet
		return !now.Before(cl.whole) && !now.Before(s.whole)
	case Reject:
		return !now.Before(cl.whole)
	}
	return true
}

func (s *Store) admitted(c *call, now time.Time, t *tell) {
	l := c.leases[0]
	a := l.ask
	l.ask = nil
	ok := c.reply.status == done
	for i, p := range l.place.pools {
		if ok {
			p.held++
		}
		t.count(p, int(c.reply.rest[i]))
	}
	if l.state == over { // released meanwhile
		if ok {
			s.gone = append(s.gone, gone{key: l.key, place: l.place, held: true})
		}
		return
	}
	v := Full
	if ok {
		l.become(held)
		v = Admitted
		if rule := s.rule.Load(); !s.exact(l.place.cluster, rule, now) {
			v = rule.admit(l.place.pools, a.limits)
			s.parts(t, l.place.pools, now)
		}
	}
	if v == Admitted {
		s.stats.Admitted++
		s.wheel.Arm(&l.timer, s.ms(now.Add(soon)))
	} else {
		s.stats.Refused++
		s.drop(l)
	}
	t.verdicts = append(t.verdicts, verdict{a, v})
}

func (s *Store) renewed(c *call, now time.Time, t *tell) {
	ended := map[int64]bool{}
	for _, n := range c.reply.rest {
		ended[n] = true
	}
	for i, l := range c.leases {
		switch {
		case ended[int64(i+1)]:
			if l.state == held {
				l.place.hold(-1)
			}
			if l.state != over {
				s.remove(l)
				t.ended = append(t.ended, l.key)
			}
		case l.state == over: // released meanwhile, and perhaps put there again
			s.gone = append(s.gone, gone{key: l.key, place: l.place, session: l.real})
		default:
			if l.state == local {
				l.become(held)
				l.place.hold(1)
			}
			due := soon.Milliseconds()
			if l.firm {
				due = s.jitter()
			}
			s.wheel.Arm(&l.timer, s.ms(now)+due)
		}
	}
}

func (s *Store) released(c *call) {
	for _, g := range c.gone {
		if g.held {
			g.place.hold(-1)
		}
	}
}

func (pl *Place) hold(n int) {
	for _, p := range pl.pools {
		p.held += n
	}
}

// unanswered is a call of which nobody knows whether it was carried out. mu is held.
func (s *Store) unanswered(c *call, t *tell) {
	switch c.script {
	case s.scripts.admit:
		l := c.leases[0]
		if l.state == over {
			l.ask = nil
			s.gone = append(s.gone, gone{key: l.key, place: l.place})
			return
		}
		l.sent = true
		s.decideAlone(l, t)
		switch {
		case l.state == over:
			s.gone = append(s.gone, gone{key: l.key, place: l.place})
		case !s.breaker.open: // else it is put there when Redis is back
			s.renew(l)
		}
	case s.scripts.renew:
		for _, l := range c.leases {
			if l.state != over {
				s.renew(l)
			}
		}
	case s.scripts.release:
		s.gone = append(s.gone, c.gone...)
	}
}
