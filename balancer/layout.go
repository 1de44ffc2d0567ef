package balancer

import (
	"maps"
	"slices"
	"time"
)

// layout is how one configuration arranges a cluster.
type layout struct {
	home   *cluster
	spec   *ClusterSpec // without its groups
	groups []*group     // in the order in which they are tried
	shape  []shape
}

// shape is what Weighted depends on: when it changes, everyone's turns start again from zero.
type shape struct {
	group  int
	uri    string
	weight int
}

// place tells the groups of a cluster apart from one configuration to the next.
type place struct {
	idc      string
	priority int
	nth      int // among those with the same
}

func (b *Balancer) buildLayout(next *snapshot, c *cluster, cs *ClusterSpec, idc string) *layout {
	spec := *cs
	spec.Groups = nil // which would keep the whole specification alive
	l := &layout{home: c, spec: &spec}
	for i, gs := range cs.Groups {
		g := &group{layout: l, policy: cs.Policy, idc: gs.IDC, local: gs.IDC == idc, priority: gs.Priority}
		for _, bs := range gs.Backends {
			be := c.backends[bs.URI]
			if be == nil {
				be = newBackend(b, c, bs)
				be.idc.Store(&g.idc)
				c.backends[bs.URI] = be
			}
			be.removed.Store(false)
			bs.Resources = maps.Clone(bs.Resources)
			g.members = append(g.members, member{be, bs})
			next.listed = append(next.listed, listed{be, gs.Priority})
			next.byID[be.id] = be
			l.shape = append(l.shape, shape{i, bs.URI, bs.Weight})
		}
		l.groups = append(l.groups, g)
	}
	slices.SortStableFunc(l.groups, byDistance)
	return l
}

// install puts the layouts of a snapshot into use. From then on those before are stale. mu is held.
func (b *Balancer) install(s *snapshot, now time.Time) {
	for _, c := range b.clusters {
		if s.plans[c.name] == nil {
			c.mu.Lock()
			c.leave()
			c.mu.Unlock()
		}
	}
	for _, l := range s.layouts {
		l.home.mu.Lock()
		l.install(now)
		l.home.mu.Unlock()
	}
}

// leave takes the cluster's layout out of use. Its mu is held.
func (c *cluster) leave() {
	if c.layout == nil {
		return
	}
	for _, g := range c.layout.groups {
		for i := range g.members {
			g.members[i].backend.group = nil
		}
	}
	c.layout = nil
}

// install brings the backends up to date and has picks use the layout. The cluster's mu is held.
func (l *layout) install(now time.Time) {
	c := l.home
	had := c.layout != nil
	fresh := make(map[*Backend]bool) // begins a slow start
	for _, g := range l.groups {
		for i := range g.members {
			b := g.members[i].backend
			fresh[b] = had && (b.group == nil || b.weight.Load() == 0) && g.members[i].spec.Weight > 0
		}
	}
	c.leave()
	c.layout = l
	c.licences.limit = l.spec.Licences
	if l.spec.Licences == 0 {
		c.licences.limit, c.licences.part = Unlimited, part{}
	}
	again := !slices.Equal(c.shape, l.shape)
	c.shape = l.shape
	spills := make(map[string]*pool)
	memories := make(map[place]*memory, len(l.groups))
	for _, g := range l.groups {
		g.memory = l.memory(memories, g)
		if again {
			g.memory.turn, g.memory.weight = 0, 0
		}
		for i := range g.members {
			b := g.members[i].backend
			b.set(&g.members[i].spec, g, i)
			if again {
				b.served = 0
			}
			if l.spec.SlowStart == 0 {
				b.startedAt = time.Time{}
			}
			if fresh[b] {
				b.start(now)
			}
		}
		g.begin()
		g.spill = l.spillOf(spills, g)
	}
	c.memories = memories
}

// memory finds what is remembered of a group.
func (l *layout) memory(kept map[place]*memory, g *group) *memory {
	p := place{idc: g.idc, priority: g.priority}
	for kept[p] != nil {
		p.nth++
	}
	m := l.home.memories[p]
	if m == nil {
		m = new(memory)
	}
	kept[p] = m
	return m
}

// spillOf is the bound for sessions in the IDC of a group, one for all groups of it.
func (l *layout) spillOf(made map[string]*pool, g *group) *pool {
	s := l.spec.Spill
	if g.local || s == (Spill{}) {
		return nil
	}
	p := made[g.idc]
	if p == nil {
		p = &pool{limit: s.Sessions}
		if s.Percent > 0 {
			p.limit = l.part(g.idc, s.Percent)
		}
		made[g.idc] = p
	}
	for i := range g.members {
		p.used += g.members[i].backend.Sessions()
	}
	return p
}

// part is a percentage of the capacity in an IDC, rounded down; Unlimited where some backend has no limit.
func (l *layout) part(idc string, percent int) int {
	sum := 0
	for _, g := range l.groups {
		for i := range g.members {
			if g.idc != idc {
				continue
			}
			n := g.members[i].spec.Capacity
			if n == Unlimited {
				return Unlimited
			}
			sum += n
		}
	}
	return sum * percent / 100
}

// set brings a backend up to date. home.mu is held.
func (b *Backend) set(s *BackendSpec, g *group, index int) {
	b.idc.Store(&g.idc)
	b.capacity.Store(int64(s.Capacity))
	b.weight.Store(int64(s.Weight))
	b.setPools(s.Resources)
	b.rate.set(s.MaxCPS)
	b.group, b.index = g, index
}

func sortedKeys(m map[string]int) []string { return slices.Sorted(maps.Keys(m)) }
