package balancer

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Balancer chooses backends and counts their sessions. All methods are safe for concurrent use.
type Balancer struct {
	snap atomic.Pointer[snapshot]

	mu       sync.Mutex          // serialises Apply and the forgetting of removed backends; taken before a cluster's mu
	clusters map[string]*cluster // configured, or with removed backends that still have sessions
	removed  []*Backend          // no longer configured, with sessions; in the order of removal
}

// cluster is what survives of a cluster when the configuration changes.
type cluster struct {
	name     string
	backends map[string]*Backend // by URI, removed ones too; guarded by Balancer.mu

	mu       sync.Mutex // makes choosing and counting one step; one cluster's is held at a time
	layout   *layout    // in use; nil when the cluster is no longer configured
	turn     uint64     // picks made
	drawn    uint64     // random numbers drawn
	shape    []shape
	licences pool
	memories map[place]*memory
}

// New returns a balancer with no clusters.
func New() *Balancer {
	b := &Balancer{clusters: make(map[string]*cluster)}
	b.snap.Store(&snapshot{})
	return b
}

// Apply installs a configuration. On error nothing has changed. Backends that stay keep leases, state, hold and
// counters; a new weight or capacity counts from the next Pick on. Backends that are gone get no new sessions, and are
// forgotten when their last lease is released. A URI whose network, address or user changed while it stayed in its
// cluster is an error.
func (b *Balancer) Apply(s Spec) error {
	if err := s.validate(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.checkIdentity(s); err != nil {
		return err
	}
	// The order matters to a Pick that runs meanwhile: it sees a layout that is no longer in use, or a removed backend, only
	// when a newer snapshot is there to try again with.
	next := b.build(s)
	b.snap.Store(next)
	b.install(next, s.Now)
	b.retire(next)
	return nil
}

// checkIdentity refuses a specification in which a known URI means another address.
func (b *Balancer) checkIdentity(s Spec) error {
	for _, c := range s.Clusters {
		old := b.clusters[c.Name]
		if old == nil {
			continue
		}
		for _, g := range c.Groups {
			for _, n := range g.Backends {
				o := old.backends[n.URI]
				if o != nil && (o.network != n.Network || o.addr != n.Addr || o.user != n.User) {
					return fmt.Errorf("cluster %q: backend %q: was %s %v, cannot become %s %v under the same URI",
						c.Name, n.URI, o.network, o.addr, n.Network, n.Addr)
				}
			}
		}
	}
	return nil
}

// retire stops new sessions at the backends that are not in next, and forgets those without sessions. mu is held.
func (b *Balancer) retire(next *snapshot) {
	for name, c := range b.clusters {
		c.mu.Lock()
		for uri, old := range c.backends {
			if next.byID[old.id] == old {
				continue
			}
			if !old.removed.Swap(true) {
				b.removed = append(b.removed, old)
				c.licences.elsewhere -= int(old.elsewhere.Swap(0)) // nobody tells of it any more
			}
			if old.leases.Load() == 0 {
				delete(c.backends, uri)
			}
		}
		c.mu.Unlock()
		if next.plans[name] == nil && len(c.backends) == 0 {
			delete(b.clusters, name)
		}
	}
	b.removed = slices.DeleteFunc(b.removed, func(r *Backend) bool {
		return !r.removed.Load() || r.leases.Load() == 0
	})
}

// forget drops a removed backend whose last lease has gone, unless it has been configured again meanwhile.
func (b *Balancer) forget(old *Backend) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !old.removed.Load() || old.leases.Load() != 0 {
		return
	}
	c := old.home
	if c.backends[old.uri] == old {
		delete(c.backends, old.uri)
	}
	if len(c.backends) == 0 && b.snap.Load().plans[c.name] == nil && b.clusters[c.name] == c {
		delete(b.clusters, c.name)
	}
	b.removed = slices.DeleteFunc(b.removed, func(r *Backend) bool { return r == old })
}

// SetState tells the balancer whether a backend can be used from now on. Sessions it has are not touched.
func (b *Balancer) SetState(backend *Backend, st State, now time.Time) {
	c := backend.home
	c.mu.Lock()
	defer c.mu.Unlock()
	was := State(backend.state.Swap(uint32(st)))
	if was == st || backend.group == nil {
		return
	}
	if was > Up && st <= Up {
		backend.start(now)
	}
	g := backend.group
	g.memory.changed(g.usable(), was <= Up && st > Up, now)
	backend.changed()
}

// SetRank says how bad a backend is while it is down: of those the lowest is tried in a panic.
func (b *Balancer) SetRank(backend *Backend, rank int) {
	backend.home.mu.Lock()
	defer backend.home.mu.Unlock()
	backend.rank = rank
}

// Hold passes a backend over until then, because it has refused a session: it is used only when no other can be. A
// later end wins over an earlier one; the zero time ends the hold.
func (b *Balancer) Hold(backend *Backend, until time.Time) {
	backend.home.mu.Lock()
	defer backend.home.mu.Unlock()
	if until.IsZero() || until.After(backend.holdUntil) {
		backend.holdUntil = until
	}
}

// SetElsewhere says how many sessions other instances have at a backend: they count against its capacity and the licences
// of its cluster, and as its load.
func (b *Balancer) SetElsewhere(backend *Backend, sessions int) {
	c := backend.home
	c.mu.Lock()
	defer c.mu.Unlock()
	if backend.removed.Load() {
		return // it will be forgotten, and its count with it
	}
	was := backend.elsewhere.Swap(int64(max(sessions, 0)))
	c.licences.elsewhere += max(sessions, 0) - int(was)
	backend.changed()
}

// SetElsewhereFor says the same of the sessions that ask for a resource, where that has a limit at the backend.
func (b *Balancer) SetElsewhereFor(backend *Backend, resource string, sessions int) {
	c := backend.home
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := backend.pool(resource); i >= 0 {
		backend.pools[i].elsewhere = max(sessions, 0)
		backend.changed()
	}
}

// Backends returns all configured backends in the order of the configuration.
func (b *Balancer) Backends() []*Backend {
	s := b.snap.Load()
	all := make([]*Backend, len(s.listed))
	for i, l := range s.listed {
		all[i] = l.backend
	}
	return all
}

// Lookup finds a backend by its ID, also one that is removed and still has sessions; nil when unknown.
func (b *Balancer) Lookup(id uint32) *Backend {
	if found := b.snap.Load().byID[id]; found != nil {
		return found
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.removed {
		if r.id == id {
			return r
		}
	}
	return nil
}
