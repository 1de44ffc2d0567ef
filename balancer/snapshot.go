package balancer

import (
	"cmp"
	"slices"
)

// snapshot is one configuration made ready for picking. It is never changed once stored.
type snapshot struct {
	plans  map[string]*plan
	listed []listed // in the order of the configuration
	byID   map[uint32]*Backend
}

// listed is a backend with what a view shows of its group.
type listed struct {
	backend  *Backend
	priority int
}

// plan is the way a pick goes for one cluster.
type plan struct {
	levels   []level
	clusters []string // visited, the cluster itself first
}

// level is one group of a plan.
type level struct {
	group    *group
	cluster  int  // index in plan.clusters
	fallback bool // not the cluster's first choice
}

// group is a set of backends among which the policy chooses.
type group struct {
	home     *cluster
	policy   Policy
	local    bool // in this instance's IDC
	priority int
	members  []member
}

// member is a backend with its share: sessions are compared in proportion to it.
type member struct {
	backend *Backend
	share   uint64
}

// install brings the surviving backends up to date, makes the new ones, and returns the snapshot. mu is held.
func (b *Balancer) install(s Spec) *snapshot {
	next := &snapshot{plans: make(map[string]*plan, len(s.Clusters)), byID: make(map[uint32]*Backend)}
	groups := make(map[string][]*group, len(s.Clusters))
	for _, cs := range s.Clusters {
		c := b.clusters[cs.Name]
		if c == nil {
			c = &cluster{name: cs.Name, backends: make(map[string]*Backend)}
			b.clusters[cs.Name] = c
		}
		groups[cs.Name] = b.installCluster(next, c, cs, s.IDC)
	}
	fallback := make(map[string][]string, len(s.Clusters))
	for _, cs := range s.Clusters {
		fallback[cs.Name] = cs.Fallback
	}
	for _, cs := range s.Clusters {
		next.plans[cs.Name] = newPlan(cs.Name, groups, fallback)
	}
	return next
}

// installCluster returns the cluster's groups in the order in which they are tried.
func (b *Balancer) installCluster(next *snapshot, c *cluster, cs ClusterSpec, idc string) []*group {
	c.mu.Lock()
	defer c.mu.Unlock()
	var groups []*group
	var now []shape
	for i, gs := range cs.Groups {
		where := gs.IDC // not gs, which would keep the whole specification alive
		g := &group{home: c, policy: cs.Policy, local: gs.IDC == idc, priority: gs.Priority}
		for _, bs := range gs.Backends {
			be := c.backends[bs.URI]
			if be == nil {
				be = newBackend(b, c, bs)
				c.backends[bs.URI] = be
			}
			be.idc.Store(&where)
			be.capacity.Store(int64(bs.Capacity))
			be.weight.Store(int64(bs.Weight))
			be.removed.Store(false)
			g.members = append(g.members, member{backend: be})
			next.listed = append(next.listed, listed{be, gs.Priority})
			next.byID[be.id] = be
			now = append(now, shape{i, bs.URI, bs.Weight})
		}
		g.setShares()
		groups = append(groups, g)
	}
	if !slices.Equal(c.shape, now) {
		c.shape = now
		for _, be := range c.backends {
			be.current = 0
		}
	}
	slices.SortStableFunc(groups, func(x, y *group) int {
		if x.local != y.local {
			if x.local {
				return -1
			}
			return 1
		}
		return cmp.Compare(x.priority, y.priority)
	})
	return groups
}

// setShares makes the load comparable: sessions for capacity and weight, or for weight alone when some member has no
// capacity to compare with.
func (g *group) setShares() {
	unlimited := slices.ContainsFunc(g.members, func(m member) bool { return m.backend.Capacity() == Unlimited })
	for i := range g.members {
		m := &g.members[i]
		m.share = uint64(m.backend.Weight())
		if !unlimited {
			m.share *= uint64(m.backend.Capacity())
		}
	}
}

// newPlan lists the groups of the cluster and then, depth first, those of its fallbacks, each cluster once.
func newPlan(name string, groups map[string][]*group, fallback map[string][]string) *plan {
	p := &plan{}
	var visit func(string)
	visit = func(c string) {
		if slices.Contains(p.clusters, c) {
			return
		}
		p.clusters = append(p.clusters, c)
		index := len(p.clusters) - 1
		for _, g := range groups[c] {
			first := groups[c][0]
			chosen := index == 0 && g.local == first.local && g.priority == first.priority
			p.levels = append(p.levels, level{group: g, cluster: index, fallback: !chosen})
		}
		for _, f := range fallback[c] {
			visit(f)
		}
	}
	visit(name)
	return p
}
