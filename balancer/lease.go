package balancer

import "sync/atomic"

// Lease is one session's place at a backend, from Pick until Release.
type Lease struct {
	backend  *Backend
	pools    uint32 // the backend's limits for resources that it counts against
	level    int32
	fallback bool
	panicked bool
	released atomic.Bool
	then     atomic.Pointer[func()] // OnRelease's
}

// Backend is the server chosen.
func (l *Lease) Backend() *Backend { return l.backend }

// Fallback reports whether the backend is not of the cluster's first choice: of another cluster, another IDC than the
// groups tried first, or a lower priority.
func (l *Lease) Fallback() bool { return l.fallback }

// Level is the position, from 0, of the backend's group among the groups that were tried in order, those of fallback
// clusters included.
func (l *Lease) Level() int { return int(l.level) }

// Panic reports whether the backend is one that is down, chosen because all of its cluster are.
func (l *Lease) Panic() bool { return l.panicked }

// Resources are the resources with a limit of their own that the lease counts against.
func (l *Lease) Resources() []string {
	b := l.backend
	b.home.mu.Lock()
	defer b.home.mu.Unlock()
	var names []string
	for i := range b.pools {
		if l.pools&(1<<i) != 0 {
			names = append(names, b.pools[i].name)
		}
	}
	return names
}

// OnRelease has f called when the lease is released, once. false: it is released already, and f may not be called.
func (l *Lease) OnRelease(f func()) bool {
	l.then.Store(&f)
	return !l.released.Load()
}

// Release gives the place back. It returns true the first time and does nothing after that; it is safe for concurrent
// use.
func (l *Lease) Release() bool {
	if l.released.Swap(true) {
		return false
	}
	b := l.backend
	b.home.mu.Lock()
	b.count(-1, l.pools)
	b.home.mu.Unlock()
	if b.leases.Load() == 0 && b.removed.Load() {
		b.owner.forget(b)
	}
	if f := l.then.Load(); f != nil {
		(*f)()
	}
	return true
}

// count adds n sessions to every count that they are part of. home.mu is held.
func (b *Backend) count(n int, pools uint32) {
	b.leases.Add(int64(n))
	for i := range b.pools {
		if pools&(1<<i) != 0 {
			b.pools[i].used += n
		}
	}
	b.home.licences.used += n
	if b.group != nil && b.group.spill != nil {
		b.group.spill.used += n
	}
	b.changed()
}

// changed has the group's orders follow a change of the backend. home.mu is held.
func (b *Backend) changed() {
	if b.group != nil {
		b.group.fix(b.index)
	}
}
