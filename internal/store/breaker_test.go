package store

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fake is a Redis in virtual time that does what the test has said: it admits everything, after so long, or fails.
type fake struct {
	mu    sync.Mutex
	takes time.Duration // for ever when negative
	err   error
	late  bool // it takes what comes next for too late
	calls []time.Time
	there map[string]bool // renewed
}

var errReset = errors.New("connection reset")

func (f *fake) set(takes time.Duration, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.takes, f.err = takes, err
}

func (f *fake) exchanges() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.calls)
}

func (f *fake) Do(ctx context.Context, calls []*call) error {
	f.mu.Lock()
	f.calls = append(f.calls, time.Now())
	takes, err, late := f.takes, f.err, f.late
	f.late = false
	f.mu.Unlock()
	if takes < 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	for _, c := range calls {
		if late {
			c.reply = reply{status: tooLate, now: time.Now().UnixMilli(), ok: true}
			continue
		}
		c.reply = reply{status: done, now: time.Now().UnixMilli(), since: 1, rest: make([]int64, len(c.keys)-head), ok: true}
		f.note(c)
	}
	return nil
}

// note keeps what a call puts there.
func (f *fake) note(c *call) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range c.leases {
		if f.there == nil {
			f.there = map[string]bool{}
		}
		f.there[member(l.key)] = true
	}
}

func (f *fake) has(key uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.there[member(key)]
}

func (f *fake) Close() error { return nil }

// scripted runs a test with a Store that asks a fake. Admissions are made one after the other; each tells how long it took.
func scripted(t *testing.T, rule Rule, test func(f *fake, i *instance, admit func(Verdict, time.Duration))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: time.Millisecond}
		i := start(t, Redis{Link: f, Prefix: "t"}, rule)
		time.Sleep(10 * renew)
		key := uint64(0)
		test(f, i, func(want Verdict, within time.Duration) {
			t.Helper()
			key++
			began := time.Now()
			if v := i.admit(key, 10, 10); v != want {
				t.Errorf("verdict %v, want %v", v, want)
			}
			if d := time.Since(began); d > within {
				t.Errorf("a verdict took %v, want %v at most", d, within)
			}
			i.release(key)
		})
		i.stop()
	})
}

// TestBreaker: the first failure costs the budget, and nothing after it costs anything, however Redis fails. It is asked
// again now and then, and used when it answers in time.
func TestBreaker(t *testing.T) {
	for name, way := range map[string]struct {
		takes time.Duration
		err   error
		first time.Duration // what the first may cost
	}{
		"silent":  {-1, nil, 50 * time.Millisecond},
		"slow":    {60 * time.Millisecond, nil, 50 * time.Millisecond},
		"reset":   {0, errReset, 0},
		"refuses": {5 * time.Millisecond, errors.New("READONLY You can't write against a read only replica."), 5 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			scripted(t, Rule{Share, 3}, func(f *fake, i *instance, admit func(Verdict, time.Duration)) {
				admit(Admitted, time.Millisecond)
				f.set(way.takes, way.err)
				admit(Admitted, way.first)
				if st := i.Stats(); st.Up || st.Exact || st.Losses != 1 {
					t.Errorf("%+v", st)
				}
				before := f.exchanges()
				for range 10000 {
					admit(Admitted, 0)
				}
				if f.exchanges() > before+1 {
					t.Errorf("Redis was asked %d times for them", f.exchanges()-before)
				}
				time.Sleep(time.Minute)
				if n := f.exchanges() - before; n < 20 || n > 130 {
					t.Errorf("it was asked %d times in a minute whether it is back", n)
				}
				f.set(time.Millisecond, nil)
				time.Sleep(2*time.Second + renew)
				if st := i.Stats(); !st.Up || !st.Exact || st.Losses != 1 {
					t.Errorf("%+v", st)
				}
				before = f.exchanges()
				admit(Admitted, 10*time.Millisecond)
				if f.exchanges() == before {
					t.Error("Redis is not asked")
				}
			})
		})
	}
}

