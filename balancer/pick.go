package balancer

import (
	"math/bits"
	"net/netip"
	"slices"
	"time"
)

// Request is what a session asks of Pick.
type Request struct {
	// Cluster is the name of the cluster that its route names.
	Cluster string
	// Tried are the addresses of servers that have failed it: they are passed over, whatever their transport and cluster,
	// since it is the same server.
	Tried []netip.AddrPort
	// Now is the present time.
	Now time.Time
	// Resources are the MRCP resources that it asks for (RFC 6787 3.1), in lower case, such as "speechrecog": it counts
	// against the limit of each. Needed only where a limit is for a resource.
	Resources []string
	// Hash is what the policy Hash goes by: equal ones get the same backend.
	Hash uint64
	// Reserve is how many places it leaves free at every limit, for sessions that matter more.
	Reserve int
}

// Pick takes a lease at the best backend for a session, or says why there is none. Held backends are used only when the
// whole cluster and its fallbacks have no other.
func (b *Balancer) Pick(r Request) (*Lease, Refusal) {
	for {
		s := b.snap.Load()
		p := s.plans[r.Cluster]
		if p == nil {
			return nil, unknownCluster(r.Cluster)
		}
		l, why := p.pick(r.Tried, r.Now)
		if l != nil || b.snap.Load() == s {
			return l, why
		}
	}
}

func (p *plan) pick(tried []netip.AddrPort, now time.Time) (*Lease, Refusal) {
	q := query{tried: tried, now: now}
	if l := p.take(&q, nil); l != nil {
		return l, Refusal{}
	}
	q.useHeld = true
	if q.sawHeld {
		if l := p.take(&q, nil); l != nil {
			return l, Refusal{}
		}
	}
	// Once more to count the causes. A session that ended meanwhile makes it a success after all.
	r := newRefusal(p.clusters)
	if l := p.take(&q, r.Clusters); l != nil {
		return l, Refusal{}
	}
	return nil, r
}

// take goes through the levels once and takes a lease in the first that has an eligible backend. Causes are counted
// into tally, one for each cluster of the plan, unless it is nil.
func (p *plan) take(q *query, tally []ClusterRefusal) *Lease {
	for i := range p.levels {
		lv := &p.levels[i]
		if tally != nil {
			q.tally = &tally[lv.cluster]
		}
		if be := lv.group.take(q); be != nil {
			return &Lease{backend: be, level: int32(i), fallback: lv.fallback}
		}
	}
	return nil
}

// take chooses and counts in one step.
func (g *group) take(q *query) *Backend {
	c := g.home
	c.mu.Lock()
	defer c.mu.Unlock()
	var be *Backend
	if g.policy == Weighted {
		be = g.weighted(q)
	} else {
		be = g.leastLoad(q)
	}
	if be == nil {
		return nil
	}
	c.turn++
	be.turn = c.turn
	be.leases.Add(1)
	be.picked.Add(1)
	return be
}

// leastLoad returns the eligible backend with the lowest sessions/share, and among equals the one whose last pick is
// the longest ago.
func (g *group) leastLoad(q *query) *Backend {
	var best *member
	var bestLoad uint64
	for i := range g.members {
		m := &g.members[i]
		if !q.admits(m.backend) {
			continue
		}
		load := m.backend.load()
		if best != nil {
			switch compareLoad(load, m.share, bestLoad, best.share) {
			case 1:
				continue
			case 0:
				if m.backend.turn >= best.backend.turn {
					continue
				}
			}
		}
		best, bestLoad = m, load
	}
	if best == nil {
		return nil
	}
	return best.backend
}

// compareLoad compares a/shareA with b/shareB, exactly: -1, 0 or 1.
func compareLoad(a, shareA, b, shareB uint64) int {
	hi, lo := a, b
	if shareA != shareB {
		aHi, aLo := bits.Mul64(a, shareB)
		bHi, bLo := bits.Mul64(b, shareA)
		if hi, lo = aHi, bHi; aHi == bHi {
			hi, lo = aLo, bLo
		}
	}
	switch {
	case hi < lo:
		return -1
	case hi > lo:
		return 1
	}
	return 0
}

// weighted is nginx's smooth weighted round robin: every eligible backend gains its weight, the richest is taken and
// pays what all have gained.
func (g *group) weighted(q *query) *Backend {
	var best *Backend
	var total int64
	for i := range g.members {
		be := g.members[i].backend
		if !q.admits(be) {
			continue
		}
		w := be.weight.Load()
		be.current += w
		total += w
		if best == nil || be.current > best.current {
			best = be
		}
	}
	if best != nil {
		best.current -= total
	}
	return best
}

// query is what one pick asks for, and what it met.
type query struct {
	tried   []netip.AddrPort
	now     time.Time
	useHeld bool
	sawHeld bool
	tally   *ClusterRefusal // counts the causes when set
}

// admits reports whether the backend may be chosen. The cluster's mu is held.
func (q *query) admits(b *Backend) bool {
	if !b.free() || len(q.tried) > 0 && slices.Contains(q.tried, b.addr) {
		if q.tally != nil {
			q.tally.add(b.refuses(q.tried))
		}
		return false
	}
	if !q.useHeld && b.held(q.now) {
		q.sawHeld = true
		return false
	}
	return true
}

// free reports whether the backend takes sessions and has room. Unlimited is the largest number of all when unsigned.
func (b *Backend) free() bool {
	return b.state.Load() <= uint32(Up) && b.weight.Load() > 0 && !b.removed.Load() &&
		b.load() < uint64(b.capacity.Load())
}

// refuses returns the first reason not to choose a backend that is not free or has been tried.
func (b *Backend) refuses(tried []netip.AddrPort) cause {
	switch st := b.State(); {
	case b.removed.Load():
		return causeRemoved
	case st == Draining:
		return causeDraining
	case st != Up && st != Unknown:
		return causeDown
	case b.weight.Load() <= 0:
		return causeWeight
	case slices.Contains(tried, b.addr):
		return causeTried
	}
	return causeFull
}

// Available reports whether a Pick would succeed now; an empty cluster means any. Holds do not count, as a Pick that
// finds nothing else uses held backends too.
func (b *Balancer) Available(cluster string, _ time.Time) bool {
	s := b.snap.Load()
	if cluster != "" {
		p := s.plans[cluster]
		return p != nil && p.available()
	}
	for _, l := range s.listed {
		if l.backend.free() {
			return true
		}
	}
	return false
}

func (p *plan) available() bool {
	for _, lv := range p.levels {
		for _, m := range lv.group.members {
			if m.backend.free() {
				return true
			}
		}
	}
	return false
}
