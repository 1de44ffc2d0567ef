package health

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// scheduleLab is a Schedule that runs in virtual time, with the times at which each key's task was done.
type scheduleLab struct {
	*Schedule
	t     *testing.T
	start time.Time
	done  map[uint32][]time.Duration
	takes time.Duration
	mu    sync.Mutex // guards done and busy
	busy  map[uint32]bool
}

// at is when the key's task was done.
func (l *scheduleLab) at(key uint32) []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.done[key])
}

func (l *scheduleLab) begin(key uint32, busy bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if busy && l.busy[key] {
		l.t.Error("done twice at a time")
	}
	if l.busy[key] = busy; busy {
		l.done[key] = append(l.done[key], time.Since(l.start))
	}
}

func inSchedule(t *testing.T, test func(*scheduleLab)) {
	synctest.Test(t, func(t *testing.T) {
		l := &scheduleLab{Schedule: NewSchedule(), t: t, start: time.Now(), done: map[uint32][]time.Duration{}, busy: map[uint32]bool{}}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = l.Run(ctx)
		}()
		test(l)
		cancel()
		<-ended
	})
}

func (l *scheduleLab) task(key uint32, every time.Duration) Task {
	return Task{Key: key, Interval: every, Do: func(ctx context.Context) {
		l.begin(key, true)
		defer l.begin(key, false)
		select {
		case <-time.After(l.takes):
		case <-ctx.Done():
		}
	}}
}

func (l *scheduleLab) wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestScheduleRhythm(t *testing.T) {
	inSchedule(t, func(l *scheduleLab) {
		l.takes = 10 * time.Second
		l.Apply([]Task{l.task(1, time.Minute)})
		l.wait(time.Hour)
		at := l.at(1)
		if len(at) < 50 || at[0] >= time.Minute {
			t.Fatalf("done at %v", at)
		}
		for i := range at[1:] {
			if gap := at[i+1] - at[i]; gap != 70*time.Second { // from its end
				t.Fatalf("done at %v", at)
			}
		}
	})
}

// TestScheduleSpread: many that start together are not done together.
func TestScheduleSpread(t *testing.T) {
	inSchedule(t, func(l *scheduleLab) {
		var tasks []Task
		for key := range uint32(100) {
			tasks = append(tasks, Task{Key: key, Interval: time.Minute, Do: func(context.Context) {}})
		}
		var first []time.Duration
		for _, task := range tasks {
			first = append(first, task.first())
		}
		slices.Sort(first)
		if first[0] > 20*time.Second || first[99] < 40*time.Second || first[99] >= time.Minute {
			t.Errorf("first at %v to %v", first[0], first[99])
		}
	})
}

func TestScheduleChanges(t *testing.T) {
	inSchedule(t, func(l *scheduleLab) {
		l.Apply([]Task{l.task(1, time.Hour), l.task(2, time.Hour)})
		synctest.Wait()
		l.Now(1)
		l.Now(1)
		l.Now(9)
		l.wait(time.Second)
		if n := len(l.at(1)); n != 1 && n != 2 || len(l.at(2)) != 0 {
			t.Fatalf("asked for 1 now: %v", l.at(1))
		}
		before := len(l.at(1))
		l.Apply([]Task{l.task(1, time.Hour)}) // 1 stays in its rhythm, 2 is gone
		l.wait(50 * time.Minute)
		if len(l.at(1)) != before {
			t.Errorf("an Apply has changed the rhythm: %v", l.at(1))
		}
		l.wait(11 * time.Minute)
		if len(l.at(1)) != before+1 || len(l.at(2)) != 0 {
			t.Errorf("%v", l.at(1))
		}
		l.Apply([]Task{l.task(1, time.Second)})
		l.wait(10 * time.Second)
		if n := len(l.at(1)); n < before+9 {
			t.Errorf("a shorter interval waits for the longer one: %v", l.at(1))
		}
		l.Apply(nil)
		l.wait(time.Second)
		n := len(l.at(1))
		l.wait(time.Hour)
		if len(l.at(1)) != n {
			t.Error("done after it was taken out")
		}
	})
}
