package balancer

import "time"

// A backend that is new in its cluster, or back from being unusable, is in its slow start: its share grows over the window
// from a tenth to the whole, and at most every other session of its group goes to such backends, while another can take
// it. Under LeastLoad it lasts until the backend has as much as the others, ten windows at most: after the first no two in a
// row go to it, so that an idle newcomer is not given all of them.

// leastShare is what a slow start begins with.
const leastShare = 0.1

// longestStart is how many windows a slow start lasts at most: a backend whose part is more than half of its group's never
// has as much as the others before.
const longestStart = 10

func (b *Backend) starting() bool { return !b.startedAt.IsZero() }

// start begins a slow start, if the cluster has one. home.mu is held.
func (b *Backend) start(now time.Time) {
	if b.group == nil || b.group.layout.spec.SlowStart == 0 || now.IsZero() {
		return
	}
	if !b.starting() {
		b.group.cold++
	}
	b.startedAt = now
	b.group.memory.last, b.group.memory.lastCold = b, true // the first session is for another
}

// grow ends a slow start. home.mu is held.
func (b *Backend) grow() {
	if b.starting() {
		b.startedAt = time.Time{}
		if b.group != nil {
			b.group.cold--
		}
	}
}

// grown is the part of its share that a backend in its slow start has, up to 1.
func (g *group) grown(b *Backend, now time.Time) float64 {
	window := g.layout.spec.SlowStart
	if window <= 0 {
		return 1
	}
	return min(max(float64(now.Sub(b.startedAt))/float64(window), leastShare), 1)
}

// grownOrOver is grown for a policy that does not compare loads: the slow start is over with the window.
func (g *group) grownOrOver(b *Backend, now time.Time) float64 {
	part := g.grown(b, now)
	if part == 1 {
		b.grow()
	}
	return part
}

// orCold decides between the best member that is warm, -1 for none, and the best of those in their slow start.
func (g *group) orCold(o *order, warm int32, q *query) int32 {
	cold := o.first(q, true)
	if cold < 0 {
		return warm
	}
	b := g.members[cold].backend
	part := g.grown(b, q.Now)
	wanted := warm < 0 || g.coldBefore(o, cold, warm, part)
	if part == 1 && (!wanted || warm < 0 || g.policy != LeastLoad || q.Now.Sub(b.startedAt) >= longestStart*g.layout.spec.SlowStart) {
		b.grow()
	}
	if wanted && (warm < 0 || !g.memory.rests(b, part)) {
		return cold
	}
	return warm
}

// rests reports whether a backend that has grown to a part of its share leaves this session to others, because of the last.
func (m *memory) rests(b *Backend, part float64) bool {
	return m.last == b || m.lastCold && part < 1
}

// coldBefore reports whether the policy prefers a member that has grown to a part of its share to a warm one.
func (g *group) coldBefore(o *order, cold, warm int32, part float64) bool {
	switch g.policy {
	case LeastLoad:
		return float64(o.load(int(cold)))/(float64(o.keys[cold].share)*part) <= float64(o.load(int(warm)))/float64(o.keys[warm].share)
	case Ordered:
		limit := o.limit(int(cold))
		return cold < warm && (limit == Unlimited || float64(o.load(int(cold))) < max(1, part*float64(limit)))
	}
	return o.better(cold, warm) == cold
}
