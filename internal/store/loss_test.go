package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	"mrcproxy/internal/clocktest"
	"mrcproxy/internal/store/redistest"
)

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
