package store

import (
	"time"

	"mrcproxy/internal/wheel"
)

// lease is a session's place in its pools. It is in Store.leases until it is released.
type lease struct {
	key    uint64
	place  *Place
	ask    *ask // while it is not decided
	refs   int32
	state  leaseState
	real   bool // its session was established, as far as is known
	firm   bool // it was when it was last looked at
	sent   bool // Redis may have it, whatever the state is
	queued bool // in Store.due
	timer  wheel.Timer[*lease]
}

type leaseState uint8

const (
	waiting leaseState = iota // to be asked for
	asked                     // Redis is being asked
	held                      // in Redis
	local                     // admitted without Redis, or taken before this process began
	over                      // released
)

// ask is a wish for a lease.
type ask struct {
	limits []int
	ttl    time.Duration
	since  time.Time
	done   func(Verdict)
}

// gone is a lease to be taken out of Redis.
type gone struct {
	key     uint64
	place   *Place
	held    bool // it counts in pool.held
	session bool // it was established: another instance may have it, too
}

// take adds a lease. mu is held, here and below.
func (s *Store) take(key uint64, pl *Place, st leaseState) *lease {
	l := &lease{key: key, place: pl, refs: 1, state: st}
	l.timer.Value = l
	s.leases[key] = l
	for _, p := range pl.pools {
		p.leases[st]++
	}
	return l
}

// become has a lease that is not over be in another state.
func (l *lease) become(st leaseState) {
	for _, p := range l.place.pools {
		p.leases[l.state]--
		if st != over {
			p.leases[st]++
		}
	}
	l.state = st
}

// drop takes a lease out, here and, where it may be there, in Redis.
func (s *Store) drop(l *lease) {
	if l.state == held || l.state == local && l.sent {
		s.gone = append(s.gone, gone{l.key, l.place, l.state == held, l.real})
		s.nudge()
	}
	s.remove(l)
}

// renew has a lease put into Redis with the next exchange, if it is ours to renew.
func (s *Store) renew(l *lease) {
	if !l.queued && !(s.left && l.firm) {
		s.wheel.Disarm(&l.timer)
		l.queued = true
		s.due = append(s.due, l)
	}
}

func (s *Store) remove(l *lease) {
	delete(s.leases, l.key)
	s.wheel.Disarm(&l.timer)
	l.become(over)
}

// alone decides without Redis.
func (s *Store) alone(l *lease, limits []int, t *tell) Verdict {
	s.parts(t, l.place.pools, time.Now())
	l.become(local)
	v := s.rule.Load().admit(l.place.pools, limits)
	if v != Admitted {
		s.remove(l)
		s.stats.AloneRefused++
		return v
	}
	s.stats.AloneAdmitted++
	return v
}
