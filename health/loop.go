package health

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

// loops are the probe loops of a running Runner, one for each target. It belongs to the goroutine of Run.
type loops struct {
	runner *Runner
	cancel map[*entry]context.CancelFunc
	wg     sync.WaitGroup
}

// reconcile ends the loops of targets that are gone and starts those of new ones, their first probes spread in time.
func (ls *loops) reconcile(ctx context.Context) {
	entries := *ls.runner.entries.Load()
	for e, cancel := range ls.cancel {
		if entries[e.key] != e {
			cancel()
			delete(ls.cancel, e)
		}
	}
	var fresh []*entry
	for _, e := range entries {
		if ls.cancel[e] == nil {
			fresh = append(fresh, e)
		}
	}
	slices.SortFunc(fresh, func(a, b *entry) int { return cmp.Compare(a.key, b.key) })
	for i, e := range fresh {
		t, _ := e.snapshot()
		delay := t.Policy.firstDelay(i, len(fresh))
		each, cancel := context.WithCancel(ctx)
		ls.cancel[e] = cancel
		ls.wg.Go(func() { ls.runner.loop(each, e, delay) })
	}
}

// loop probes one target, one probe at a time, until ctx ends.
func (r *Runner) loop(ctx context.Context, e *entry, delay time.Duration) {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-e.kick:
		case <-e.retime:
			t, _ := e.snapshot()
			timer.Reset(t.Policy.anew())
			continue
		}
		r.probe(ctx, e)
		t, s := e.snapshot()
		timer.Reset(t.Policy.pause(s, r.opts.Now()))
	}
}

func (r *Runner) probe(ctx context.Context, e *entry) {
	t, _ := e.snapshot()
	limited, cancel := context.WithTimeout(ctx, t.Policy.timeout())
	defer cancel()
	start := r.opts.Now()
	res := r.opts.Prober.Probe(limited, t)
	if ctx.Err() != nil {
		return // says nothing about the server
	}
	end := r.opts.Now()
	if res.Duration == 0 {
		res.Duration = end.Sub(start)
	}
	if r.opts.OnProbe != nil {
		r.opts.OnProbe(t, res)
	}
	r.apply(e, res.event(end))
}
