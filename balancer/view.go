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
	Weight   int
	// Picked counts the leases ever taken.
	Picked uint64
	// HoldUntil is when the backend is no longer passed over for a refusal; see Held.
	HoldUntil time.Time
	Removed   bool
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
	hold := b.holdUntil
	b.home.mu.Unlock()
	return BackendView{
		Cluster: b.Cluster(), IDC: b.IDC(), URI: b.uri, ID: b.id, Network: b.network, Addr: b.addr,
		State: b.State(), Sessions: b.Sessions(), Elsewhere: b.Elsewhere(), Capacity: b.Capacity(), Weight: b.Weight(),
		Picked: b.picked.Load(), HoldUntil: hold,
	}
}
