package balancer

import "time"

// Candidate is one backend as a Pick of now would meet it.
type Candidate struct {
	BackendView
	// Level is its group's position, from 0, in the order of trying.
	Level int
	// Refused says why it is not eligible; empty when it is.
	Refused string
	// Chosen: the Pick would take it.
	Chosen bool
}

// Explain lists the backends that a Pick for the cluster would consider, in the order of trying, and says of each why it
// would be passed over, or that it would be taken. It takes no lease and changes nothing; false: there is no such cluster.
// Where several sessions are placed at once the next Pick may take another.
func (b *Balancer) Explain(cluster string, now time.Time) ([]Candidate, bool) {
	p := b.snap.Load().plans[cluster]
	if p == nil {
		return nil, false
	}
	q := query{now: now}
	chosen := p.preview(&q)
	if chosen == nil && q.sawHeld {
		q.useHeld = true
		chosen = p.preview(&q)
	}
	var all []Candidate
	for i, lv := range p.levels {
		for _, m := range lv.group.members {
			c := Candidate{BackendView: m.backend.view(), Level: i, Chosen: m.backend == chosen}
			c.Priority = lv.group.priority
			switch {
			case !m.backend.free():
				c.Refused = m.backend.refuses(nil).String()
			case c.Held(now) && !q.useHeld:
				c.Refused = "held back: it refused a session"
			}
			all = append(all, c)
		}
	}
	return all, true
}

// preview is take without taking.
func (p *plan) preview(q *query) *Backend {
	for _, lv := range p.levels {
		if be := lv.group.preview(q); be != nil {
			return be
		}
	}
	return nil
}

func (g *group) preview(q *query) *Backend {
	g.home.mu.Lock()
	defer g.home.mu.Unlock()
	if g.policy != Weighted {
		return g.leastLoad(q)
	}
	before := make([]int64, len(g.members))
	for i, m := range g.members {
		before[i] = m.backend.current
	}
	be := g.weighted(q)
	for i, m := range g.members {
		m.backend.current = before[i]
	}
	return be
}

// String is the cause for people.
func (c cause) String() string {
	switch c {
	case causeFull:
		return "full"
	case causeDown:
		return "down"
	case causeDraining:
		return "draining"
	case causeTried:
		return "tried before"
	case causeWeight:
		return "weight 0"
	}
	return "removed"
}
