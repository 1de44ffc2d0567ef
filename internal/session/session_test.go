package session

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mrcproxy/balancer"
)

// backends is a balancer with one server of that capacity in cluster "asr".
func backends(t testing.TB, capacity int) *balancer.Balancer {
	t.Helper()
	b := balancer.New()
	err := b.Apply(balancer.Spec{Clusters: []balancer.ClusterSpec{{Name: "asr", Groups: []balancer.GroupSpec{{Backends: []balancer.BackendSpec{{
		URI: "sip:10.0.0.9:8060", Network: "udp", Addr: netip.MustParseAddrPort("10.0.0.9:8060"), Capacity: capacity, Weight: 1,
	}}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func lease(t testing.TB, b *balancer.Balancer) *balancer.Lease {
	t.Helper()
	l, why := b.Pick(balancer.Request{Cluster: "asr", Now: time.Now()})
	if l == nil {
		t.Fatal(why)
	}
	return l
}

// log keeps what onEnd is told.
type log struct {
	mu   sync.Mutex
	ends []string
	at   []time.Time
}

func (l *log) end(s *Session, why Reason) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends = append(l.ends, s.CallID+" "+why.String())
	l.at = append(l.at, time.Now())
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.ends, ", ")
}

// ticking is a table in virtual time whose owner ticks once a second.
func ticking(t *testing.T, longest time.Duration) (*Table, *log) {
	t.Helper()
	l := &log{}
	tb := NewTable(Options{Longest: longest, OnEnd: l.end})
	tick := time.NewTicker(time.Second)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-tick.C:
				tb.Tick()
			case <-done:
				return
			}
		}
	}()
	t.Cleanup(func() { tick.Stop(); close(done) })
	return tb, l
}

func add(t testing.TB, tb *Table, b *balancer.Balancer, id string, expires time.Duration) uint64 {
	t.Helper()
	key := Key([]byte(id), []byte("tag"), 1)
	if !tb.Add(key, &Session{CallID: id, Lease: lease(t, b)}, expires) || !tb.Confirm(key) {
		t.Fatalf("%s is not taken", id)
	}
	return key
}

func held(b *balancer.Balancer) int { return b.Backends()[0].Sessions() }

// TestEndOnce: the lease comes back with the first end; a second BYE, or a 481 behind it, finds nothing.
func TestEndOnce(t *testing.T) {
	b, l := backends(t, 1), &log{}
	var tb *Table
	tb = NewTable(Options{OnEnd: func(s *Session, why Reason) {
		if held(b) != 0 {
			t.Error("told before the lease was back")
		}
		if s.Lease.Release() {
			t.Error("the lease was not released")
		}
		if s.Backend().URI() != "sip:10.0.0.9:8060" {
			t.Errorf("backend %s", s.Backend().URI())
		}
		_ = tb.Len() // outside the locks
		tb.Refresh(s.key, 0)
		l.end(s, why)
	}})
	key := add(t, tb, b, "a", 0)
	if tb.Len() != 1 || held(b) != 1 {
		t.Fatalf("%d sessions, %d leases", tb.Len(), held(b))
	}
	if l, _ := b.Pick(balancer.Request{Cluster: "asr", Now: time.Now()}); l != nil {
		t.Fatal("a lease beyond the capacity")
	}
	if !tb.End(key, ByeClient) {
		t.Fatal("no session")
	}
	for range 3 {
		if tb.End(key, Gone) {
			t.Error("ended again")
		}
	}
	if tb.Len() != 0 || held(b) != 0 || l.String() != "a bye_client" {
		t.Errorf("%d sessions, %d leases, ended: %v", tb.Len(), held(b), l)
	}
	if tb.End(key+2, ByeServer) {
		t.Error("a session that never was")
	}
	tb.Refresh(key, time.Minute)
	tb.Tick()
	add(t, tb, b, "a", 0) // the key is free again
}

// TestDuplicate: the second session of a dialog's key is not taken, its lease stays the caller's and the first goes on.
func TestDuplicate(t *testing.T) {
	b, l := backends(t, 2), &log{}
	tb := NewTable(Options{OnEnd: l.end})
	key := add(t, tb, b, "first", 0)
	other := &Session{CallID: "second", Lease: lease(t, b)}
	if tb.Add(key, other, time.Second) {
		t.Fatal("taken twice")
	}
	if tb.Len() != 1 || held(b) != 2 {
		t.Errorf("%d sessions, %d leases", tb.Len(), held(b))
	}
	if !other.Lease.Release() {
		t.Error("the lease was released for the caller")
	}
	tb.End(key, ByeServer)
	if tb.Len() != 0 || held(b) != 0 || l.String() != "first bye_server" {
		t.Errorf("%d sessions, %d leases, ended: %v", tb.Len(), held(b), l)
	}
}

// TestExpiry is RFC 4028 seen from outside: a session ends when its interval and the grace have passed without a refresh, and
// at the longest time whatever is refreshed.
func TestExpiry(t *testing.T) {
	const never = 0
	for _, c := range []struct {
		name             string
		longest, expires time.Duration
		refresh          map[time.Duration]time.Duration // at -> Session-Expires
		ends             time.Duration
		why              string
	}{
		{"no timer, no bound", 0, 0, nil, never, ""},
		{"no refresh", 0, 600 * time.Second, nil, 632 * time.Second, "expired"},
		{"refreshed at half of it", 0, 600 * time.Second, map[time.Duration]time.Duration{300 * time.Second: 600 * time.Second}, 932 * time.Second, "expired"},
		{"refreshed within the grace", 0, 90 * time.Second, map[time.Duration]time.Duration{119 * time.Second: 90 * time.Second}, 239 * time.Second, "expired"},
		{"refreshed too late", 0, 90 * time.Second, map[time.Duration]time.Duration{123 * time.Second: 90 * time.Second}, 120 * time.Second, "expired"},
		{"refreshed with a shorter interval", 0, 600 * time.Second, map[time.Duration]time.Duration{300 * time.Second: 90 * time.Second}, 420 * time.Second, "expired"},
		{"refreshed without a timer (7.2)", 0, 600 * time.Second, map[time.Duration]time.Duration{300 * time.Second: 0}, never, ""},
		{"refreshed with its first timer", 0, 0, map[time.Duration]time.Duration{3000 * time.Second: 90 * time.Second}, 3120 * time.Second, "expired"},
		{"longest, no timer", time.Hour, 0, nil, time.Hour, "max_session"},
		{"longest before the interval", 100 * time.Second, 90 * time.Second, nil, 100 * time.Second, "max_session"},
		{"longest in spite of refreshes", time.Hour, 1800 * time.Second,
			map[time.Duration]time.Duration{900 * time.Second: 1800 * time.Second, 1800 * time.Second: 1800 * time.Second, 2700 * time.Second: 1800 * time.Second},
			time.Hour, "max_session"},
		{"the interval before longest", time.Hour, 90 * time.Second, nil, 120 * time.Second, "expired"},
		{"many turns of the wheel", 0, 20000 * time.Second, nil, 20032 * time.Second, "expired"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := backends(t, 1)
				tb, l := ticking(t, c.longest)
				time.Sleep(300 * time.Millisecond) // no session comes on the second
				start := time.Now()
				key := add(t, tb, b, "a", c.expires)
				for at, expires := range c.refresh {
					time.AfterFunc(at, func() { tb.Refresh(key, expires) })
				}
				time.Sleep(max(2*c.ends, 2*time.Hour)) // long enough for a second end to show
				synctest.Wait()
				if c.ends == never {
					if tb.Len() != 1 || held(b) != 1 || l.String() != "" {
						t.Errorf("%d sessions, %d leases, ended: %v", tb.Len(), held(b), l)
					}
					return
				}
				if l.String() != "a "+c.why || tb.Len() != 0 || held(b) != 0 {
					t.Fatalf("%d sessions, %d leases, ended: %v", tb.Len(), held(b), l)
				}
				if took := l.at[0].Sub(start); took < c.ends || took > c.ends+2*time.Second {
					t.Errorf("ended after %v, want %v", took, c.ends)
				}
			})
		})
	}
}

