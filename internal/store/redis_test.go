package store

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mrcproxy/internal/clocktest"
	"mrcproxy/internal/store/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
