package balancer

import (
	"cmp"
	"slices"
)

// snapshot is one configuration made ready for picking. It is never changed once stored, but for what its groups keep under
// the mu of their cluster.
type snapshot struct {
	plans   map[string]*plan
	layouts []*layout
	listed  []listed // in the order of the configuration
	byID    map[uint32]*Backend
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

// build makes the backends that are new, and returns the snapshot. Nothing that picks use is changed. mu is held.
func (b *Balancer) build(s Spec) *snapshot {
	next := &snapshot{plans: make(map[string]*plan, len(s.Clusters)), byID: make(map[uint32]*Backend)}
	groups := make(map[string][]*group, len(s.Clusters))
	fallback := make(map[string][]string, len(s.Clusters))
	for i := range s.Clusters {
		cs := &s.Clusters[i]
		c := b.clusters[cs.Name]
		if c == nil {
			c = newCluster(cs.Name)
			b.clusters[cs.Name] = c
		}
		l := b.buildLayout(next, c, cs, s.IDC)
		next.layouts = append(next.layouts, l)
		groups[cs.Name] = l.groups
		fallback[cs.Name] = cs.Fallback
	}
	for _, cs := range s.Clusters {
		next.plans[cs.Name] = newPlan(cs.Name, groups, fallback)
	}
	return next
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

// byDistance orders groups as they are tried.
func byDistance(x, y *group) int {
	if x.local != y.local {
		if x.local {
			return -1
		}
		return 1
	}
	return cmp.Compare(x.priority, y.priority)
}
