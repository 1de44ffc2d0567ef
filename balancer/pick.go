package balancer

import "time"

// Pick takes a lease at the best backend for a session, or says why there is none. What is only held (a backend that has
// refused a session, a group that is just back) is used when the whole cluster and its fallbacks have nothing else; when
// all of a cluster are down, the least bad one that was not tried, if the cluster is so configured.
func (b *Balancer) Pick(r Request) (*Lease, Refusal) {
	for {
		s := b.snap.Load()
		p := s.plans[r.Cluster]
		if p == nil {
			return nil, unknownCluster(r.Cluster)
		}
		q := query{Request: &r}
		l := p.pick(&q)
		if l != nil {
			return l, Refusal{}
		}
		if !q.stale && b.snap.Load() == s {
			return nil, p.refusal(&q)
		}
	}
}

func (p *plan) pick(q *query) *Lease {
	if l := p.take(q); l != nil {
		return l
	}
	if q.sawHeld {
		q.useHeld = true
		if l := p.take(q); l != nil {
			return l
		}
	}
	return p.lastResort(q)
}

// take goes through the levels once and takes a lease in the first that has an eligible backend.
func (p *plan) take(q *query) *Lease {
	for i := range p.levels {
		lv := &p.levels[i]
		if l := lv.group.take(q); l != nil {
			l.level, l.fallback = int32(i), lv.fallback
			return l
		}
	}
	return nil
}

// Available reports whether a Pick would succeed now, without panic and for a session with no needs; an empty cluster means
// any. Holds do not count, as a Pick that finds nothing else uses held backends too.
func (b *Balancer) Available(cluster string, _ time.Time) bool {
	for {
		q := query{Request: &Request{}}
		if b.available(cluster, &q) {
			return true
		}
		if !q.stale {
			return false
		}
	}
}

func (b *Balancer) available(cluster string, q *query) bool {
	s := b.snap.Load()
	if cluster != "" {
		p := s.plans[cluster]
		return p != nil && p.available(q)
	}
	for _, p := range s.plans {
		if p.available(q) {
			return true
		}
	}
	return false
}

func (p *plan) available(q *query) bool {
	for i := range p.levels {
		if p.levels[i].group.available(q) {
			return true
		}
	}
	return false
}

func (g *group) available(q *query) bool {
	c := g.layout.home
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.layout != g.layout {
		q.stale = true
		return false
	}
	return g.orders[0].best[1] >= 0 && g.closed(q) == causeNone
}
