// Package wheel is a hashed timer wheel: constant-time arm and disarm of many coarse timers, with no goroutine, no clock
// and no lock of its own. The owner of a wheel calls it under the lock that guards what the timers belong to, and gives
// the time. It does not know what a timer means.
package wheel

// Timer is one timer, to be embedded in what it belongs to. The zero Timer is disarmed; Value must be set before it is
// first armed.
type Timer[T any] struct {
	next  *Timer[T]
	at    **Timer[T] // what points to it: its slot, or the next of the one before it; nil while it is disarmed
	due   int64
	Value T
}

// Armed reports whether the timer is in a wheel.
func (t *Timer[T]) Armed() bool { return t.at != nil }

// Due is the time it is armed for, in the wheel's unit.
func (t *Timer[T]) Due() int64 { return t.due }

// Wheel holds timers by the tick they are due at. A timer further away than one turn stays in its slot for more turns.
type Wheel[T any] struct {
	slots []*Timer[T] // the last armed first
	tick  int64       // length of a slot in the owner's unit of time
	now   int64       // slots before this one have been served
	n     int
	due   *Timer[T] // of the slot that Advance serves, the first armed first
}

// New makes a wheel of slots (a power of two) of tick units each, starting at now.
func New[T any](slots int, tick, now int64) *Wheel[T] {
	return &Wheel[T]{slots: make([]*Timer[T], slots), tick: tick, now: now / tick}
}

// Len is the number of armed timers.
func (w *Wheel[T]) Len() int { return w.n }

// Arm sets t to fire at due, or moves it there. A time already past fires at the next Advance.
func (w *Wheel[T]) Arm(t *Timer[T], due int64) {
	w.Disarm(t)
	t.due = due
	slot := max((due+w.tick-1)/w.tick, w.now)
	t.push(&w.slots[slot&int64(len(w.slots)-1)])
	w.n++
}

// push puts a timer that is in no list in front of the one that begins at list.
func (t *Timer[T]) push(list **Timer[T]) {
	t.next, t.at = *list, list
	if t.next != nil {
		t.next.at = &t.next
	}
	*list = t
}

// pull takes a timer out of its list.
func (t *Timer[T]) pull() {
	*t.at = t.next
	if t.next != nil {
		t.next.at = t.at
	}
	t.next, t.at = nil, nil
}

// Disarm takes t out; a no-op when it is not armed.
func (w *Wheel[T]) Disarm(t *Timer[T]) {
	if t.at == nil {
		return
	}
	t.pull()
	w.n--
}

// Advance moves the wheel to now and calls fire for each timer that is due, disarmed before. fire may arm and disarm
// timers of the wheel; what it arms for now or earlier fires at the next Advance.
func (w *Wheel[T]) Advance(now int64, fire func(T)) {
	target := now/w.tick + 1
	if w.n == 0 {
		w.now = max(w.now, target)
		return
	}
	if target-w.now > int64(len(w.slots)) {
		w.now = target - int64(len(w.slots)) // a long pause: each slot once is enough
	}
	for w.now < target {
		s := &w.slots[w.now&int64(len(w.slots)-1)]
		w.now++
		// The slot is emptied first: what fire arms into it belongs to a later turn.
		for t := *s; t != nil; t = *s {
			t.pull()
			t.push(&w.due)
		}
		for t := w.due; t != nil; t = w.due {
			if t.due > now { // a later turn
				w.Arm(t, t.due)
				continue
			}
			w.Disarm(t)
			fire(t.Value)
		}
	}
}
