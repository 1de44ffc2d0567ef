package balancer

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"
)

// maxCPS bounds MaxCPS, since the time of each is remembered.
const maxCPS = 10000

// Unlimited as a capacity means that any number of sessions is accepted.
const Unlimited = -1

// Spec is everything configured about balancing. Apply copies what it needs of it.
type Spec struct {
	// IDC is the data centre of this instance: groups of the same IDC are tried first.
	IDC      string
	Clusters []ClusterSpec
	// Now is the present time: the slow start of new backends begins with it.
	Now time.Time
}

// ClusterSpec is a set of servers that do the same. Names are unique.
type ClusterSpec struct {
	Name   string
	Policy Policy
	// Fallback names the clusters tried after this one, each followed by its own fallbacks. Cycles do no harm.
	Fallback []string
	Groups   []GroupSpec
	// Licences is how many sessions the cluster's backends may have at once, all together; 0 for no limit.
	Licences int
	// SlowStart is how long the share of a backend grows that is new in the cluster, or back; 0 for not at all.
	SlowStart time.Duration
	// FailbackAfter is how long a group that had no usable backend is passed over after it has one again, while another
	// group can take the session; FailbackRamp is over what time its sessions come back then.
	FailbackAfter, FailbackRamp time.Duration
	// Panic: when every backend is down, the least bad one is tried.
	Panic bool
	// Spill bounds what this instance takes of the cluster's capacity in another IDC.
	Spill Spill
}

// Spill is a bound for sessions in one other IDC: a number, or a part of its capacity, which all of its backends must
// have then. The zero value is no bound.
type Spill struct {
	Sessions int
	Percent  int
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
	// Resources is how many sessions it accepts at once that ask for an MRCP resource, by its name in lower case.
	Resources map[string]int
	// MaxCPS is how many sessions may be placed there within a second; 0 for any number.
	MaxCPS int
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
	switch {
	case int(c.Policy) >= len(policies):
		return fmt.Errorf("unknown %v", c.Policy)
	case c.Licences < 0:
		return fmt.Errorf("licences %d: want 0 (no limit) or more", c.Licences)
	case c.SlowStart < 0 || c.FailbackAfter < 0 || c.FailbackRamp < 0:
		return errors.New("a negative duration")
	case c.Spill.Sessions < 0 || c.Spill.Percent < 0 || c.Spill.Percent > 100:
		return fmt.Errorf("spill %+v: want 0 or more sessions, 0 to 100 percent", c.Spill)
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
	case b.MaxCPS < 0 || b.MaxCPS > maxCPS:
		return fmt.Errorf("max cps %d: want 0 (any) to %d", b.MaxCPS, maxCPS)
	case len(b.Resources) > maxPools:
		return fmt.Errorf("%d resources with a limit: want %d at most", len(b.Resources), maxPools)
	}
	for name, n := range b.Resources {
		if n < Unlimited || n > math.MaxInt32 {
			return fmt.Errorf("capacity %d for %s: want -1 (unlimited) to %d", n, name, math.MaxInt32)
		}
	}
	return nil
}
