package balancer

import (
	"fmt"
	"slices"
	"strings"
)

// cause is why a backend was not eligible.
type cause uint8

const (
	causeNone cause = iota
	causeFull
	causeRate
	causeLicences
	causeSpill
	causeDown
	causeDraining
	causeTried
	causeWeight
	causeRemoved // by an Apply during the pick
)

// Refusal says why Pick gave no lease. The zero value comes with a lease.
type Refusal struct {
	// Clusters are the cluster asked for and then the fallbacks, in the order they were tried.
	Clusters []ClusterRefusal
}

// ClusterRefusal counts the backends of one cluster by the first cause that kept each from being chosen, in this order
// of precedence: down or draining, weight 0, tried, licences, spill, full, rate.
type ClusterRefusal struct {
	Name string
	// Unknown: there is no such cluster.
	Unknown bool
	// Full has no place left, or none that the request may take.
	Full int
	// Rate has had its sessions for this second.
	Rate int
	// Licences: the cluster has none left.
	Licences int
	// Spill: it is in another IDC, of which this instance has what it may.
	Spill int
	Down  int
	// Draining gets no new sessions.
	Draining int
	// Tried before for this session.
	Tried int
	// Weightless has weight 0.
	Weightless int
}

// refusal counts the causes.
func (p *plan) refusal(q *query) Refusal {
	r := Refusal{Clusters: make([]ClusterRefusal, len(p.clusters))}
	for i, name := range p.clusters {
		r.Clusters[i].Name = name
	}
	for _, lv := range p.levels {
		lv.group.count(q, &r.Clusters[lv.cluster])
	}
	return r
}

func (g *group) count(q *query, into *ClusterRefusal) {
	g.layout.home.mu.Lock()
	defer g.layout.home.mu.Unlock()
	closed := g.closed(q)
	for i := range g.members {
		into.add(g.members[i].backend.refuses(q, closed))
	}
}

// refuses returns the first reason not to choose the backend, whose group is closed for a cause of its own or for none.
// What has got room meanwhile counts as full. home.mu is held.
func (b *Backend) refuses(q *query, closed cause) cause {
	switch st := b.State(); {
	case b.removed.Load():
		return causeRemoved
	case st == Draining:
		return causeDraining
	case st != Up && st != Unknown:
		return causeDown
	case b.weight.Load() <= 0:
		return causeWeight
	case slices.Contains(q.Tried, b.addr):
		return causeTried
	case closed != causeNone:
		return closed
	case !b.rate.admits(q.Now) && b.free():
		return causeRate
	}
	return causeFull
}

func unknownCluster(name string) Refusal {
	return Refusal{Clusters: []ClusterRefusal{{Name: name, Unknown: true}}}
}

func (c *ClusterRefusal) add(why cause) {
	switch why {
	case causeFull:
		c.Full++
	case causeRate:
		c.Rate++
	case causeLicences:
		c.Licences++
	case causeSpill:
		c.Spill++
	case causeDown:
		c.Down++
	case causeDraining:
		c.Draining++
	case causeTried:
		c.Tried++
	case causeWeight:
		c.Weightless++
	}
}

// Full reports whether some backend was refused for nothing but a limit: time, or a session that ends, makes room.
func (r Refusal) Full() bool {
	for _, c := range r.Clusters {
		if c.Full+c.Rate+c.Licences+c.Spill > 0 {
			return true
		}
	}
	return false
}

// String is for logs, for example `cluster "baidu": 2 full, 1 down; cluster "ali": 3 full`; empty when a lease was
// given.
func (r Refusal) String() string {
	var sb strings.Builder
	for i, c := range r.Clusters {
		if i > 0 {
			sb.WriteString("; ")
		}
		fmt.Fprintf(&sb, "cluster %q: %s", c.Name, c.causes())
	}
	return sb.String()
}

func (c ClusterRefusal) causes() string {
	if c.Unknown {
		return "unknown"
	}
	var parts []string
	for _, p := range []struct {
		n    int
		name string
	}{{c.Full, "full"}, {c.Rate, "at their rate"}, {c.Licences, "without a licence"}, {c.Spill, "beyond the spill limit"}, {c.Down, "down"}, {c.Draining, "draining"}, {c.Tried, "tried"}, {c.Weightless, "weight 0"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.name))
		}
	}
	if parts == nil {
		return "no backends"
	}
	return strings.Join(parts, ", ")
}
