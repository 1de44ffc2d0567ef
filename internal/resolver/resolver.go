package resolver

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// refreshTimeout bounds a lookup in the background: time for each server to be tried as often as resolv.conf says.
const refreshTimeout = 20 * time.Second

// Options are what a Resolver needs. The zero value is that of a system like any other.
type Options struct {
	// Servers are asked in place of those of resolv.conf, which then counts for nothing; host:port.
	Servers []string
	// ResolvConf and Hosts are files; /etc/resolv.conf and /etc/hosts when empty.
	ResolvConf, Hosts string
	Log               *zap.Logger
	// OnChange hears which names have other targets than before: one call at a time, from the goroutine of Run, with no
	// lock held. Changes that follow each other quickly may arrive together. A Lookup's own are not told. Optional.
	OnChange func([]Name)
}

// Resolver keeps names and their targets. All methods are safe for concurrent use.
type Resolver struct {
	system    system
	log       *zap.Logger
	onChange  func([]Name)
	exchange  exchange
	preferred atomic.Int32 // the server that answered last
	running   atomic.Bool
	reconcile chan struct{} // the entries are others
	changed   chan struct{} // dirty is not empty

	mu      sync.Mutex
	entries map[Name]*entry
	dirty   []Name
}

// New returns a Resolver without names. It does nothing by itself until Run.
func New(o Options) *Resolver {
	r := &Resolver{
		system: system{resolvConf: o.ResolvConf, hostsFile: o.Hosts, fixed: slices.Clone(o.Servers)},
		log:    o.Log, onChange: o.OnChange, exchange: overNetwork,
		reconcile: make(chan struct{}, 1), changed: make(chan struct{}, 1), entries: make(map[Name]*entry),
	}
	if r.system.resolvConf == "" {
		r.system.resolvConf = "/etc/resolv.conf"
	}
	if r.system.hostsFile == "" {
		r.system.hostsFile = "/etc/hosts"
	}
	if r.log == nil {
		r.log = zap.NewNop()
	}
	return r
}

// entry is one name.
type entry struct {
	name Name
	// busy holds a token while a lookup runs. Its holder has the cache.
	busy  chan struct{}
	cache map[question]answer

	mu       sync.Mutex
	targets  []Target
	due      time.Time // of the next lookup
	failures int       // in a row
	stat     Stat
}

// Apply keeps these names and forgets all others. A name that was there before, also by a Lookup, keeps its targets.
func (r *Resolver) Apply(names []Name) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := make(map[Name]*entry, len(names))
	for _, n := range names {
		if next[n] = r.entries[n]; next[n] == nil {
			next[n] = newEntry(n)
		}
	}
	r.entries = next
	signal(r.reconcile)
}

func newEntry(n Name) *entry {
	return &entry{name: n, busy: make(chan struct{}, 1), stat: Stat{Name: n}}
}

// signal leaves a request in a channel of length one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Lookup adds names, and looks up at once those that have never been looked up. It returns when each has been, with or
// without success, or when ctx ends. The names stay until an Apply without them.
func (r *Resolver) Lookup(ctx context.Context, names []Name) {
	var wg sync.WaitGroup
	defer wg.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range names {
		e := r.entries[n]
		if e == nil {
			e = newEntry(n)
			r.entries[n] = e
			signal(r.reconcile)
		}
		if !e.tried() {
			wg.Go(func() { r.refresh(ctx, e, false) })
		}
	}
}

// Targets are the addresses of a name, in order of priority and address: those of the last lookup that found any. None:
// there has been no such lookup, or the name is not kept. The slice must not be changed.
func (r *Resolver) Targets(n Name) []Target {
	r.mu.Lock()
	e := r.entries[n]
	r.mu.Unlock()
	if e == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.targets
}

// Stats tell of each name, in the order of their texts.
func (r *Resolver) Stats() []Stat {
	r.mu.Lock()
	entries := slices.Collect(maps.Values(r.entries))
	r.mu.Unlock()
	stats := make([]Stat, len(entries))
	for i, e := range entries {
		e.mu.Lock()
		stats[i] = e.stat
		stats[i].Targets = len(e.targets)
		e.mu.Unlock()
	}
	slices.SortFunc(stats, func(a, b Stat) int { return cmp.Compare(a.Name.String(), b.Name.String()) })
	return stats
}

func (e *entry) tried() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stat.OK+e.stat.Failed > 0
}

// refresh looks a name up; again: also when it has been looked up before. A changed result is passed on then.
func (r *Resolver) refresh(ctx context.Context, e *entry, again bool) {
	select {
	case e.busy <- struct{}{}:
		defer func() { <-e.busy }()
	case <-ctx.Done():
		return
	}
	if !again && e.tried() || again && e.wait() > 0 { // another was faster
		return
	}
	l := lookup{
		r: r, conf: r.system.settings(), name: e.name, now: time.Now(), early: rand.Float64(),
		old: e.cache, used: make(map[question]answer),
	}
	targets, err := l.run(ctx)
	if errors.Is(ctx.Err(), context.Canceled) {
		return // says nothing about the name
	}
	if len(targets) > 0 || len(l.errs) == 0 { // else the answers from before are worth more
		e.cache = l.used
	}
	if e.record(&l, targets, err, r.log) && again {
		r.mu.Lock()
		if !slices.Contains(r.dirty, e.name) {
			r.dirty = append(r.dirty, e.name)
		}
		r.mu.Unlock()
		signal(r.changed)
	}
}

// record takes the result of a lookup. It reports whether the targets are others now; none never take the place of some.
func (e *entry) record(l *lookup, targets []Target, err error, log *zap.Logger) (changed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(targets) > 0 {
		changed = !slices.Equal(targets, e.targets)
		e.targets = targets
	}
	failures := e.failures
	e.due = l.due
	if err != nil {
		e.failures++
		e.stat.Failed++
		again := time.Now().Add(pause(e.failures, l.early))
		if e.due.IsZero() || l.errs != nil && again.Before(e.due) {
			e.due = again
		}
	} else {
		e.failures = 0
		e.stat.OK++
		e.stat.LastSuccess = time.Now()
	}
	e.stat.Err = err
	e.tell(log, failures)
	return changed
}

// tell logs when a name begins to fail and when it is well again. mu is held.
func (e *entry) tell(log *zap.Logger, failures int) {
	fields := []zap.Field{zap.Stringer("name", e.name), zap.Int("addresses", len(e.targets))}
	switch {
	case e.failures == 1 && len(e.targets) == 0:
		log.Warn("name cannot be resolved, its servers appear when it can be", append(fields, zap.Error(e.stat.Err))...)
	case e.failures == 1:
		log.Warn("name cannot be resolved, the addresses known stay in use", append(fields, zap.Error(e.stat.Err))...)
	case e.failures > 1:
		log.Debug("name still cannot be resolved", append(fields, zap.Int("failures", e.failures), zap.Error(e.stat.Err))...)
	case failures > 0:
		log.Info("name is resolved again", append(fields, zap.Int("failures", failures))...)
	}
}
