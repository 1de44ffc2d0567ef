package store

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"mrcproxy/internal/clocktest"
	"mrcproxy/internal/store/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

// TestLimit: two instances together get as many places as there are, whichever limit is the lower, and a place that is given
// back is there for the other.
func TestLimit(t *testing.T) {
	s := redistest.Start(t)
	a, b := patient(t, redisAt(s), three), patient(t, redisAt(s), three)
	exact(t, a, b)
	for _, limits := range [][]int{{3, -1}, {-1, 3}, {3, 9}} {
		for n, i := range []*instance{a, b, a} {
			if v := i.admit(uint64(n+1), limits...); v != Admitted {
				t.Fatalf("%v: %d: %v", limits, n, v)
			}
		}
		if v := b.admit(9, limits...); v != Full {
			t.Errorf("%v: the fourth: %v", limits, v)
		}
		if v := a.admit(1, limits...); v != Admitted {
			t.Errorf("a second INVITE of the same dialog: %v", v)
		}
		a.release(1)
		if v := b.admit(9, limits...); v != Full {
			t.Errorf("%v: one of two holders has released: %v", limits, v)
		}
		a.release(1)
		await(t, "the place is free", func() bool { return s.Size(server) == 2 })
		if v := b.admit(9, limits...); v != Admitted {
			t.Errorf("%v: in the place given back: %v", limits, v)
		}
		a.release(3)
		b.release(2)
		b.release(9)
		await(t, "all are free", func() bool { return s.Size(server) == 0 })
	}
	if n := s.Size(ended); n != 0 {
		t.Errorf("the ends of %d sessions are remembered that never were", n)
	}
}

// TestRace: 1,000 are wanted by three instances at once of 200 places. No more are ever given, and all are.
func TestRace(t *testing.T) {
	s := redistest.Start(t)
	var all []*instance
	for range 3 {
		all = append(all, patient(t, redisAt(s), three))
	}
	exact(t, all...)
	var admitted atomic.Int64
	var wait sync.WaitGroup
	for n := range 1000 {
		i := all[n%3]
		wait.Go(func() {
			if i.admit(uint64(n+1), 200, -1) == Admitted {
				admitted.Add(1)
				i.establish(uint64(n + 1))
			}
		})
	}
	wait.Wait()
	if admitted.Load() != 200 || s.Size(server) != 200 {
		t.Errorf("%d admitted, %d in Redis", admitted.Load(), s.Size(server))
	}
	await(t, "each knows what the others have", func() bool {
		return a(all[0])+all[0].elsewhere() == 200 && a(all[1])+all[1].elsewhere() == 200
	})
	for n := range 1000 {
		all[n%3].bye(uint64(n + 1))
	}
	await(t, "nothing is left", func() bool { return s.Size(server) == 0 && s.Size("t:{asr}:licences") == 0 })
}

func a(i *instance) int { return i.Stats().Leases }

// TestExpiry: a lease that is neither established nor released is not there for ever, and one of an instance that is killed
// is there for as long as its session may last.
func TestExpiry(t *testing.T) {
	s := redistest.Start(t)
	i := patient(t, redisAt(s), three)
	exact(t, i)
	if i.admit(1, 1, 1) != Admitted || i.admit(2, 2, 2) != Admitted {
		t.Fatal("not admitted")
	}
	ttl := func(key uint64) time.Duration {
		at, err := s.Client.ZScore(context.Background(), server, member(key)).Result()
		if err != nil {
			t.Fatal(err)
		}
		return time.Until(time.UnixMilli(int64(at)))
	}
	if d := ttl(1); d > 7*time.Second || d < 5*time.Second {
		t.Errorf("an INVITE's lease lasts %v", d)
	}
	i.establish(1)
	await(t, "the session's lease lasts as long as it", func() bool { return ttl(1) > 59*time.Minute })
	if d := ttl(2); d > 11*time.Second {
		t.Errorf("an INVITE's lease lasts %v", d)
	}
	if d := s.Client.PTTL(context.Background(), server).Val(); d < 59*time.Minute || d > 61*time.Minute {
		t.Errorf("the key lasts %v", d)
	}
}

