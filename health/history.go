package health

import (
	"slices"
	"time"
)

// Transition is a change of a backend's state with the evidence for it.
type Transition struct {
	At       time.Time
	From, To State
	// Evidence is the event that made the change, and Reason says why, for people.
	Evidence EventKind
	Reason   string
}

// kept is how many transitions are remembered of each backend.
const kept = 50

// remember keeps a transition. mu is held.
func (e *entry) remember(from, to Status, ev Event) {
	if len(e.history) == kept {
		e.history = slices.Delete(e.history, 0, 1)
	}
	e.history = append(e.history, Transition{At: ev.At, From: from.State, To: to.State, Evidence: ev.Kind, Reason: to.Reason})
}

// History gives the last 50 changes of a backend's state, the oldest first; nil when it is no target.
func (r *Runner) History(key uint32) []Transition {
	e := (*r.entries.Load())[key]
	if e == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.history)
}