// TestEndedDoesNotExpire: the timer of a session that has ended must not fire, least of all for the next one of its key.
func TestEndedDoesNotExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := backends(t, 2)
		tb, l := ticking(t, time.Hour)
		key := add(t, tb, b, "a", 90*time.Second)
		time.Sleep(time.Minute)
		tb.End(key, ByeClient)
		add(t, tb, b, "a", 600*time.Second)
		time.Sleep(5 * time.Minute)
		if tb.Len() != 1 || held(b) != 1 || l.String() != "a bye_client" {
			t.Errorf("%d sessions, %d leases, ended: %v", tb.Len(), held(b), l)
		}
	})
}

// TestSetLongest holds for the sessions that come after.
func TestSetLongest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := backends(t, 3)
		tb, l := ticking(t, time.Hour)
		add(t, tb, b, "hour", 0)
		tb.SetLongest(time.Minute)
		add(t, tb, b, "minute", 0)
		tb.SetLongest(0)
		add(t, tb, b, "ever", 0)
		time.Sleep(2 * time.Minute)
		equal(t, l.String(), "minute max_session")
		time.Sleep(2 * time.Hour)
		equal(t, l.String(), "minute max_session, hour max_session")
		if tb.Len() != 1 || held(b) != 1 {
			t.Errorf("%d sessions, %d leases", tb.Len(), held(b))
		}
	})
}

