// Package recent is the recent past, for eyes: the last events, and of each backend the last probes, the last failed
// calls and the number of sessions over 15 minutes. It owns this memory, which is bounded, and tells subscribers of events
// as they happen. It decides nothing, and knows servers by number only.
package recent

import (
	"slices"
	"sync"
	"time"

	"mrcproxy/internal/api"
)

// The bounds of what is kept.
const (
	maxEvents   = 1000
	maxProbes   = 10
	maxFailures = 10
	maxKinds    = 200 // of failed calls within a second
	// Samples of a backend's load are Step apart and cover 15 minutes.
	Step       = 10 * time.Second
	maxSamples = 90
)

// Log is the memory. All methods are safe for concurrent use and block on nothing but a short lock. Its zero value cannot
// be used.
type Log struct {
	mu       sync.Mutex
	events   []api.Event // ascending
	next     uint64
	waiting  map[chan struct{}]struct{}
	calls    map[callKind]*api.Event // failed calls since the last Flush
	backends map[uint32]*backend
}

// callKind is what failed calls are counted by.
type callKind struct{ typ, cluster, backend, text string }

type backend struct {
	probes   []api.Probe
	failures []api.Failure
	load     []int
}

// New makes an empty memory. Events are numbered from the time of now on, so that one of an earlier process is not taken
// for one of this.
func New(now time.Time) *Log {
	return &Log{next: uint64(now.UnixMicro()), waiting: map[chan struct{}]struct{}{}, calls: map[callKind]*api.Event{}, backends: map[uint32]*backend{}}
}

// Add keeps an event, and numbers it.
func (l *Log) Add(e api.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(e)
	l.wake()
}

func (l *Log) add(e api.Event) {
	l.next++
	e.ID = l.next
	if len(l.events) == maxEvents {
		l.events = append(l.events[:0], l.events[1:]...)
	}
	l.events = append(l.events, e)
}

// wake has every subscriber look. mu is held.
func (l *Log) wake() {
	for c := range l.waiting {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// Call counts an event of a call: there may be thousands in a second, so those that differ by their call alone become one
// event at the next Flush. Of what is too much in one second, only that it was is kept.
func (l *Log) Call(e api.Event) {
	k := callKind{e.Type, e.Cluster, e.Backend, e.Text}
	l.mu.Lock()
	defer l.mu.Unlock()
	if have := l.calls[k]; have != nil {
		have.Count++
		return
	}
	if len(l.calls) >= maxKinds {
		k = callKind{typ: e.Type, text: "others"}
		if have := l.calls[k]; have != nil {
			have.Count++
			return
		}
		e.Cluster, e.IDC, e.Backend, e.Text = "", "", "", k.text
	}
	e.Count = 1
	l.calls[k] = &e
}

// Flush makes events of the calls counted. Call it once a second.
func (l *Log) Flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.calls) == 0 {
		return
	}
	all := make([]api.Event, 0, len(l.calls))
	for _, e := range l.calls {
		all = append(all, *e)
	}
	clear(l.calls)
	slices.SortFunc(all, func(a, b api.Event) int { return a.At.Compare(b.At) })
	for _, e := range all {
		l.add(e)
	}
	l.wake()
}

// Since returns the events after that number, the oldest first.
func (l *Log) Since(id uint64) []api.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, _ := slices.BinarySearchFunc(l.events, id+1, func(e api.Event, id uint64) int {
		switch {
		case e.ID < id:
			return -1
		case e.ID > id:
			return 1
		}
		return 0
	})
	return slices.Clone(l.events[i:])
}

// Watch returns a channel that something is sent to when there are new events, until cancel is called.
func (l *Log) Watch() (news <-chan struct{}, cancel func()) {
	c := make(chan struct{}, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting[c] = struct{}{}
	return c, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.waiting, c)
	}
}

// Probed keeps the result of a probe.
func (l *Log) Probed(id uint32, p api.Probe) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.backend(id)
	b.probes = push(b.probes, p, maxProbes)
}

// Failed keeps a call that a backend did not take.
func (l *Log) Failed(id uint32, f api.Failure) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.backend(id)
	b.failures = push(b.failures, f, maxFailures)
}

// Sample keeps the number of sessions of each backend, and forgets backends that are not among them. Call it every Step.
func (l *Log) Sample(sessions map[uint32]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.backends {
		if _, ok := sessions[id]; !ok {
			delete(l.backends, id)
		}
	}
	for id, n := range sessions {
		b := l.backend(id)
		b.load = push(b.load, n, maxSamples)
	}
}

// Of returns what is kept of a backend: its probes and failed calls, the newest first, and its load, the newest last.
func (l *Log) Of(id uint32) (probes []api.Probe, failures []api.Failure, load []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.backends[id]
	if b == nil {
		return nil, nil, nil
	}
	probes, failures = slices.Clone(b.probes), slices.Clone(b.failures)
	slices.Reverse(probes)
	slices.Reverse(failures)
	return probes, failures, slices.Clone(b.load)
}

func (l *Log) backend(id uint32) *backend {
	b := l.backends[id]
	if b == nil {
		b = &backend{}
		l.backends[id] = b
	}
	return b
}

// push appends, and lets go of the oldest beyond limit.
func push[T any](l []T, v T, limit int) []T {
	if len(l) < limit {
		return append(l, v)
	}
	copy(l, l[1:])
	l[len(l)-1] = v
	return l
}
