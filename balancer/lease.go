package balancer

import "sync/atomic"

// Lease is one session's place at a backend, from Pick until Release.
type Lease struct {
	backend  *Backend
	level    int32
	fallback bool
	released atomic.Bool
}

// Backend is the server chosen.
func (l *Lease) Backend() *Backend { return l.backend }

// Fallback reports whether the backend is not of the cluster's first choice: of another cluster, another IDC than the
// groups tried first, or a lower priority.
func (l *Lease) Fallback() bool { return l.fallback }

// Level is the position, from 0, of the backend's group among the groups that were tried in order, those of fallback
// clusters included.
func (l *Lease) Level() int { return int(l.level) }

// Release gives the place back. It returns true the first time and does nothing after that; it is safe for concurrent
// use.
func (l *Lease) Release() bool {
	if l.released.Swap(true) {
		return false
	}
	if b := l.backend; b.leases.Add(-1) == 0 && b.removed.Load() {
		b.owner.forget(b)
	}
	return true
}