// TestReject: nothing is admitted, at once.
func TestReject(t *testing.T) {
	scripted(t, Rule{Reject, 3}, func(f *fake, i *instance, admit func(Verdict, time.Duration)) {
		f.set(-1, nil)
		admit(Unchecked, 50*time.Millisecond)
		for range 100 {
			admit(Unchecked, 0)
		}
		i.SetRule(Rule{Open, 3}) // a reload
		admit(Admitted, 0)
	})
}

// TestManyWait: those that ask while an exchange hangs are told when it is given up, not one budget after the other.
func TestManyWait(t *testing.T) {
	scripted(t, Rule{Open, 3}, func(f *fake, i *instance, _ func(Verdict, time.Duration)) {
		f.set(-1, nil)
		began := time.Now()
		var wait sync.WaitGroup
		for n := range 100 {
			wait.Go(func() {
				time.Sleep(time.Duration(n) * 500 * time.Microsecond)
				i.admit(1000+uint64(n), 1000, 1000)
			})
		}
		wait.Wait()
		if d := time.Since(began); d > 100*time.Millisecond {
			t.Errorf("the last verdict came after %v", d)
		}
	})
}

// TestMemory: a Redis that comes and goes leaves nothing behind in memory.
func TestMemory(t *testing.T) {
	scripted(t, Rule{Open, 3}, func(f *fake, i *instance, _ func(Verdict, time.Duration)) {
		for key := range uint64(1000) {
			i.hold(key + 1)
			i.establish(key + 1)
		}
		for range 50 {
			f.set(0, errReset)
			time.Sleep(3 * time.Second)
			f.set(time.Millisecond, nil)
			time.Sleep(3 * time.Second)
		}
		i.mu.Lock()
		i.sessions = map[uint64]time.Time{}
		i.mu.Unlock()
		f.set(0, errReset)
		time.Sleep(3 * time.Second)
		for key := range uint64(1000) {
			i.release(key + 1)
		}
		for key := range uint64(2 * mostGone) {
			i.Ended(1<<32+key, i.place())
		}
		i.Store.mu.Lock()
		if n := len(i.due); n > 1000 {
			t.Errorf("%d renewals wait", n)
		}
		if n := len(i.Store.gone); n > mostGone+1000 {
			t.Errorf("%d releases wait", n)
		}
		i.Store.mu.Unlock()
		f.set(time.Millisecond, nil)
		time.Sleep(10 * time.Second)
		i.Store.mu.Lock()
		defer i.Store.mu.Unlock()
		if len(i.due) != 0 || len(i.Store.gone) != 0 || len(i.leases) != 0 || i.wheel.Len() != 0 {
			t.Errorf("left: %d renewals, %d releases, %d leases, %d timers", len(i.due), len(i.Store.gone), len(i.leases), i.wheel.Len())
		}
		for _, p := range i.pools {
			if p.own() != 0 || p.held != 0 {
				t.Errorf("%s: %d own, %d held", p.name, p.own(), p.held)
			}
		}
	})
}

// TestClockSet: the clock of Redis was set while a session is asked for. What is decided without it then is put there as soon as its
// clock is known, since the link was never lost.
func TestClockSet(t *testing.T) {
	scripted(t, Rule{Share, 1}, func(f *fake, i *instance, _ func(Verdict, time.Duration)) {
		f.mu.Lock()
		f.late = true
		f.mu.Unlock()
		if v := i.admit(77, 10, 10); v != Admitted {
			t.Fatalf("verdict %v", v)
		}
		i.establish(77)
		if f.has(77) {
			t.Fatal("it was not too late")
		}
		time.Sleep(2 * renew)
		if !i.Stats().Up || !f.has(77) {
			t.Error("Redis does not know of the session")
		}
		i.bye(77)
	})
}

// TestStopWithoutRedis: a stop does not wait for it, and tells who waits.
func TestStopWithoutRedis(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: -1}
		i := start(t, Redis{Link: f, Prefix: "t"}, Rule{Share, 2})
		if v := i.admit(1, 2, 2); v != Admitted {
			t.Errorf("at a start without Redis: %v", v)
		}
		if v := i.admit(2, 2, 2); v != Full {
			t.Errorf("above the share: %v", v)
		}
		began := time.Now()
		i.stop()
		if d := time.Since(began); d > warmUp {
			t.Errorf("stopped after %v", d)
		}
	})
}
