package clocktest

import (
	"testing"
	"testing/synctest"
	"time"
)

// In a bubble no time passes but what is slept: nothing is lost.
func TestNothingLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := Start(t)
		time.Sleep(10 * time.Second)
		if w.Lost() != 0 || w.Longest() != 0 || w.Time() != 10*time.Second {
			t.Errorf("lost %v, longest %v, time %v", w.Lost(), w.Longest(), w.Time())
		}
	})
}

// What stands still is known while it does, before the watch has run again, and after; what is late by less than a pace is not.
func TestLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const still = 300 * time.Millisecond
		w := &Watch{begun: time.Now().Add(-still - pace)}
		if w.Lost() != still || w.Longest() != still || w.Time() != pace {
			t.Errorf("lost %v, longest %v, time %v", w.Lost(), w.Longest(), w.Time())
		}
		w.lost.Store(int64(time.Second))
		w.longest.Store(int64(still / 2))
		if w.Lost() != time.Second+still || w.Longest() != still {
			t.Errorf("lost %v, longest %v", w.Lost(), w.Longest())
		}
		w.last.Store(int64(still - pace))
		if w.Lost() != time.Second || w.Longest() != still/2 {
			t.Errorf("just in time: lost %v, longest %v", w.Lost(), w.Longest())
		}
	})
}
