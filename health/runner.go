package health

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Options are what a Runner needs.
type Options struct {
	Prober Prober
	// OnChange hears of every change of state or hold, and when one that is down is found dead: in order, one at a time, from the goroutine of Run, with no lock
	// held. Holds that follow each other quickly may arrive as one. Optional.
	OnChange func(Change)
	// OnProbe hears of every probe's result, from the goroutine that made it. Optional.
	OnProbe func(Target, Result)
	// Now is the clock, time.Now when nil.
	Now func() time.Time
}

// Runner keeps the status of all targets: it probes them, takes reports of calls, and tells of changes. All methods
// are safe for concurrent use.
type Runner struct {
	opts    Options
	entries atomic.Pointer[map[uint32]*entry]
	running atomic.Bool
	changed chan struct{} // entries has changed
	queued  chan struct{} // dirty is not empty

	applyMu sync.Mutex // serialises Apply

	mu    sync.Mutex
	dirty []*entry // with changes to pass on; an entry is in it once
}

// NewRunner returns a Runner without targets. It does nothing by itself until Run.
func NewRunner(opts Options) *Runner {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	r := &Runner{opts: opts, changed: make(chan struct{}, 1), queued: make(chan struct{}, 1)}
	r.entries.Store(&map[uint32]*entry{})
	return r
}

// Apply replaces the targets. Those that stay, by key, keep their status; of two with one key the first counts. It may
// be called before and during Run.
func (r *Runner) Apply(targets []Target) {
	r.applyMu.Lock()
	defer r.applyMu.Unlock()
	old := *r.entries.Load()
	next := make(map[uint32]*entry, len(targets))
	groups := groupsOf(targets)
	for _, t := range targets {
		if next[t.Key] != nil {
			continue
		}
		e := old[t.Key]
		if e == nil {
			e = newEntry(t, groups[t.Group])
		} else {
			e.retarget(t, groups[t.Group])
		}
		next[t.Key] = e
	}
	r.entries.Store(&next)
	for key, e := range old {
		if next[key] == nil {
			e.remove()
		}
	}
	signal(r.changed)
}

// groupsOf are the groups of targets, with their sizes.
func groupsOf(targets []Target) map[string]*group {
	groups := make(map[string]*group)
	for _, t := range targets {
		if groups[t.Group] == nil {
			groups[t.Group] = new(group)
		}
		groups[t.Group].size++
	}
	return groups
}

// Report takes evidence from the call path. It never waits for anything but a short lock, and a CallOK on a backend
// without suspicion takes none. Unknown keys are ignored.
func (r *Runner) Report(key uint32, ev Event) {
	e := (*r.entries.Load())[key]
	if e == nil || ev.Kind == CallOK && e.calm.Load() {
		return
	}
	r.apply(e, ev.stamped(r.opts.Now))
}

func (r *Runner) apply(e *entry, ev Event) {
	if !e.apply(ev) {
		return
	}
	r.mu.Lock()
	r.dirty = append(r.dirty, e)
	r.mu.Unlock()
	signal(r.queued)
}

// Status returns what is known of a backend; false when it is no target.
func (r *Runner) Status(key uint32) (Status, bool) {
	e := (*r.entries.Load())[key]
	if e == nil {
		return Status{}, false
	}
	_, s := e.snapshot()
	return s, true
}

// ProbeNow has a backend probed at once, or directly after the probe in flight. The interval starts anew.
func (r *Runner) ProbeNow(key uint32) {
	if e := (*r.entries.Load())[key]; e != nil {
		signal(e.kick)
	}
}

// Run probes the targets and calls OnChange until ctx ends. It returns nil then, after every goroutine it started has
// ended; it can run once at a time.
func (r *Runner) Run(ctx context.Context) error {
	if r.running.Swap(true) {
		return errors.New("health runner: is running already")
	}
	defer r.running.Store(false)
	ls := loops{runner: r, cancel: make(map[*entry]context.CancelFunc)}
	defer ls.wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // before the wait: also when OnChange panics
	ls.reconcile(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.changed:
			ls.reconcile(ctx)
		case <-r.queued:
			r.deliver()
		}
	}
}

// deliver passes the waiting changes on.
func (r *Runner) deliver() {
	r.mu.Lock()
	dirty := r.dirty
	r.dirty = nil
	r.mu.Unlock()
	for _, e := range dirty {
		for _, c := range e.take() {
			if r.opts.OnChange != nil {
				r.opts.OnChange(c)
			}
		}
	}
}
