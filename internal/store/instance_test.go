package store

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"mrcproxy/internal/store/redistest"
)

const renew = time.Second

// instance is a Store as an instance of the proxy has it: with a table of sessions that it asks.
type instance struct {
	*Store
	t        testing.TB
	mu       sync.Mutex
	sessions map[uint64]time.Time
	ended    []uint64
	counts   map[string]int
	parts    map[string]int
	tickets  map[uint64]Ticket // the last of each key
	stop     func()
}

func start(t testing.TB, redis Redis, rule Rule) *instance {
	t.Helper()
	return startWithin(t, 50*time.Millisecond, redis, rule)
}

// patient is start with a budget that a busy machine keeps.
func patient(t testing.TB, redis Redis, rule Rule) *instance {
	t.Helper()
	return startWithin(t, 5*time.Second, redis, rule)
}

func startWithin(t testing.TB, timeout time.Duration, redis Redis, rule Rule) *instance {
	t.Helper()
	i := &instance{t: t, sessions: map[uint64]time.Time{}, counts: map[string]int{}, parts: map[string]int{}, tickets: map[uint64]Ticket{}}
	i.Store = New(Options{Redis: redis, Timeout: timeout, Renew: renew, Rule: rule, Log: zap.NewNop(), Until: i.until, Ended: i.gone,
		Counted: i.count, Parted: i.parted, Waited: func(time.Duration) {}})
	i.Store.Count([]*Place{i.place()})
	i.Connect()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = i.Run(ctx)
	}()
	i.stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(i.stop)
	return i
}

func (i *instance) until(key uint64) (time.Time, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	at, ok := i.sessions[key]
	return at, ok
}

func (i *instance) gone(key uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.sessions, key)
	i.ended = append(i.ended, key)
}

func (i *instance) count(cluster, pool string, elsewhere int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.counts[cluster+" "+pool] = elsewhere
}

func (i *instance) parted(cluster, pool string, most int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.parts[cluster+" "+pool] = most
}

// part is what it was told that it may have at the server; -1 for any number.
func (i *instance) part() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	if n, ok := i.parts["asr server"]; ok {
		return n
	}
	return -1
}

func (i *instance) place() *Place { return i.Place("asr", "server", "licences") }

// admit asks for a place and waits for the verdict.
func (i *instance) admit(key uint64, limits ...int) Verdict {
	i.t.Helper()
	got := make(chan Verdict, 1)
	v, ticket := i.Admit(key, i.place(), limits, time.Second, func(v Verdict) { got <- v })
	i.keep(key, ticket)
	if v != Later {
		return v
	}
	select {
	case v = <-got:
	case <-time.After(30 * time.Second):
		i.t.Error("no verdict")
	}
	return v
}

// hold has a session counted that is there already.
func (i *instance) hold(key uint64) { i.keep(key, i.Hold(key, i.place())) }

func (i *instance) keep(key uint64, t Ticket) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.tickets[key] = t
}

// release gives the place of a key back.
func (i *instance) release(key uint64) {
	i.mu.Lock()
	t := i.tickets[key]
	i.mu.Unlock()
	i.Release(t)
}

// establish is a session's 2xx.
func (i *instance) establish(keys ...uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, key := range keys {
		i.sessions[key] = time.Now().Add(time.Hour)
		i.Established(key)
	}
}

// bye ends a session of this instance.
func (i *instance) bye(key uint64) {
	i.mu.Lock()
	delete(i.sessions, key)
	i.mu.Unlock()
	i.release(key)
}

func (i *instance) elsewhere() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.counts["asr server"]
}

func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func redisAt(s *redistest.Server) Redis { return Dial(Server{Addrs: []string{s.Addr()}, Prefix: "t"}) }

var (
	three  = Rule{Share, 3}
	server = "t:{asr}:server"
	ended  = "t:{asr}:ended"
)

// exact waits until counts are those of all instances.
func exact(t testing.TB, all ...*instance) {
	t.Helper()
	await(t, "limits are exact", func() bool {
		return !slices.ContainsFunc(all, func(i *instance) bool { return !i.Stats().Exact })
	})
}

func a(i *instance) int { return i.Stats().Leases }

// heldAt is how many of its sessions Redis has in a pool, as far as the instance knows.
func (i *instance) heldAt(name string) int {
	i.Store.mu.Lock()
	defer i.Store.mu.Unlock()
	return i.pools[i.key("asr", name)].held
}
