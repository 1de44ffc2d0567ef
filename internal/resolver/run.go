package resolver

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// Run keeps the names' answers fresh and calls OnChange until ctx ends. It returns nil then, after every goroutine it
// started has ended; it can run once at a time.
func (r *Resolver) Run(ctx context.Context) error {
	if r.running.Swap(true) {
		return errors.New("resolver: is running already")
	}
	defer r.running.Store(false)
	ls := loops{resolver: r, cancel: make(map[*entry]context.CancelFunc)}
	defer ls.wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // before the wait: also when OnChange panics
	ls.reconcile(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.reconcile:
			ls.reconcile(ctx)
		case <-r.changed:
			r.deliver()
		}
	}
}

// deliver tells of the names that have changed and are still kept.
func (r *Resolver) deliver() {
	r.mu.Lock()
	dirty := slices.DeleteFunc(r.dirty, func(n Name) bool { return r.entries[n] == nil })
	r.dirty = nil
	r.mu.Unlock()
	if len(dirty) > 0 && r.onChange != nil {
		r.onChange(dirty)
	}
}

// loops are the loops of a running Resolver, one for each name. It belongs to the goroutine of Run.
type loops struct {
	resolver *Resolver
	cancel   map[*entry]context.CancelFunc
	wg       sync.WaitGroup
}

// reconcile ends the loops of names that are gone and starts those of new ones.
func (ls *loops) reconcile(ctx context.Context) {
	ls.resolver.mu.Lock()
	entries := maps.Clone(ls.resolver.entries)
	ls.resolver.mu.Unlock()
	for e, cancel := range ls.cancel {
		if entries[e.name] != e {
			cancel()
			delete(ls.cancel, e)
		}
	}
	for _, e := range entries {
		if ls.cancel[e] == nil {
			each, cancel := context.WithCancel(ctx)
			ls.cancel[e] = cancel
			ls.wg.Go(func() { ls.resolver.loop(each, e) })
		}
	}
}

// loop looks one name up whenever its answer grows old, until ctx ends.
func (r *Resolver) loop(ctx context.Context, e *entry) {
	timer := time.NewTimer(e.wait())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		limited, cancel := context.WithTimeout(ctx, refreshTimeout)
		r.refresh(limited, e, true)
		cancel()
		timer.Reset(max(e.wait(), leastTTL))
	}
}

// wait is the time to the next lookup; 0 when it is due, as it is at first.
func (e *entry) wait() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return max(time.Until(e.due), 0)
}
