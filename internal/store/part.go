package store

import "time"

// Part is what an instance goes by under Share while limits cannot be checked: what it had in a pool when that began, and
// what the others had when it last counted them.
type Part struct {
	Own, Elsewhere int
	Counted        bool // it ever did
}

// Of is how many places under a limit (-1: none) the instance may have: those that it had, and its equal share of those
// that were free; where more were taken than there are, as much less. Who never counted has its equal share of all. The
// parts of all instances that counted the same are together no more than the limit.
func (p Part) Of(limit, instances int) int {
	all := p.Own + p.Elsewhere
	switch {
	case limit < 0:
		return limit
	case !p.Counted:
		return limit / instances
	case all > limit:
		return p.Own * limit / all
	}
	return p.Own + (limit-all)/instances
}

// own is how many sessions this instance has in a pool.
func (p *pool) own() int { return p.leases[held] + p.leases[local] }

// saw takes in how many sessions a pool has in Redis.
func (p *pool) saw(members int) {
	p.elsewhere, p.counted = max(members-p.held, 0), true
}

// fix has this instance's parts in a cluster's pools, or in all, be those of now. It is called before the counts are
// incomplete, and does nothing when they were so already: the parts of all instances fit together only if they are of one
// time.
func (s *Store) fix(c *cluster, now time.Time) {
	for _, p := range s.pools {
		if (c == nil || p.cluster == c) && s.complete(p.cluster, now) {
			p.part = Part{p.own(), p.elsewhere, p.counted}
		}
	}
}

// complete reports whether Redis can be asked, and has the sessions of all instances in a cluster.
func (s *Store) complete(c *cluster, now time.Time) bool {
	return !s.breaker.open && !now.Before(c.whole) && !now.Before(s.whole)
}

// admit decides on a lease that its pools already count.
func (r *Rule) admit(pools []*pool, limits []int) Verdict {
	if r.OnLoss == Reject {
		return Unchecked
	}
	for i, p := range pools {
		limit := limits[i]
		if r.OnLoss == Share {
			limit = p.part.Of(limit, r.Instances)
		}
		if limit >= 0 && p.own() > limit {
			return Full
		}
	}
	return Admitted
}

// forget is for a rule that does not go by what others have: it is not known any more.
func (s *Store) forget(t *tell) {
	if s.rule.Load().OnLoss == Share {
		return
	}
	for _, c := range s.clusters {
		for _, p := range c.counts {
			t.counts = append(t.counts, count{p, 0})
		}
	}
}

// parts tells how many sessions this instance may have in pools: its part under Share while limits cannot be checked, or any
// number (-1). So who picks does not pick what the rule would refuse.
func (s *Store) parts(t *tell, pools []*pool, now time.Time) {
	rule := s.rule.Load()
	for _, p := range pools {
		most := -1
		if rule.OnLoss == Share && p.limit >= 0 && !s.complete(p.cluster, now) {
			most = p.part.Of(p.limit, rule.Instances)
		}
		if p.most != most {
			p.most = most
			t.parts = append(t.parts, count{p, most})
		}
	}
}

// allParts tells it of all pools, when Redis is lost, or the rule is another.
func (s *Store) allParts(t *tell, now time.Time) {
	for _, c := range s.clusters {
		s.parts(t, c.counts, now)
	}
}
