package balancer

import "time"

// pool counts sessions against a limit. It is guarded by the mu of its cluster.
type pool struct {
	name      string // of the resource; "" for all sessions
	used      int
	elsewhere int // sessions of other instances, where known
	limit     int // or Unlimited
	part
}

// room reports whether another session has a place, with reserve places left free after it.
func (p *pool) room(reserve int) bool {
	return (p.limit == Unlimited || p.used+p.elsewhere+reserve < p.limit) && p.part.room(p.used)
}

// part is how many of the sessions under a limit may be this instance's own, while it does not know what others have.
type part struct {
	most int
	set  bool // else any number
}

func partOf(most int) part { return part{most, most >= 0} }

func (p part) room(used int) bool { return !p.set || used < p.most }

// SetPart says how many sessions this instance may have at a backend, whatever room there is; negative for any number.
func (b *Balancer) SetPart(backend *Backend, most int) {
	backend.home.mu.Lock()
	defer backend.home.mu.Unlock()
	backend.part = partOf(most)
	backend.changed()
}

// SetPartFor says the same of the sessions that ask for a resource, where that has a limit at the backend.
func (b *Balancer) SetPartFor(backend *Backend, resource string, most int) {
	backend.home.mu.Lock()
	defer backend.home.mu.Unlock()
	if i := backend.pool(resource); i >= 0 {
		backend.pools[i].part = partOf(most)
		backend.changed()
	}
}

// SetLicencePart says the same of a whole cluster, where that has a limit.
func (b *Balancer) SetLicencePart(cluster string, most int) {
	b.mu.Lock()
	c := b.clusters[cluster]
	b.mu.Unlock()
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.licences.part = partOf(most)
}

// Limit is one limit that a lease counts against. The name is the same in every instance of one configuration.
type Limit struct {
	Name string
	Max  int
}

// Limits are the limits that the lease counts against, as configured now: the backend's capacity, its capacity for the
// resources asked for, and the licences of its cluster. What is not limited is not in the list.
func (l *Lease) Limits() []Limit { return l.backend.limits(l.pools) }

// Limits are all the limits that a lease at the backend may count against.
func (b *Backend) Limits() []Limit { return b.limits(^uint32(0)) }

func (b *Backend) limits(pools uint32) []Limit {
	c := b.home
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []Limit
	add := func(name string, limit int) {
		if limit != Unlimited {
			all = append(all, Limit{name, limit})
		}
	}
	add(c.name+" "+b.uri, b.Capacity())
	for i := range b.pools {
		if pools&(1<<i) != 0 {
			add(c.name+" "+b.uri+" "+b.pools[i].name, b.pools[i].limit)
		}
	}
	add(c.name, c.licences.limit)
	return all
}

// maxPools is how many resources of one backend can have a limit, a bit of Lease.pools each.
const maxPools = 32

// pool is the index of the limit for a resource, or -1. home.mu is held.
func (b *Backend) pool(resource string) int {
	for i := range b.pools {
		if b.pools[i].name == resource {
			return i
		}
	}
	return -1
}

// poolsOf is the set of limits for these resources. home.mu is held.
func (b *Backend) poolsOf(resources []string) (set uint32) {
	if len(b.pools) == 0 {
		return 0
	}
	for _, r := range resources {
		if i := b.pool(r); i >= 0 {
			set |= 1 << i
		}
	}
	return set
}

// accepts reports whether the limits that the trees of the group do not know of leave room: the rate, the reserve, and
// those of all resources. home.mu is held.
func (b *Backend) accepts(q *query) bool {
	return b.refusesFor(q) == causeNone
}

func (b *Backend) refusesFor(q *query) cause {
	if !b.rate.admits(q.Now) {
		return causeRate
	}
	if q.Reserve > 0 && b.load()+uint64(q.Reserve) >= uint64(b.capacity.Load()) {
		return causeFull
	}
	if len(b.pools) > 0 {
		for _, r := range q.Resources {
			if i := b.pool(r); i >= 0 && !b.pools[i].room(q.Reserve) {
				return causeFull
			}
		}
	}
	return causeNone
}

// setPools brings the limits for resources up to date. One that is no longer configured stays, without a limit, as leases
// count in it. home.mu is held.
func (b *Backend) setPools(limits map[string]int) {
	for i := range b.pools {
		b.pools[i].limit = Unlimited
	}
	for _, name := range sortedKeys(limits) {
		i := b.pool(name)
		if i < 0 {
			if len(b.pools) == maxPools {
				continue
			}
			i = len(b.pools)
			b.pools = append(b.pools, pool{name: name})
		}
		b.pools[i].limit = limits[name]
	}
	for i := range b.pools {
		if b.pools[i].limit == Unlimited {
			b.pools[i].part = part{}
		}
	}
}

// rate bounds the sessions placed within a second, whichever second one looks at: it remembers when the last of them
// were, as many as there may be.
type rate struct {
	last []time.Time // a ring; empty: no bound
	next int         // the oldest
}

func (r *rate) admits(now time.Time) bool {
	return len(r.last) == 0 || r.last[r.next].IsZero() || now.Sub(r.last[r.next]) >= time.Second
}

func (r *rate) note(now time.Time) {
	if len(r.last) > 0 {
		r.last[r.next] = now
		r.next = (r.next + 1) % len(r.last)
	}
}

// set changes the bound, and remembers as much as it has room for.
func (r *rate) set(perSecond int) {
	if perSecond == len(r.last) {
		return
	}
	next := rate{last: make([]time.Time, perSecond)}
	if perSecond > 0 {
		for i := range r.last {
			next.note(r.last[(r.next+i)%len(r.last)])
		}
	}
	*r = next
}
