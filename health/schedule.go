package health

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// Task is what is done for one backend now and then.
type Task struct {
	// Key identifies the backend: a task of the same key in a later Apply goes on in its rhythm.
	Key uint32
	// Interval is the time from one end to the next start. Jitter varies it by up to this fraction either way, 0 to 1.
	Interval time.Duration
	Jitter   float64
	// Do returns soon after ctx ends. It is never called twice at a time for one key.
	Do func(ctx context.Context)
}

// Schedule does tasks in their rhythm, each in a goroutine of its own, which lets many of them be slow at once. The first
// time comes anywhere within the interval, so that a start of all together brings no burst. All methods are safe for
// concurrent use.
type Schedule struct {
	changed chan struct{}

	mu    sync.Mutex
	tasks map[uint32]*scheduled
}

// scheduled is a task in the Schedule.
type scheduled struct {
	kick, retime chan struct{} // hold one request at most

	mu   sync.Mutex
	task Task
}

// NewSchedule returns a Schedule without tasks. It does nothing until Run.
func NewSchedule() *Schedule {
	return &Schedule{changed: make(chan struct{}, 1), tasks: map[uint32]*scheduled{}}
}

// Apply replaces the tasks.
func (s *Schedule) Apply(tasks []Task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := make(map[uint32]*scheduled, len(tasks))
	for _, t := range tasks {
		e := s.tasks[t.Key]
		if e == nil {
			e = &scheduled{kick: make(chan struct{}, 1), retime: make(chan struct{}, 1)}
		}
		e.set(t)
		next[t.Key] = e
	}
	s.tasks = next
	signal(s.changed)
}

// Now has a task done at once, or directly after it is done; the interval starts anew. Unknown keys are ignored.
func (s *Schedule) Now(key uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.tasks[key]; e != nil {
		signal(e.kick)
	}
}

// Run does the tasks until ctx ends. It returns nil then, after all that it started has ended.
func (s *Schedule) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	running := map[*scheduled]context.CancelFunc{}
	for {
		s.reconcile(ctx, running, &wg)
		select {
		case <-ctx.Done():
			return nil
		case <-s.changed:
		}
	}
}

// reconcile ends the tasks that are gone and starts those that are new.
func (s *Schedule) reconcile(ctx context.Context, running map[*scheduled]context.CancelFunc, wg *sync.WaitGroup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted := make(map[*scheduled]bool, len(s.tasks))
	for _, e := range s.tasks {
		wanted[e] = true
		if running[e] == nil {
			each, cancel := context.WithCancel(ctx)
			running[e] = cancel
			wg.Go(func() { e.loop(each) })
		}
	}
	for e, cancel := range running {
		if !wanted[e] {
			cancel()
			delete(running, e)
		}
	}
}

func (e *scheduled) set(t Task) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.task.Interval != t.Interval {
		signal(e.retime)
	}
	e.task = t
}

func (e *scheduled) get() Task {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.task
}

func (e *scheduled) loop(ctx context.Context) {
	timer := time.NewTimer(e.get().first())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.retime:
			timer.Reset(e.get().first())
			continue
		case <-timer.C:
		case <-e.kick:
		}
		t := e.get()
		t.Do(ctx)
		timer.Reset(jittered(t.Interval, t.Jitter))
	}
}

// first is the time to the first time.
func (t Task) first() time.Duration { return rand.N(max(t.Interval, time.Millisecond)) }
