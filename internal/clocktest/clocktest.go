// Package clocktest is how tests judge by a clock on a machine that has other work too: the time in which it kept them from
// running is known, and does not count.
package clocktest

import (
	"sync/atomic"
	"testing"
	"time"
)

// pace is how often a Watch has to run.
const pace = 5 * time.Millisecond

// Watch knows for how long the machine has kept this process from running, though it had to. Other processes, those that are
// measured, were kept as well.
type Watch struct {
	begun               time.Time
	last, lost, longest atomic.Int64 // last: when it ran, in nanoseconds since begun
}

// Start watches until the test ends.
func Start(t testing.TB) *Watch {
	w := &Watch{begun: time.Now()}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(pace)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			late := w.late()
			w.lost.Add(int64(late))
			w.longest.Store(max(w.longest.Load(), int64(late)))
			w.last.Store(int64(time.Since(w.begun)))
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-done
	})
	return w
}

// late is for how long it should have run by now, and has not. As much as a pace is usual on a machine that has time, and would add up.
func (w *Watch) late() time.Duration {
	if d := time.Since(w.begun) - time.Duration(w.last.Load()) - pace; d > pace {
		return d
	}
	return 0
}

// Lost is the time since Start in which the machine kept the test from running.
func (w *Watch) Lost() time.Duration { return w.late() + time.Duration(w.lost.Load()) }

// Longest is the longest such time without a break.
func (w *Watch) Longest() time.Duration { return max(w.late(), time.Duration(w.longest.Load())) }

// Time is the time since Start, without Lost.
func (w *Watch) Time() time.Duration { return time.Since(w.begun) - w.Lost() }
