package balancer

import (
	"fmt"
	"strings"
)

// cause is why a backend was not eligible.
type cause uint8

const (
	causeFull cause = iota
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
// of precedence: down or draining, weight 0, tried, full.
type ClusterRefusal struct {
	Name string
	// Unknown: there is no such cluster.
	Unknown bool
	Full    int
	Down    int
	// Draining gets no new sessions.
	Draining int
	// Tried before for this session.
	Tried int
	// Weightless has weight 0.
	Weightless int
}

func newRefusal(clusters []string) Refusal {
	r := Refusal{Clusters: make([]ClusterRefusal, len(clusters))}
	for i, name := range clusters {
		r.Clusters[i].Name = name
	}
	return r
}

func unknownCluster(name string) Refusal {
	return Refusal{Clusters: []ClusterRefusal{{Name: name, Unknown: true}}}
}

func (c *ClusterRefusal) add(why cause) {
	switch why {
	case causeFull:
		c.Full++
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

// Full reports whether some backend was refused for nothing but its capacity: a session that ends makes room.
func (r Refusal) Full() bool {
	for _, c := range r.Clusters {
		if c.Full > 0 {
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
	}{{c.Full, "full"}, {c.Down, "down"}, {c.Draining, "draining"}, {c.Tried, "tried"}, {c.Weightless, "weight 0"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.name))
		}
	}
	if parts == nil {
		return "no backends"
	}
	return strings.Join(parts, ", ")
}
