package balancer

import "time"

// failback is whether a group that had no usable backend has been steady for long enough to get its sessions back.
type failback struct {
	dead   bool      // it has no usable backend
	back   time.Time // since when it has been steady again; zero when it has its sessions
	credit float64   // for the ramp: a session is let through for each whole 1
}

// seen notes the number of usable backends at the install of a layout, which is no proof of anything else.
func (f *failback) seen(usable int) { f.dead = usable == 0 }

// changed follows a change of a backend's state, after which so many are usable.
func (f *failback) changed(usable int, worse bool, now time.Time) {
	switch {
	case usable == 0:
		f.dead, f.back = true, time.Time{}
	case f.dead:
		f.dead, f.back, f.credit = false, now, 0
	case worse && !f.back.IsZero():
		f.back = now // not steady yet
	}
}

// admits reports whether the group may have sessions while another can take them.
func (f *failback) admits(s *ClusterSpec, q *query) bool {
	if f.back.IsZero() {
		return true
	}
	since := q.Now.Sub(f.back) - s.FailbackAfter
	if since >= s.FailbackRamp {
		f.back = time.Time{}
		return true
	}
	if q.useHeld {
		return true
	}
	if since >= 0 {
		f.credit = min(f.credit+float64(since)/float64(s.FailbackRamp), 2)
		if f.credit >= 1 {
			return true
		}
	}
	q.sawHeld = true
	return false
}

// took notes a session that was let through.
func (f *failback) took() { f.credit = max(f.credit-1, 0) }
