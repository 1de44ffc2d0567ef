package balancer

// order is the members of a group in the order in which its policy prefers them, kept as a tournament: a leaf for each
// member, and in every node the better of the two below it, so that a change of a member costs the way to the root, and the
// best one stands there. Members without room are not in it. What depends on the moment or on the request, such as a hold,
// is asked of the best, and where the answer is no, of the next: see first.
//
// There is one order for sessions as such, and one for each resource that has a limit at some member. It is guarded by the
// mu of its cluster.
type order struct {
	group    *group
	resource string
	pools    []int   // by member: the index of its limit for the resource, or -1
	keys     []key   // by member
	size     int     // leaves: a power of two
	best     []int32 // by node, 1 is the root and i has 2i and 2i+1 below it; -1 where there is none
}

// key is what a policy goes by: the lowest load for its share, and among equals the lowest turn.
type key struct{ load, share, turn uint64 }

func newOrder(g *group, resource string) *order {
	o := &order{group: g, resource: resource, size: 1, keys: make([]key, len(g.members)), pools: make([]int, len(g.members))}
	for o.size < len(g.members) {
		o.size *= 2
	}
	o.best = make([]int32, 2*o.size)
	for i := range o.best {
		o.best[i] = -1
	}
	unlimited := false
	for i := range g.members {
		o.pools[i] = -1
		if resource != "" {
			o.pools[i] = g.members[i].backend.pool(resource)
		}
		unlimited = unlimited || o.limit(i) == Unlimited
	}
	for i := range g.members {
		// Sessions for capacity and weight, or for weight alone when some member has no capacity to compare with.
		share := uint64(g.members[i].backend.Weight())
		if g.policy != Weighted && !unlimited {
			share *= uint64(o.limit(i))
		}
		o.keys[i] = o.key(i, share)
		if o.open(i) {
			o.best[o.size+i] = int32(i)
		}
	}
	for n := o.size - 1; n > 0; n-- {
		o.best[n] = o.better(o.best[2*n], o.best[2*n+1])
	}
	return o
}

func (o *order) key(i int, share uint64) key {
	b := o.group.members[i].backend
	switch o.group.policy {
	case LeastLoad:
		return key{o.load(i), share, b.turn}
	case Weighted:
		return key{2*b.served + 1, share, 0}
	}
	return key{0, share, 0}
}

// limit is what the sessions of a member are compared with.
func (o *order) limit(i int) int {
	b := o.group.members[i].backend
	if p := o.pools[i]; p >= 0 && b.pools[p].limit != Unlimited {
		return b.pools[p].limit
	}
	return b.Capacity()
}

// load is how many sessions of a member count.
func (o *order) load(i int) uint64 {
	b := o.group.members[i].backend
	if p := o.pools[i]; p >= 0 {
		return uint64(b.pools[p].used + b.pools[p].elsewhere)
	}
	return b.load()
}

// open reports whether a member takes sessions and has room.
func (o *order) open(i int) bool {
	b := o.group.members[i].backend
	return b.free() && (o.pools[i] < 0 || b.pools[o.pools[i]].room(0))
}

// better is the one of two members, -1 for none, that the policy prefers; of equals the first.
func (o *order) better(x, y int32) int32 {
	switch {
	case x < 0:
		return y
	case y < 0:
		return x
	}
	a, b := &o.keys[x], &o.keys[y]
	if c := compareLoad(a.load, a.share, b.load, b.share); c > 0 || c == 0 && (a.turn > b.turn || a.turn == b.turn && x > y) {
		return y
	}
	return x
}

// fix follows a change of member i.
func (o *order) fix(i int) {
	n, leaf, next := o.size+i, int32(-1), o.key(i, o.keys[i].share)
	if o.open(i) {
		leaf = int32(i)
	}
	if o.best[n] == leaf && (leaf < 0 || o.keys[i] == next) {
		o.keys[i] = next
		return
	}
	o.best[n], o.keys[i] = leaf, next
	for n /= 2; n > 0; n /= 2 {
		was, now := o.best[n], o.better(o.best[2*n], o.best[2*n+1])
		if o.best[n] = now; now == was && now != int32(i) {
			return // it was another before and is now: nothing changes above
		}
	}
}

// first is the best member that q admits and whose slow start is as asked for; -1 when there is none. It goes on only below
// those that it passes over.
func (o *order) first(q *query, starting bool) int32 { return o.firstBelow(1, q, starting) }

func (o *order) firstBelow(n int, q *query, starting bool) int32 {
	best := o.best[n]
	if best < 0 {
		return -1
	}
	if b := o.group.members[best].backend; b.starting() == starting && q.admits(b) {
		return best
	}
	if n >= o.size {
		return -1
	}
	return o.better(o.firstBelow(2*n, q, starting), o.firstBelow(2*n+1, q, starting))
}
