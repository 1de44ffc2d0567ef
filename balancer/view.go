package balancer

import (
	"net/netip"
	"time"
)

// BackendView is a backend at one moment, for pages, metrics and tools.
type BackendView struct {
	Cluster string
	IDC     string
	// Priority is that of the backend's group; 0 for a removed one.
	Priority int
	URI      string
	ID       uint32
	Network  string
	Addr     netip.AddrPort
	// State is Removed for a backend that is no longer configured.
	State State
	// Sessions is the number of leases held.
	Sessions int
	// Elsewhere is the number of sessions of other instances, where it is known.
	Elsewhere int
	// Capacity is in sessions, or Unlimited.
	Capacity int
	// Resources are the limits for MRCP resources, in the order of their names.
	Resources []ResourceView
	// MaxCPS is in sessions a second; 0 for no limit.
	MaxCPS int
	Weight int
	// Picked counts the leases ever taken.
	Picked uint64
	// HoldUntil is when the backend is no longer passed over for a refusal; see Held.
	HoldUntil time.Time
	// StartedAt is when the backend's slow start began; zero when it is not in one.
	StartedAt time.Time
	// Latency is the moving average from an INVITE to its 2xx; 0 when there was none.
	Latency time.Duration
	Removed bool
}

// ResourceView is a limit for a resource. Sessions are those that were placed here since the resource has a limit, Elsewhere
// those of other instances, where it is known.
type ResourceView struct {
	Name                          string
	Sessions, Elsewhere, Capacity int
}

// ClusterView is a cluster at one moment.
type ClusterView struct {
	Name string
	// Sessions is the number of leases held, Elsewhere that of other instances, where it is known.
	Sessions, Elsewhere int
	// Licences is how many sessions there may be at once, or Unlimited.
	Licences int
	// Spilled is the number of leases held in other IDCs, by IDC; an IDC of the configuration without any is there too.
	Spilled map[string]int
	// SpillLimit bounds the leases in an IDC; one without a bound is not in it.
	SpillLimit map[string]int
}

// Clusters lists the configured clusters in their order.
func (b *Balancer) Clusters() []ClusterView {
	var views []ClusterView
	for _, l := range b.snap.Load().layouts {
		views = append(views, l.view())
	}
	return views
}

func (l *layout) view() ClusterView {
	c := l.home
	c.mu.Lock()
	defer c.mu.Unlock()
	v := ClusterView{Name: c.name, Sessions: c.licences.used, Elsewhere: c.licences.elsewhere, Licences: c.licences.limit,
		Spilled: map[string]int{}, SpillLimit: map[string]int{}}
	for _, g := range l.groups {
		if g.local {
			continue
		}
		v.Spilled[g.idc] += 0
		for i := range g.members {
			v.Spilled[g.idc] += g.members[i].backend.Sessions()
		}
		if g.spill != nil && g.spill.limit != Unlimited {
			v.SpillLimit[g.idc] = g.spill.limit
		}
	}
	return v
}

// Held reports whether the backend is passed over at now because it refused a session.
func (v BackendView) Held(now time.Time) bool { return now.Before(v.HoldUntil) }

// View lists the backends in the order of the configuration, and after them the removed ones that still have sessions.
func (b *Balancer) View() []BackendView {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.snap.Load()
	views := make([]BackendView, 0, len(s.listed)+len(b.removed))
	for _, l := range s.listed {
		v := l.backend.view()
		v.Priority = l.priority
		views = append(views, v)
	}
	for _, r := range b.removed {
		v := r.view()
		v.State, v.Removed = Removed, true
		views = append(views, v)
	}
	return views
}

func (b *Backend) view() BackendView {
	b.home.mu.Lock()
	defer b.home.mu.Unlock()
	v := BackendView{
		Cluster: b.Cluster(), IDC: b.IDC(), URI: b.uri, ID: b.id, Network: b.network, Addr: b.addr,
		State: b.State(), Sessions: b.Sessions(), Elsewhere: b.Elsewhere(), Capacity: b.Capacity(), Weight: b.Weight(),
		MaxCPS: len(b.rate.last), Picked: b.picked.Load(), HoldUntil: b.holdUntil, StartedAt: b.startedAt,
		Latency: time.Duration(b.latency * float64(time.Second)),
	}
	for _, p := range b.pools {
		if p.limit != Unlimited {
			v.Resources = append(v.Resources, ResourceView{p.name, p.used, p.elsewhere, p.limit})
		}
	}
	return v
}
