package health

import (
	"cmp"
	"context"
	"math/rand/v2"
	"time"
)

// Target is a backend to keep the state of.
type Target struct {
	// Key identifies the backend: a target of the same key in a later Apply is the same backend.
	Key uint32
	// Name is for people.
	Name string
	// Group is what Policy.MaxEjected is a part of.
	Group  string
	Policy Policy
	// Info is what the Prober needs to know; the Runner only passes it on.
	Info any
}

// Result is how a probe ended.
type Result struct {
	// OK: the server takes sessions. Draining: it is there and asks for none. Neither: the probe failed.
	OK, Draining bool
	// Code is the SIP status code of the answer; 0 when there was none.
	Code int
	// Reason says what was wrong.
	Reason string
	// Duration is how long the probe took; a Runner fills it in when it is zero.
	Duration time.Duration
}

// event is the result as evidence.
func (r Result) event(at time.Time) Event {
	switch {
	case r.OK:
		return Event{Kind: ProbeOK, At: at}
	case r.Draining:
		return Event{Kind: ProbeDraining, Reason: r.Reason, At: at}
	}
	return Event{Kind: ProbeFailed, Reason: r.Reason, At: at}
}

// Prober asks a server whether it works. Probe returns when ctx ends at the latest; it is called concurrently for
// different targets, never for the same one.
type Prober interface {
	Probe(ctx context.Context, t Target) Result
}

// Change is a change of a backend's state or hold.
type Change struct {
	Key      uint32
	Name     string
	From, To Status
}

const (
	defaultInterval = 10 * time.Second
	// First probes are this far apart, or closer when there are many of them: all are sent within firstSpread.
	firstStep   = 20 * time.Millisecond
	firstSpread = time.Second
)

func (p Policy) interval() time.Duration {
	if p.Interval <= 0 {
		return defaultInterval
	}
	return p.Interval
}

func (p Policy) timeout() time.Duration {
	if p.Timeout <= 0 {
		return p.interval()
	}
	return p.Timeout
}

// slowAfter is how long a backend must be down to be probed slowly.
const slowAfter = time.Minute

// pause is the time to the next probe.
func (p Policy) pause(s Status, now time.Time) time.Duration {
	d := p.interval()
	switch {
	case s.doubtful():
		d = min(d, cmp.Or(p.Fast, d))
	case s.State == Down && !s.Ejected && s.Successes == 0 && now.Sub(s.Since) > slowAfter:
		d = max(d, p.Slow)
	}
	return jittered(d, p.Jitter)
}

// jittered varies an interval by up to a fraction of it either way, 0 to 1.
func jittered(d time.Duration, jitter float64) time.Duration {
	vary := min(max(jitter, 0), 1) * (2*rand.Float64() - 1)
	return max(time.Duration(float64(d)*(1+vary)), time.Millisecond)
}

// doubtful reports whether evidence and state do not quite agree: the next probes are to decide it soon.
func (s Status) doubtful() bool {
	if s.State == Down {
		return s.Successes > 0 && !s.Ejected
	}
	return s.Failures > 0 || s.CallFailures > 0 || s.Suspect
}

// anew is the time to the next probe after the interval has changed: anywhere in it, so that a reload which changes it
// for all targets does not bring a burst.
func (p Policy) anew() time.Duration {
	return time.Duration(float64(p.interval()) * rand.Float64())
}

// firstDelay is the time to the first probe of the ith of n targets.
func (p Policy) firstDelay(i, n int) time.Duration {
	step := min(min(p.interval(), firstSpread)/time.Duration(n), firstStep)
	return time.Duration(i) * step
}
