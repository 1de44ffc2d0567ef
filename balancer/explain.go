package balancer

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

// Explain lists the backends that a Pick would consider, in the order of trying, and says of each why it would be passed
// over, or that it would be taken. It takes no lease and changes nothing; false: there is no such cluster. Where several
// sessions are placed at once the next Pick may take another.
func (b *Balancer) Explain(r Request) ([]Candidate, bool) {
	p := b.snap.Load().plans[r.Cluster]
	if p == nil {
		return nil, false
	}
	q := query{Request: &r}
	chosen := p.preview(&q)
	var all []Candidate
	for i, lv := range p.levels {
		for _, m := range lv.group.members {
			c := Candidate{BackendView: m.backend.view(), Level: i, Chosen: m.backend == chosen}
			c.Priority = lv.group.priority
			if c.Refused = lv.group.refused(m.backend, &q); c.Chosen && c.Refused != "" {
				c.Refused = "taken all the same, as all are down: it is the least bad"
			}
			all = append(all, c)
		}
	}
	return all, true
}

// preview is pick without taking.
func (p *plan) preview(q *query) *Backend {
	for _, q.useHeld = range []bool{false, true} {
		for _, lv := range p.levels {
			if be := lv.group.preview(q); be != nil {
				return be
			}
		}
		if !q.sawHeld {
			break
		}
	}
	for _, lv := range p.levels {
		if l := lv.group.layout; l.spec.Panic {
			l.home.mu.Lock()
			be := l.rankedBest(q)
			l.home.mu.Unlock()
			if be != nil {
				return be
			}
		}
	}
	return nil
}

// preview is take without taking: what a choice leaves behind in the group is put back.
func (g *group) preview(q *query) *Backend {
	c := g.layout.home
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.layout != g.layout { // replaced meanwhile
		return nil
	}
	memory, drawn := *g.memory, c.drawn
	defer func() { *g.memory, c.drawn = memory, drawn }()
	if g.closed(q) != causeNone || !g.memory.admits(g.layout.spec, q) {
		return nil
	}
	i := g.choose(q)
	if i < 0 {
		return nil
	}
	return g.members[i].backend
}

// refused says why a backend of the group would not be taken; "" when it would be.
func (g *group) refused(b *Backend, q *query) string {
	c := g.layout.home
	c.mu.Lock()
	defer c.mu.Unlock()
	memory := *g.memory
	defer func() { *g.memory = memory }()
	closed := g.closed(q)
	switch {
	case closed != causeNone || !b.free() || !b.accepts(q):
		return b.refuses(q, closed).String()
	case !q.useHeld && b.held(q.Now):
		return "held back: it refused a session a moment ago"
	case !q.useHeld && !g.memory.admits(g.layout.spec, q):
		return "held back: its group has just come back"
	}
	return ""
}

// String is the cause for people.
func (c cause) String() string {
	return [...]string{"", "full", "at its rate", "the cluster has no licence left", "beyond the spill limit", "down", "draining", "tried before", "weight 0",
		"removed"}[c]
}