// TestHeldUp: a process that was stopped for a while ends what is over meanwhile, once.
func TestHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := backends(t, 100), &log{}
		tb := NewTable(Options{OnEnd: l.end})
		for i := range 100 {
			add(t, tb, b, fmt.Sprint(i), time.Duration(i+1)*time.Minute)
		}
		time.Sleep(50*time.Minute + 40*time.Second)
		tb.Tick()
		tb.Tick()
		if tb.Len() != 50 || held(b) != 50 || len(l.ends) != 50 {
			t.Errorf("%d sessions, %d leases, %d ended", tb.Len(), held(b), len(l.ends))
		}
	})
}

func equal(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestKey: Call-ID, tag and server are told apart, and a key is never 0.
func TestKey(t *testing.T) {
	tb := NewTable(Options{OnEnd: func(*Session, Reason) {}})
	key := func(id, tag string) uint64 { return Key([]byte(id), []byte(tag), 1) }
	if key("a", "b") != key("a", "b") || key("a", "b") == key("ab", "") || key("a", "b") == key("b", "a") || key("", "") == 0 || key("a", "b") == Key([]byte("a"), []byte("b"), 2) {
		t.Error("keys")
	}
	shardsUsed := map[*shard]bool{}
	for i := range 1000 {
		shardsUsed[tb.shard(key(fmt.Sprint(i), ""))] = true
	}
	if len(shardsUsed) != shards {
		t.Errorf("%d shards in use", len(shardsUsed))
	}
}

func TestReasons(t *testing.T) {
	seen := map[string]bool{}
	for i, r := range Reasons() {
		if int(r) != i || r.String() == "" {
			t.Errorf("%d is %q", r, r)
		}
		seen[r.String()] = true
	}
	if len(seen) != int(reasons) {
		t.Errorf("%v", seen)
	}
}

// TestConcurrent has BYEs from both sides, refreshes and expiry meet: each session ends once and each lease comes back.
func TestConcurrent(t *testing.T) {
	const n = 5000
	b := backends(t, balancer.Unlimited)
	var told atomic.Int64
	tb := NewTable(Options{OnEnd: func(s *Session, _ Reason) {
		told.Add(1)
		if s.Lease.Release() {
			t.Error("a lease that was not released")
		}
	}})
	var ended, refused atomic.Int64
	var workers, owner sync.WaitGroup
	for w := range 4 {
		workers.Go(func() {
			for i := range n {
				key := Key(fmt.Append(nil, i), nil, 1) // the workers fight for the same keys
				l, _ := b.Pick(balancer.Request{Cluster: "asr", Now: time.Now()})
				if !tb.Add(key, &Session{Lease: l}, time.Hour) {
					refused.Add(1)
					l.Release()
				}
				tb.Refresh(key, time.Duration(w)*time.Hour)
				if tb.End(key, Reason(w)) {
					ended.Add(1)
				}
			}
		})
	}
	stop := make(chan struct{})
	owner.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				tb.Tick()
				_ = tb.Len()
			}
		}
	})
	workers.Wait()
	close(stop)
	owner.Wait()
	if tb.Len() != 0 || held(b) != 0 || told.Load() != ended.Load() || ended.Load()+refused.Load() != 4*n {
		t.Errorf("%d sessions, %d leases, %d told, %d ended, %d refused", tb.Len(), held(b), told.Load(), ended.Load(), refused.Load())
	}
}

// TestEndMeetsExpiry: End and Tick for the same session at the same moment; one of them has it.
func TestEndMeetsExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := backends(t, balancer.Unlimited), &log{}
		tb := NewTable(Options{OnEnd: l.end})
		for i := range 200 {
			key := add(t, tb, b, fmt.Sprint(i), time.Second)
			time.Sleep(40 * time.Second)
			var wg sync.WaitGroup
			wg.Go(func() { tb.End(key, ByeClient) })
			wg.Go(func() { tb.End(key, ByeServer) })
			wg.Go(tb.Tick)
			wg.Wait()
			if tb.Len() != 0 || held(b) != 0 || len(l.ends) != i+1 {
				t.Fatalf("%d sessions, %d leases, ended: %v", tb.Len(), held(b), l)
			}
		}
	})
}
