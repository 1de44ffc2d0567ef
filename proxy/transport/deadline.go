package transport

import (
	"net"
	"time"
)

// deadline bounds how long a message may take to come in, from its first byte
// to its last, how long the first one may take from the beginning of the
// connection, and how long nothing may come.
type deadline struct {
	nc                  net.Conn
	header, first, idle time.Duration // first and idle: 0 is for ever

	begun   time.Time // of the connection
	partial time.Time // when a message began that has not ended; zero: none has
	last    time.Time // bytes came
	spoken  bool      // a whole message came
	set     time.Time // the connection's read deadline
}

func (d *deadline) start() {
	d.begun = time.Now()
	d.last = d.begun
	d.apply()
}

// progress says that bytes came: whether they completed a message, and whether
// one is incomplete now.
func (d *deadline) progress(completed, partial bool) {
	if completed {
		d.spoken = true
	}
	if !partial && d.idle <= 0 {
		d.partial = time.Time{}
		return // what is set may expire too early, which expired finds out
	}
	d.last = time.Now()
	switch {
	case !partial:
		d.partial = time.Time{}
	case completed || d.partial.IsZero():
		d.partial = d.last
	}
	if next := d.next(); d.set.IsZero() || next.Before(d.set) {
		d.apply()
	}
}

// next returns when the first of the times that run will have run out, zero
// when none runs.
func (d *deadline) next() time.Time {
	var at time.Time
	run := func(since time.Time, limit time.Duration) {
		if end := since.Add(limit); at.IsZero() || end.Before(at) {
			at = end
		}
	}
	if !d.spoken && d.first > 0 {
		run(d.begun, d.first)
	}
	if !d.partial.IsZero() {
		run(d.partial, d.header)
	} else if d.idle > 0 {
		run(d.last, d.idle)
	}
	return at
}

func (d *deadline) apply() {
	if next := d.next(); next != d.set {
		d.set = next
		_ = d.nc.SetReadDeadline(next)
	}
}

// expired returns why the connection is to be closed, or nil: the deadline is
// not put off with every read.
func (d *deadline) expired() error {
	switch now := time.Now(); {
	case !d.partial.IsZero() && now.Sub(d.partial) >= d.header:
		return ErrPartial
	case !d.spoken && d.first > 0 && now.Sub(d.begun) >= d.first:
		return ErrMute
	case d.partial.IsZero() && d.idle > 0 && now.Sub(d.last) >= d.idle:
		return ErrIdle
	}
	d.set = time.Time{}
	d.apply()
	if d.set.IsZero() {
		_ = d.nc.SetReadDeadline(d.set)
	}
	return nil
}
