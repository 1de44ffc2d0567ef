package wheel

import (
	"math/rand/v2"
	"testing"
)

// TestOracle drives the wheel beside a plain map of due times.
func TestOracle(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	w := New[int](64, 10, 0)
	timers := make([]Timer[int], 200)
	due := map[int]int64{}
	for i := range timers {
		timers[i].Value = i
	}
	now := int64(0)
	for range 20000 {
		switch i := rng.IntN(len(timers)); rng.IntN(4) {
		case 0, 1:
			at := max(now, now+rng.Int64N(3000)-100) // up to several turns, some at once
			w.Arm(&timers[i], at)
			due[i] = at
		case 2:
			w.Disarm(&timers[i])
			delete(due, i)
		case 3:
			now += rng.Int64N(40)
			if rng.IntN(100) == 0 {
				now += 5000 // longer than a turn
			}
			w.Advance(now, func(i int) {
				at, ok := due[i]
				if !ok || at > now {
					t.Fatalf("timer %d fired at %d, due %d (armed %v)", i, now, at, ok)
				}
				delete(due, i)
			})
			for i, at := range due {
				if at <= now-10 {
					t.Fatalf("timer %d due at %d has not fired at %d", i, at, now)
				}
			}
		}
		if w.Len() != len(due) {
			t.Fatalf("Len %d, want %d", w.Len(), len(due))
		}
	}
}

// TestRearmInFire arms the firing timer for the past: it must fire at the next Advance, not for ever in this one.
func TestRearmInFire(t *testing.T) {
	w := New[int](8, 10, 0)
	var tm Timer[int]
	n := 0
	w.Arm(&tm, 20)
	for now := int64(20); now < 60; now += 10 {
		w.Advance(now, func(int) {
			n++
			w.Arm(&tm, 0)
		})
	}
	if n != 4 {
		t.Fatalf("fired %d times in 4 ticks", n)
	}
}

func BenchmarkArmAdvance(b *testing.B) {
	w := New[int](4096, 10, 0)
	timers := make([]Timer[int], 4096)
	b.ReportAllocs()
	for i := range b.N {
		w.Arm(&timers[i&4095], int64(i)+3000)
		w.Advance(int64(i), func(int) {})
	}
}