// TestEndedElsewhere: the BYE of a session that one instance has is served by another. The place is free at once, and who had
// the session hears of it within a period.
func TestEndedElsewhere(t *testing.T) {
	s := redistest.Start(t)
	a, b := patient(t, redisAt(s), three), patient(t, redisAt(s), three)
	exact(t, a, b)
	a.admit(1, 1, 1)
	a.establish(1)
	await(t, "it is established", func() bool { return s.Client.PTTL(context.Background(), server).Val() > time.Minute })
	b.Ended(1, b.place())
	await(t, "the place is free", func() bool { return s.Size(server) == 0 })
	took := clocktest.Start(t).Time
	await(t, "its instance hears of it", func() bool { _, ok := a.until(1); return !ok })
	if d := took(); d > renew+200*time.Millisecond {
		t.Errorf("after %v", d)
	}
	if s.Size(server) != 0 {
		t.Error("it was put there again")
	}
	if v := b.admit(1, 1, 1); v != Admitted { // the same Call-ID and tag again
		t.Errorf("a new session under the key: %v", v)
	}
	b.establish(1)
	await(t, "it is renewed", func() bool { return s.Client.PTTL(context.Background(), server).Val() > time.Minute })
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.Size(server) != 1 || len(b.ended) != 0 {
		t.Errorf("%d in Redis, ended %v", s.Size(server), b.ended)
	}
}

// TestReleasedLate: what is given back is the place that was given, though another session has come to its key meanwhile.
func TestReleasedLate(t *testing.T) {
	s := redistest.Start(t)
	a, b := patient(t, redisAt(s), three), patient(t, redisAt(s), three)
	exact(t, a, b)
	a.admit(1, 9, 9)
	a.establish(1)
	first := a.tickets[1]
	b.Ended(1, b.place())
	await(t, "its instance hears of it", func() bool { _, ok := a.until(1); return !ok })
	a.admit(1, 9, 9)
	a.admit(1, 9, 9) // the place is given twice
	a.Release(first)
	a.Release(a.tickets[1])
	a.hold(1) // no place of its own
	a.release(1)
	a.admit(2, 9, 9)
	a.release(2)
	await(t, "the last is gone", func() bool { return a.Stats().Leases == 1 && a.heldAt("server") == 1 })
	if n := s.Size(server); n != 1 {
		t.Errorf("%d in Redis, want 1", n)
	}
	a.Release(Ticket{})
}

// TestEndedAtOnce: a session that another instance has learned of, from its ACK, and that ends before it was ever renewed, is
// over there as well; and one that never came to be leaves no mark.
func TestEndedAtOnce(t *testing.T) {
	s := redistest.Start(t)
	a, b := patient(t, redisAt(s), three), patient(t, redisAt(s), three)
	exact(t, a, b)
	a.admit(2, 9, 9)
	a.release(2)
	a.admit(1, 9, 9)
	a.establish(1)
	b.establish(1)
	b.hold(1)
	a.bye(1)
	await(t, "the other instance hears of it", func() bool { _, ok := b.until(1); return !ok })
	await(t, "the place is free", func() bool { return s.Size(server) == 0 })
	if n := s.Size(ended); n != 1 {
		t.Errorf("%d ends are remembered, want 1", n)
	}
}

// TestHold: a session that was there before this process is counted, also above the limit.
func TestHold(t *testing.T) {
	s := redistest.Start(t)
	a, b := patient(t, redisAt(s), three), patient(t, redisAt(s), three)
	exact(t, a, b)
	for key := range uint64(5) {
		a.establish(key + 1)
		a.hold(key + 1)
	}
	await(t, "they are counted", func() bool { return s.Size(server) == 5 })
	if v := b.admit(9, 5, -1); v != Full {
		t.Errorf("a sixth: %v", v)
	}
	a.bye(1)
	await(t, "one is gone", func() bool { return s.Size(server) == 4 })
}

