package balancer

// group is a set of backends among which the policy chooses. It belongs to one layout of its cluster, and is in use from
// the layout's install on until the next; from then on it is guarded by the cluster's mu.
type group struct {
	layout   *layout
	policy   Policy
	idc      string
	local    bool // in this instance's IDC
	priority int
	members  []member

	orders []*order // the first for sessions as such, the others for a resource
	spill  *pool    // this instance's sessions in the group's IDC; nil when it is its own, or when there is no bound
	memory *memory
	cold   int // members in a slow start
	widest int // the highest weight of a member
}

// member is a backend with what is configured of it.
type member struct {
	backend *Backend
	spec    BackendSpec
}

// memory is what outlives a change of the configuration of a group. It is guarded by the cluster's mu.
type memory struct {
	failback
	last     *Backend // of the last pick
	lastCold bool     // it was in its slow start
	turn     uint64   // Weighted: the turn of the last pick, as that member's 2 served + 1 ...
	weight   uint64   // ... for its weight
}

// take chooses and counts in one step. nil: no member can have the session, or q is stale.
func (g *group) take(q *query) *Lease {
	c := g.layout.home
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.layout != g.layout {
		q.stale = true
		return nil
	}
	if g.closed(q) != causeNone || !g.memory.admits(g.layout.spec, q) {
		return nil
	}
	i := g.choose(q)
	if i < 0 {
		return nil
	}
	return g.give(int(i), q)
}

// give takes the lease at member i.
func (g *group) give(i int, q *query) *Lease {
	c, be := g.layout.home, g.members[i].backend
	c.turn++
	be.turn = c.turn
	be.picked.Add(1)
	be.rate.note(q.Now)
	g.memory.last, g.memory.lastCold = be, be.starting()
	g.memory.failback.took()
	if g.policy == Weighted {
		g.serve(be, q.Now)
	}
	l := &Lease{backend: be, pools: be.poolsOf(q.Resources)}
	be.count(1, l.pools)
	return l
}

// closed says what keeps the whole group from taking sessions: the cluster's licences, or the bound of sessions in another
// IDC. The cluster's mu is held.
func (g *group) closed(q *query) cause {
	switch {
	case !g.layout.home.licences.room(q.Reserve):
		return causeLicences
	case g.spill != nil && !g.spill.room(0):
		return causeSpill
	}
	return causeNone
}

// choose is the member that the policy takes; -1 when none is eligible. The cluster's mu is held.
func (g *group) choose(q *query) int32 {
	o := g.order(q.Resources)
	switch {
	case o.best[1] < 0:
		return -1
	case g.policy == Hash:
		return g.rendezvous(o, q)
	case g.policy == Latency:
		return g.fasterOfTwo(o, q)
	}
	warm := o.first(q, false)
	if g.cold == 0 {
		return warm
	}
	return g.orCold(o, warm, q)
}

// order is the one for a session that asks for these resources: where several have a limit, for the first.
func (g *group) order(resources []string) *order {
	if len(g.orders) > 1 {
		for _, r := range resources {
			for _, o := range g.orders[1:] {
				if o.resource == r {
					return o
				}
			}
		}
	}
	return g.orders[0]
}

// fix follows a change of member i. The cluster's mu is held.
func (g *group) fix(i int) {
	for _, o := range g.orders {
		o.fix(i)
	}
}

// begin makes the group ready, when its layout is installed. The cluster's mu is held.
func (g *group) begin() {
	g.orders = []*order{newOrder(g, "")}
	g.cold = 0
	seen := map[string]bool{}
	for i := range g.members {
		b := g.members[i].backend
		g.widest = max(g.widest, b.Weight())
		if b.starting() {
			g.cold++
		}
		for _, p := range b.pools {
			if p.limit != Unlimited && !seen[p.name] {
				seen[p.name] = true
				g.orders = append(g.orders, newOrder(g, p.name))
			}
		}
	}
	g.memory.seen(g.usable())
}

// usable is how many members take sessions, by their state.
func (g *group) usable() (n int) {
	for i := range g.members {
		if g.members[i].backend.usable() {
			n++
		}
	}
	return n
}
