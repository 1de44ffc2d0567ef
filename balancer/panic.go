package balancer

import "slices"

// lastResort takes a lease at the least bad backend, of those not tried yet, of the first cluster of the plan all of whose backends
// are down, if it is configured so.
func (p *plan) lastResort(q *query) *Lease {
	for i := 0; i < len(p.levels); {
		l := p.levels[i].group.layout
		if l.spec.Panic {
			if lease, ok := l.leastBad(q); ok {
				at := slices.IndexFunc(p.levels, func(lv level) bool { return lv.group == lease.backend.group })
				lease.level, lease.fallback, lease.panicked = int32(at), p.levels[at].fallback, true
				return lease
			}
		}
		for i++; i < len(p.levels) && p.levels[i].group.layout == l; i++ {
		}
	}
	return nil
}

// leastBad takes a lease at the backend of the cluster with the lowest rank, and among equals the one whose last pick is the longest
// ago; false when not all are down.
func (l *layout) leastBad(q *query) (*Lease, bool) {
	c := l.home
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.layout != l {
		q.stale = true
		return nil, false
	}
	best := l.rankedBest(q)
	if best == nil {
		return nil, false
	}
	return best.group.give(best.index, q), true
}

// rankedBest is the backend that leastBad takes; nil when there is none. The cluster's mu is held.
func (l *layout) rankedBest(q *query) *Backend {
	var best *Backend
	for _, g := range l.groups {
		for i := range g.members {
			b := g.members[i].backend
			if b.usable() {
				return nil
			}
			if slices.Contains(q.Tried, b.addr) || b.State() != Down || b.weight.Load() == 0 || b.load() >= uint64(b.capacity.Load()) || !b.accepts(q) || g.closed(q) != causeNone {
				continue
			}
			if best == nil || b.rank < best.rank || b.rank == best.rank && b.turn < best.turn {
				best = b
			}
		}
	}
	return best
}
