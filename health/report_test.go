package health

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Changes wait for Run; a flood of refusals before it does not pile up, and no change of state is lost. The probe that follows
// finds the server dead.
func TestChangesWaitInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		f := newFarm()
		f.set(0, Result{}, true) // its probe takes a second: what waits is passed on before, not merged with what it finds
		r := NewRunner(Options{Prober: f, OnChange: func(c Change) {
			got = append(got, fmt.Sprintf("%v-%v %v", c.From.State, c.To.State, c.To.HoldUntil.Sub(t0)))
		}})
		p := policy
		p.Fall = 99
		r.Apply(targets(1, p))
		for i := range 1000 {
			r.Report(0, Event{Kind: CallRefused, At: t0.Add(time.Duration(i) * time.Second)})
		}
		for range 3 {
			r.Report(0, Event{Kind: CallFailed, At: t0})
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_ = r.Run(ctx)
		if want := []string{"unknown-unknown 16m41s", "unknown-down 16m41s", "down-down 16m41s"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

func TestManyReporters(t *testing.T) {
	var last sync.Map
	r := NewRunner(Options{Prober: newFarm(), OnChange: func(c Change) {
		if from, ok := last.Swap(c.Key, c.To.State); ok && from != c.From.State {
			t.Errorf("change from %v after one to %v", c.From.State, from)
		}
	}})
	p := policy
	p.Interval = time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	var wg, run sync.WaitGroup
	run.Go(func() { _ = r.Run(ctx) })
	r.Apply(targets(4, p))
	for w := range 8 {
		wg.Go(func() {
			for i := range 5000 {
				r.Report(uint32(i%5), Event{Kind: EventKind((i*7 + w) % 6)})
				if i%500 == 0 {
					r.Apply(targets(4, p))
					r.Status(1)
					r.ProbeNow(2)
				}
			}
		})
	}
	wg.Wait()
	cancel()
	run.Wait()
}

func TestReportAllocations(t *testing.T) {
	r := NewRunner(Options{})
	r.Apply(targets(8, policy))
	r.Report(3, Event{Kind: ProbeOK})
	if n := testing.AllocsPerRun(1000, func() { r.Report(3, Event{Kind: CallOK}) }); n != 0 {
		t.Errorf("%v allocations for a good call", n)
	}
	if n := testing.AllocsPerRun(1000, func() {
		r.Report(4, Event{Kind: CallFailed})
		r.Report(4, Event{Kind: CallOK})
	}); n != 0 {
		t.Errorf("%v allocations for a failed call", n)
	}
}

func BenchmarkReport(b *testing.B) {
	for _, k := range []EventKind{CallOK, CallRefused} {
		b.Run(k.String(), func(b *testing.B) {
			r := NewRunner(Options{})
			r.Apply(targets(100, policy))
			b.ReportAllocs()
			for b.Loop() {
				r.Report(42, Event{Kind: k})
			}
		})
	}
}