// TestLoss is Redis gone in two ways, under each of the rules. No verdict takes longer than two budgets, and counts are exact
// again within two periods of its return. The budget is one that a busy machine keeps; TestBreaker has the usual one.
func TestLoss(t *testing.T) {
	const limit, instances, budget = 30, 3, 400 * time.Millisecond
	ways := map[string]struct{ away, back func(*redistest.Server) }{
		"killed": {(*redistest.Server).Kill, (*redistest.Server).Run},
		"paused": {(*redistest.Server).Pause, (*redistest.Server).Resume},
	}
	for how, way := range ways {
		for _, rule := range []Rule{{Share, instances}, {Open, instances}, {Reject, instances}} {
			t.Run(fmt.Sprint(how, rule.OnLoss), func(t *testing.T) {
				t.Parallel()
				s, now := redistest.Start(t), clocktest.Start(t).Time
				var all []*instance
				for range instances {
					all = append(all, startWithin(t, budget, redisAt(s), rule))
				}
				exact(t, all...)
				next := uint64(0)
				fill := func(i *instance, want int) (n int, worst time.Duration) {
					for range want {
						next++
						began := now()
						if i.admit(next, limit, -1) == Admitted {
							i.establish(next)
							n++
						}
						worst = max(worst, now()-began)
					}
					return n, worst
				}
				had := [instances]int{14, 4, 1} // one more than an equal part
				for k, i := range all {
					if n, _ := fill(i, had[k]); n != had[k] {
						t.Fatalf("%d of %d admitted", n, had[k])
					}
				}
				await(t, "each has counted the others", func() bool {
					return all[0].elsewhere() == 5 && all[1].elsewhere() == 15 && all[2].elsewhere() == 18
				})
				way.away(s)
				sum := 0
				for k, i := range all {
					n, worst := fill(i, limit)
					sum += had[k] + n
					if want := map[OnLoss]int{Share: (limit - 19) / instances, Open: limit - had[k], Reject: 0}[rule.OnLoss]; n != want {
						t.Errorf("%d admitted without Redis beside %d, want %d", n, had[k], want)
					}
					if rule.OnLoss == Share { // what ends gives its place to the same instance
						i.bye(next - limit + 1)
						if n, _ := fill(i, 2); n != 1 {
							t.Errorf("%d admitted in one place given back", n)
						}
					}
					if want := map[OnLoss]int{Share: had[k] + (limit-19)/instances, Open: -1, Reject: -1}[rule.OnLoss]; i.part() != want {
						t.Errorf("told to have %d, want %d", i.part(), want)
					}
					if worst > 2*budget {
						t.Errorf("a verdict took %v", worst)
					}
					if st := i.Stats(); st.Up || st.Exact || st.Losses != 1 {
						t.Errorf("%+v", st)
					}
				}
				way.back(s)
				began := now()
				await(t, "all are counted", func() bool { return s.Size(server) == sum })
				if d := now() - began; d > 2*renew {
					t.Errorf("after %v", d)
				}
				exact(t, all...)
				await(t, "no part holds", func() bool { return all[0].part() < 0 && all[1].part() < 0 && all[2].part() < 0 })
				n := 0
				for _, i := range all {
					k, _ := fill(i, 2*limit)
					n += k
				}
				if over := sum - limit; n != max(-over, 0) {
					t.Errorf("%d admitted when Redis was back, want %d", n, max(-over, 0))
				}
				if rule.OnLoss != Open && s.Size(server) != limit {
					t.Errorf("%d in Redis", s.Size(server))
				}
			})
		}
	}
}

// TestFlush: when Redis loses its data, the leases are put there again, and until that has happened no limit is passed.
func TestFlush(t *testing.T) {
	s := redistest.Start(t)
	a, b := patient(t, redisAt(s), Rule{Share, 2}), patient(t, redisAt(s), Rule{Share, 2})
	exact(t, a, b)
	for key := range uint64(20) {
		if a.admit(key+1, 30, -1) != Admitted {
			t.Fatal("not admitted")
		}
		a.establish(key + 1)
	}
	await(t, "they are counted", func() bool { return b.elsewhere() == 20 })
	s.Flush()
	took := clocktest.Start(t).Time
	for key := range uint64(30) {
		b.admit(100+key, 30, -1)
	}
	if n := b.Stats().Leases; n != 5 {
		t.Errorf("%d admitted just after the loss, want half of the 10 that were free", n)
	}
	await(t, "all are counted again", func() bool { return s.Size(server) == 25 })
	if d := took(); d > 2*renew {
		t.Errorf("after %v", d)
	}
	exact(t, a, b)
	if a.Stats().Resets != 1 || b.Stats().Resets != 1 || a.Stats().Losses != 0 {
		t.Errorf("%+v, %+v", a.Stats(), b.Stats())
	}
}

// TestLateCommand: what was sent to a Redis that stood still is not carried out when it goes on: it would put a lease back
// that was released meanwhile.
func TestLateCommand(t *testing.T) {
	s := redistest.Start(t)
	i := start(t, redisAt(s), three)
	exact(t, i)
	i.admit(1, 9, 9)
	i.establish(1)
	await(t, "it is established", func() bool { return s.Client.PTTL(context.Background(), server).Val() > time.Minute })
	s.Pause()
	i.hold(2) // a renewal goes out
	await(t, "the loss is noticed", func() bool { return !i.Stats().Up })
	i.bye(1)
	i.bye(2)
	time.Sleep(150 * time.Millisecond)
	s.Resume()
	await(t, "it is back", func() bool { return i.Stats().Up })
	await(t, "both are gone", func() bool { return s.Size(server) == 0 })
	time.Sleep(300 * time.Millisecond)
	if n := s.Size(server); n != 0 {
		t.Errorf("%d are there again", n)
	}
}

