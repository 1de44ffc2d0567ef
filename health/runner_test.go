package health

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var up = Result{OK: true, Code: 200}

func TestFirstProbesAreQuickAndSpread(t *testing.T) {
	for _, c := range []struct {
		n        int
		interval time.Duration
		within   time.Duration
	}{
		{1, 10 * time.Second, 0}, {5, 10 * time.Second, 100 * time.Millisecond},
		{1000, 10 * time.Second, time.Second}, {100, 200 * time.Millisecond, 200 * time.Millisecond},
	} {
		bubble(t, func(t *testing.T, g *rig) {
			p := policy
			p.Interval = c.interval
			g.Apply(targets(c.n, p))
			time.Sleep(c.within)
			synctest.Wait()
			at := map[time.Duration]int{}
			for i := range c.n {
				times := g.farm.times(uint32(i))
				if len(times) == 0 {
					t.Fatalf("%d targets: %d not probed within %v", c.n, i, c.within)
				}
				at[times[0].Sub(g.start)]++
			}
			if len(at) != c.n {
				t.Errorf("%d targets probed at %d moments", c.n, len(at))
			}
		})
	}
}

func TestIntervalWithJitter(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		p := policy
		p.Jitter = 0.2
		g.Apply(targets(1, p))
		time.Sleep(10 * time.Minute)
		times := g.farm.times(0)
		gaps := map[time.Duration]bool{}
		for i := 1; i < len(times); i++ {
			gap := times[i].Sub(times[i-1])
			if gap < 8*time.Second || gap > 12*time.Second {
				t.Errorf("%v between probes", gap)
			}
			gaps[gap] = true
		}
		if len(times) < 50 || len(gaps) < 40 {
			t.Errorf("%d probes, %d different intervals", len(times), len(gaps))
		}
	})
}

func TestServerDiesAndComesBack(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.farm.set(0, up, false)
		g.Apply(targets(1, policy))
		g.wantChanges(t, "0s s0 unknown-up")
		g.farm.set(0, Result{}, true) // silent: each probe takes the timeout of 1 s
		time.Sleep(32 * time.Second)
		g.wantChanges(t)
		time.Sleep(time.Second)
		g.wantChanges(t, "33s s0 up-down")
		if s, _ := g.Status(0); s.Reason != "3 probes in a row failed: unanswered" {
			t.Errorf("reason %q", s.Reason)
		}
		g.farm.set(0, up, false)
		time.Sleep(20 * time.Second)
		g.wantChanges(t, "53s s0 down-up")
		g.farm.set(0, Result{Draining: true, Code: 503}, false)
		time.Sleep(11 * time.Second) // not at the very moment of a probe
		g.farm.set(0, up, false)
		time.Sleep(10 * time.Second)
		g.wantChanges(t, "1m3s s0 up-draining", "1m13s s0 draining-up")
	})
}

func TestEjectionIsCheckedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.farm.set(0, up, false)
		g.Apply(targets(1, policy))
		time.Sleep(3 * time.Second)
		for range 5 {
			g.Report(0, Event{Kind: CallFailed, Reason: "no answer"})
		}
		g.wantChanges(t, "0s s0 unknown-up", "3s s0 up-down")
		times := g.farm.times(0) // for the first failed call, and for the ejection, unless that came before the probe was sent
		if len(times) < 2 || times[1].Sub(g.start) != 3*time.Second || times[len(times)-1].Sub(g.start) != 3*time.Second {
			t.Errorf("probed at %v", times)
		}
		time.Sleep(30 * time.Second)
		g.wantChanges(t, "33s s0 down-up")
		g.Report(0, Event{Kind: CallFailed})
		g.wantChanges(t, "33s s0 up-down")
	})
}

func TestRefusalsAreReported(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.farm.set(0, up, false)
		g.Apply(targets(1, policy))
		g.wantChanges(t, "0s s0 unknown-up")
		g.Report(0, Event{Kind: CallRefused, RetryAfter: 5 * time.Second})
		g.wantChanges(t, "0s s0 up-up held for 5s")
		g.Report(0, Event{Kind: CallRefused}) // shorter: nothing new
		g.Report(9, Event{Kind: CallRefused}) // unknown
		g.wantChanges(t)
	})
}

func TestApplyWhileRunning(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		for i := range uint32(3) {
			g.farm.set(i, up, false)
		}
		g.Apply(targets(2, policy))
		time.Sleep(5 * time.Second)
		g.wantChanges(t, "0s s0 unknown-up", "20ms s1 unknown-up")

		faster := targets(3, policy)[1:]
		faster[0].Policy.Interval = time.Second
		g.Apply(faster)
		g.Report(0, Event{Kind: CallFailed})
		time.Sleep(10 * time.Second)
		g.wantChanges(t, "5s s2 unknown-up")
		if n := len(g.farm.times(0)); n != 1 {
			t.Errorf("a removed target was probed %d times", n)
		}
		if n := len(g.farm.times(1)); n < 10 || n > 12 {
			t.Errorf("%d probes: the new interval counts at once", n)
		}
		if _, ok := g.Status(0); ok {
			t.Error("a removed target has no status")
		}
		if s, ok := g.Status(1); !ok || s.State != Up || s.Since.Sub(g.start) != 20*time.Millisecond {
			t.Errorf("status has not survived: %+v", s)
		}
		g.Apply(targets(1, policy)) // back: nothing is remembered
		g.wantChanges(t, "15s s0 unknown-up")
	})
}

func TestProbeNow(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.Apply(targets(1, policy))
		time.Sleep(4 * time.Second)
		g.ProbeNow(0)
		g.ProbeNow(7)
		time.Sleep(12 * time.Second)
		var at []time.Duration
		for _, x := range g.farm.times(0) {
			at = append(at, x.Sub(g.start))
		}
		if want := []time.Duration{0, 4 * time.Second, 14 * time.Second}; !slices.Equal(at, want) {
			t.Errorf("probed at %v, want %v", at, want)
		}
	})
}

// A probe that shutdown cuts short says nothing about the server.
func TestShutdownIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm()
		f.set(0, Result{}, true)
		var seen atomic.Int32
		r := NewRunner(Options{Prober: f, OnProbe: func(Target, Result) { seen.Add(1) }})
		r.Apply(targets(1, policy))
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
		if s, _ := r.Status(0); s != (Status{}) || seen.Load() != 0 {
			t.Errorf("status %+v, %d results", s, seen.Load())
		}
	})
}

func TestOnProbeGetsTheDuration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm()
		f.set(0, Result{}, true)
		got := make(chan Result, 1)
		r := NewRunner(Options{Prober: f, OnProbe: func(_ Target, res Result) { got <- res }})
		r.Apply(targets(1, policy))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_ = r.Run(ctx)
		if res := <-got; res.Duration != time.Second || res.Reason != "unanswered" {
			t.Errorf("result %+v", res)
		}
	})
}

func TestRunsOnce(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		synctest.Wait()
		if g.Run(t.Context()) == nil {
			t.Error("ran twice at a time")
		}
	})
}
