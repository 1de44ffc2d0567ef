package health

import (
	"sync"
	"sync/atomic"
	"time"
)

// entry is one backend in the Runner.
type entry struct {
	key uint32
	// calm: a CallOK would change nothing, so Report need not look further.
	calm atomic.Bool
	// kick asks the probe loop for a probe now, retime for a new timing; both hold one request at most.
	kick, retime chan struct{}

	mu      sync.Mutex
	target  Target
	group   *group
	status  Status
	gone    bool     // no longer a target: evidence and changes are dropped
	pending []Change // not yet passed to OnChange
	history []Transition
}

func newEntry(t Target, g *group) *entry {
	e := &entry{key: t.Key, target: t, group: g, kick: make(chan struct{}, 1), retime: make(chan struct{}, 1)}
	e.calm.Store(true)
	return e
}

// signal leaves a request in a channel of length one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (e *entry) snapshot() (Target, Status) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.target, e.status
}

// retarget takes new settings, and has the loop take up a new timing.
func (e *entry) retarget(t Target, g *group) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.target.Policy.Interval != t.Policy.Interval {
		signal(e.retime)
	}
	e.target, e.group = t, g
	g.join(e.status)
	e.calm.Store(e.indifferent())
}

func (e *entry) remove() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gone, e.pending = true, nil
	e.calm.Store(true)
}

// indifferent reports whether a CallOK would change nothing. mu is held.
func (e *entry) indifferent() bool {
	return e.target.Policy.ErrorRate == 0 && Next(e.status, Event{Kind: CallOK}, e.target.Policy) == e.status
}

// apply weighs one piece of evidence; it returns whether there is a first change to pass on.
func (e *entry) apply(ev Event) (notify bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone {
		return false
	}
	from := e.status
	to := e.group.weigh(from, ev, e.target.Policy)
	e.status = to
	e.calm.Store(e.indifferent())
	if from.State != to.State {
		e.remember(from, to, ev)
	}
	if to.Ejected && !from.Ejected || to.doubtful() && !from.doubtful() && ev.fromCall() {
		signal(e.kick) // whether probes fail too decides how it goes on
	}
	return e.queue(from, to)
}

// queue notes a change. A later hold is merged into a change that still waits, so that a flood of refusals does not
// pile up.
func (e *entry) queue(from, to Status) bool {
	moved := from.State != to.State
	if !moved && from.HoldUntil.Equal(to.HoldUntil) && from.Dead() == to.Dead() && from.Suspect == to.Suspect {
		return false
	}
	if n := len(e.pending); n > 0 && !moved {
		e.pending[n-1].To = to
		return false
	}
	e.pending = append(e.pending, Change{Key: e.key, Name: e.target.Name, From: from, To: to})
	return len(e.pending) == 1
}

// take returns the changes that wait.
func (e *entry) take() []Change {
	e.mu.Lock()
	defer e.mu.Unlock()
	changes := e.pending
	e.pending = nil
	return changes
}

// stamped fills in the time.
func (ev Event) stamped(now func() time.Time) Event {
	if ev.At.IsZero() {
		ev.At = now()
	}
	return ev
}
