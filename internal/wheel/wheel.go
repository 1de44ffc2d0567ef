// Package wheel is a hashed timer wheel: constant-time arm and disarm of many coarse timers, with no goroutine, no clock
// and no lock of its own. The owner of a wheel calls it under the lock that guards what the timers belong to, and gives
// the time. It does not know what a timer means.
package wheel

// Timer is one timer, to be embedded in what it belongs to. The zero Timer is disarmed; Value must be set before it is
// first armed.
type Timer[T any] struct {
	next, prev *Timer[T]
	due        int64
	Value      T
}

// Armed reports whether the timer is in a wheel.
func (t *Timer[T]) Armed() bool { return t.next != nil }

// Due is the time it is armed for, in the wheel's unit.
func (t *Timer[T]) Due() int64 { return t.due }

// Wheel holds timers by the tick they are due at. A timer further away than one turn stays in its slot for more turns.
type Wheel[T any] struct {
	slots []Timer[T] // sentinels
	tick  int64      // length of a slot in the owner's unit of time
	now   int64      // slots before this one have been served
	n     int
	due   Timer[T] // Advance's sentinel, while it runs
}

// New makes a wheel of slots (a power of two) of tick units each, starting at now.
func New[T any](slots int, tick, now int64) *Wheel[T] {
	w := &Wheel[T]{slots: make([]Timer[T], slots), tick: tick, now: now / tick}
	for i := range w.slots {
		s := &w.slots[i]
		s.next, s.prev = s, s
	}
	return w
}

// Len is the number of armed timers.
func (w *Wheel[T]) Len() int { return w.n }

// Arm sets t to fire at due, or moves it there. A time already past fires at the next Advance.
func (w *Wheel[T]) Arm(t *Timer[T], due int64) {
	w.Disarm(t)
	t.due = due
	slot := max((due+w.tick-1)/w.tick, w.now)
	s := &w.slots[slot&int64(len(w.slots)-1)]
	t.next, t.prev = s, s.prev
	s.prev.next = t
	s.prev = t
	w.n++
}

// Disarm takes t out; a no-op when it is not armed.
func (w *Wheel[T]) Disarm(t *Timer[T]) {
	if t.next == nil {
		return
	}
	t.prev.next, t.next.prev = t.next, t.prev
	t.next, t.prev = nil, nil
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
		if s.next == s {
			continue
		}
		// Detach the slot: what fire arms into it belongs to a later turn.
		due := &w.due
		due.next, due.prev = s.next, s.prev
		due.next.prev, due.prev.next = due, due
		s.next, s.prev = s, s
		for due.next != due {
			t := due.next
			if t.due > now { // a later turn
				w.Arm(t, t.due)
				continue
			}
			w.Disarm(t)
			fire(t.Value)
		}
	}
}