// TestLeave: who has left a session to a successor does not put it back, not even into a Redis that has forgotten that it has
// ended; and goes on with one that is being set up until that is established.
func TestLeave(t *testing.T) {
	s := redistest.Start(t)
	a, b := patient(t, redisAt(s), three), patient(t, redisAt(s), three)
	exact(t, a, b)
	lasts := func(key uint64) bool {
		at, err := s.Client.ZScore(context.Background(), server, member(key)).Result()
		return err == nil && time.Until(time.UnixMilli(int64(at))) > 30*time.Minute
	}
	for key := range uint64(4) {
		a.admit(key+1, 9, 9)
	}
	a.establish(1, 2)
	await(t, "two are established", func() bool { return lasts(1) && lasts(2) })
	a.admit(5, 9, 9)
	a.establish(5) // just now
	a.Leave()
	for _, key := range []uint64{1, 2, 5} {
		b.establish(key)
		b.hold(key)
	}
	await(t, "the successor has them", func() bool { return b.heldAt("server") == 3 })
	for _, key := range []uint64{1, 2, 5} {
		b.bye(key)
	}
	await(t, "they have ended", func() bool { return s.Size(server) == 2 })
	s.Flush()
	a.establish(3)
	await(t, "the loss is noticed", func() bool { return a.Stats().Resets == 1 && b.Stats().Resets == 1 })
	await(t, "a session is there that was being set up", func() bool { return lasts(3) })
	exact(t, a, b)
	if n := s.Size(server); n != 2 || len(a.ended) != 0 {
		t.Errorf("%d in Redis, want 2; told that %v have ended", n, a.ended)
	}
	a.bye(3)
	a.release(4)
	await(t, "nothing is left", func() bool { return s.Size(server) == 0 })
}

// heldAt is how many of its sessions Redis has in a pool, as far as the instance knows.
func (i *instance) heldAt(name string) int {
	i.Store.mu.Lock()
	defer i.Store.mu.Unlock()
	return i.pools[i.key("asr", name)].held
}

// TestStop: what ended last is taken out of Redis before Run returns, and what goes on stays there.
func TestStop(t *testing.T) {
	s := redistest.Start(t)
	i := patient(t, redisAt(s), three)
	exact(t, i)
	i.admit(1, 9, 9)
	i.admit(2, 9, 9)
	i.release(1)
	i.stop()
	if n := s.Size(server); n != 1 {
		t.Errorf("%d in Redis, want 1", n)
	}
	if v := i.admit(3, 9, 9); v != Admitted {
		t.Errorf("after the end: %v", v)
	}
}

// BenchmarkAdmit is one admission at a time, and its release, over the loopback.
func BenchmarkAdmit(b *testing.B) {
	s := redistest.Start(b)
	i := patient(b, redisAt(s), three)
	exact(b, i)
	pl := i.place()
	var took []time.Duration
	got := make(chan Verdict, 1)
	key := uint64(0)
	for b.Loop() {
		key++
		began := time.Now()
		v, ticket := i.Admit(key, pl, []int{50, 50}, time.Second, func(v Verdict) { got <- v })
		if v != Later {
			b.Fatal("without Redis")
		}
		if v := <-got; v != Admitted {
			b.Fatal(v)
		}
		took = append(took, time.Since(began))
		i.Release(ticket)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
	b.ReportMetric(float64(s.Busy("evalsha").Microseconds())/float64(b.N), "redis-us/op")
}

// BenchmarkReassert puts 10,000 leases into Redis, each into two pools, and says what one costs there.
func BenchmarkReassert(b *testing.B) {
	const n = 10000
	s := redistest.Start(b)
	i := patient(b, redisAt(s), three)
	exact(b, i)
	pl := i.place()
	key, busy := uint64(0), s.Busy("evalsha")
	for b.Loop() {
		for range n {
			key++
			i.establish(key)
			i.Hold(key, pl)
		}
		for s.Size(server) < int(key) {
			time.Sleep(time.Millisecond)
		}
	}
	b.ReportMetric(float64((s.Busy("evalsha")-busy).Microseconds())/float64(key), "redis-us/lease")
	b.ReportMetric(float64(s.Client.MemoryUsage(context.Background(), server).Val())/float64(key), "B/member")
}
