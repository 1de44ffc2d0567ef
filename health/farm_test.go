package health

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// farm is a Prober with servers that do as they are told.
type farm struct {
	mu      sync.Mutex
	answers map[uint32]Result
	hang    map[uint32]bool
	probes  map[uint32][]time.Time
	busy    map[uint32]bool
	overlap bool
}

func newFarm() *farm {
	return &farm{answers: map[uint32]Result{}, hang: map[uint32]bool{}, probes: map[uint32][]time.Time{}, busy: map[uint32]bool{}}
}

func (f *farm) Probe(ctx context.Context, t Target) Result {
	f.mu.Lock()
	f.overlap = f.overlap || f.busy[t.Key]
	f.busy[t.Key] = true
	f.probes[t.Key] = append(f.probes[t.Key], time.Now())
	res, hang := f.answers[t.Key], f.hang[t.Key]
	f.mu.Unlock()
	if hang {
		<-ctx.Done()
		res = Result{Reason: "unanswered"}
	}
	f.mu.Lock()
	f.busy[t.Key] = false
	f.mu.Unlock()
	return res
}

func (f *farm) set(key uint32, r Result, hang bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[key], f.hang[key] = r, hang
}

func (f *farm) times(key uint32) []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.probes[key])
}

// rig is a Runner over a farm in a bubble of virtual time.
type rig struct {
	*Runner
	farm  *farm
	start time.Time

	mu      sync.Mutex
	changes []string
}

func newRig(t *testing.T) *rig {
	g := &rig{farm: newFarm(), start: time.Now()}
	g.Runner = NewRunner(Options{Prober: g.farm, OnChange: func(c Change) {
		hold := ""
		if c.To.HoldUntil.After(c.From.HoldUntil) {
			hold = fmt.Sprintf(" held for %v", time.Until(c.To.HoldUntil))
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		g.changes = append(g.changes, fmt.Sprintf("%v %s %v-%v%s", time.Since(g.start), c.Name, c.From.State, c.To.State, hold))
	}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- g.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if g.farm.overlap {
			t.Error("two probes of one server at once")
		}
	})
	return g
}

func (g *rig) wantChanges(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	if !slices.Equal(g.changes, want) {
		t.Errorf("changes\n%q, want\n%q", g.changes, want)
	}
	g.changes = nil
}

func targets(n int, p Policy) []Target {
	var all []Target
	for i := range n {
		all = append(all, Target{Key: uint32(i), Name: fmt.Sprintf("s%d", i), Policy: p})
	}
	return all
}

func bubble(t *testing.T, f func(*testing.T, *rig)) {
	synctest.Test(t, func(t *testing.T) { f(t, newRig(t)) })
}
