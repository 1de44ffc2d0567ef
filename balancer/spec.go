package balancer

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
)

// Unlimited as a capacity means that any number of sessions is accepted.
const Unlimited = -1

// Policy says how a backend is chosen among the eligible ones of a group.
type Policy uint8

const (
	// LeastLoad takes the backend with the fewest sessions for its capacity and weight; equals take turns.
	LeastLoad Policy = iota
	// Weighted is smooth weighted round robin: picks in proportion to the weights, interleaved.
	Weighted
)

// String returns the name used in the configuration.
func (p Policy) String() string {
	switch p {
	case LeastLoad:
		return "least-load"
	case Weighted:
		return "weighted"
	}
	return fmt.Sprintf("policy(%d)", uint8(p))
}

// ParsePolicy is the inverse of String.
func ParsePolicy(name string) (Policy, error) {
	for _, p := range []Policy{LeastLoad, Weighted} {
		if name == p.String() {
			return p, nil
		}
	}
	return 0, fmt.Errorf("unknown policy %q: want least-load or weighted", name)
}

// Spec is everything configured about balancing. Apply copies what it needs of it.
type Spec struct {
	// IDC is the data centre of this instance: groups of the same IDC are tried first.
	IDC      string
	Clusters []ClusterSpec
}

// ClusterSpec is a set of servers that do the same. Names are unique.
type ClusterSpec struct {
	Name   string
	Policy Policy
	// Fallback names the clusters tried after this one, each followed by its own fallbacks. Cycles do no harm.
	Fallback []string
	Groups   []GroupSpec
}

// GroupSpec is the backends of a cluster in one IDC. A lower Priority is tried earlier.
type GroupSpec struct {
	IDC      string
	Priority int
	Backends []BackendSpec
}

// BackendSpec is one server. The URI is unique in its cluster and settles Network, Addr and User.
type BackendSpec struct {
	// URI is the SIP URI as configured, for example "sip:10.1.1.180:8060;transport=tcp".
	URI string
	// Network is "udp", "tcp" or "tls".
	Network string
	Addr    netip.AddrPort
	// User is the user part of the URI, which may be empty.
	User string
	// Capacity is how many sessions the server accepts at once; Unlimited for no limit, 0 for none at all.
	Capacity int
	// Weight is the server's share relative to the others of its group; 0 means no new sessions.
	Weight int
}

// validate reports everything that is wrong with the specification.
func (s Spec) validate() error {
	var errs []error
	known := make(map[string]bool, len(s.Clusters))
	for _, c := range s.Clusters {
		if c.Name == "" {
			errs = append(errs, errors.New("cluster without a name"))
		} else if known[c.Name] {
			errs = append(errs, fmt.Errorf("cluster %q: defined twice", c.Name))
		}
		known[c.Name] = true
	}
	ids := make(map[uint32]string)
	for _, c := range s.Clusters {
		if err := c.validate(known, ids); err != nil {
			errs = append(errs, fmt.Errorf("cluster %q: %w", c.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (c ClusterSpec) validate(known map[string]bool, ids map[uint32]string) error {
	if c.Policy > Weighted {
		return fmt.Errorf("unknown %v", c.Policy)
	}
	for _, f := range c.Fallback {
		if !known[f] {
			return fmt.Errorf("fallback %q: no such cluster", f)
		}
	}
	seen := make(map[string]bool)
	for _, g := range c.Groups {
		for _, b := range g.Backends {
			if err := b.validate(); err != nil {
				return fmt.Errorf("backend %q: %w", b.URI, err)
			}
			if seen[b.URI] {
				return fmt.Errorf("backend %q: defined twice", b.URI)
			}
			seen[b.URI] = true
			id, name := backendID(c.Name, b.URI), c.Name+" "+b.URI
			if other, taken := ids[id]; taken && other != name {
				return fmt.Errorf("backend %q: has the same id as %q: write its URI in another way", b.URI, other)
			}
			ids[id] = name
		}
	}
	return nil
}

func (b BackendSpec) validate() error {
	switch {
	case b.URI == "":
		return errors.New("no URI")
	case b.Network != "udp" && b.Network != "tcp" && b.Network != "tls":
		return fmt.Errorf("network %q: want udp, tcp or tls", b.Network)
	case !b.Addr.IsValid() || b.Addr.Port() == 0:
		return errors.New("no address")
	case b.Capacity < Unlimited || b.Capacity > math.MaxInt32:
		return fmt.Errorf("capacity %d: want -1 (unlimited) to %d", b.Capacity, math.MaxInt32)
	case b.Weight < 0 || b.Weight > math.MaxInt32:
		return fmt.Errorf("weight %d: want 0 to %d", b.Weight, math.MaxInt32)
	}
	return nil
}
