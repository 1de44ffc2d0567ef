package store

import "time"

// breaker keeps a Redis that does not answer from costing anything: after the first failure nothing is asked of it but,
// now and then, whether it is back. It is pure: times are given.
type breaker struct {
	open  bool
	next  time.Time // when open: the next probe
	wait  time.Duration
	quiet time.Duration // that must pass before what was sent in vain is too late
}

const (
	firstProbe = 100 * time.Millisecond
	lastProbe  = time.Second
)

// fail opens it. timeout: what was sent may still be carried out. It reports whether it was closed.
func (b *breaker) fail(now time.Time, timeout bool) bool {
	first := !b.open
	if first {
		b.wait = 0 // a connection that was closed may have been idle for too long
		if timeout {
			b.wait = max(firstProbe, b.quiet)
		}
	} else {
		b.wait = min(max(2*b.wait, firstProbe, b.quiet), lastProbe)
	}
	b.open, b.next = true, now.Add(b.wait)
	return first
}

// due reports whether it is time for a probe.
func (b *breaker) due(now time.Time) bool { return b.open && !now.Before(b.next) }

// close is a probe that was answered in time.
func (b *breaker) close() { b.open, b.wait = false, 0 }
