package balancer

import (
	"math/rand"
	"testing"
	"time"
)

// slow is one cluster that starts backends slowly.
func slow(p Policy, window time.Duration, now time.Time, backends ...BackendSpec) Spec {
	s := single(p, backends...)
	s.Clusters[0].SlowStart, s.Now = window, now
	return s
}

// TestNewcomer: beside three servers with 40 sessions each, of half an hour, one is added, or comes back empty. Whatever the
// rate of calls, while it starts its part of the new ones is at most a half, and at the end all have the same.
func TestNewcomer(t *testing.T) {
	const window = time.Minute
	for _, p := range []Policy{LeastLoad, Weighted} {
		for _, gap := range []time.Duration{20 * time.Millisecond, time.Second, 15 * time.Second} {
			for _, back := range []bool{false, true} {
				newcomer(t, p, window, gap, back)
			}
		}
	}
}

func newcomer(t *testing.T, p Policy, window, gap time.Duration, back bool) {
	all, n := servers(4, 1000000, 1), 3
	if back {
		n = 4
	}
	b := with(t, slow(p, window, t0, all[:n]...))
	if back {
		b.SetState(backend(t, b, "c", 4), Down, t0)
	}
	for range 120 {
		mustPick(t, b, "c")
	}
	now := t0.Add(time.Hour)
	if apply(t, b, slow(p, window, now, all...)); back {
		b.SetState(backend(t, b, "c", 4), Up, now)
	}
	fourth := backend(t, b, "c", 4)
	const calls = 4000
	ends := make([]*Lease, 0, calls)
	given, worst, early := 0, 0.0, 0
	for i := 1; i <= calls; i++ {
		now = now.Add(gap)
		if held := int(30 * time.Minute / gap); i > held && held > 0 {
			ends[i-held-1].Release()
		}
		starting := fourth.starting()
		l, why := b.Pick(Request{Cluster: "c", Now: now})
		if l == nil {
			t.Fatal(why)
		}
		ends = append(ends, l)
		if !starting {
			continue
		}
		if l.Backend() == fourth {
			if given++; now.Sub(t0) < time.Hour+window/2 {
				early++
			}
		}
		if part := float64(given) / float64(i); i > 1 {
			worst = max(worst, part)
		}
	}
	if worst > 0.5 {
		t.Errorf("%v, a call each %v, back %v: %.2f of the calls while it started", p, gap, back, worst)
	}
	if fourth.starting() {
		t.Errorf("%v, a call each %v: it starts for ever", p, gap)
	}
	if p != LeastLoad {
		return
	}
	if early > int(window/2/gap)/2+1 {
		t.Errorf("a call each %v: %d in half the window", gap, early)
	}
	least, most := 1<<30, 0
	for _, v := range b.View() {
		least, most = min(least, v.Sessions), max(most, v.Sessions)
	}
	if most-least > 1 {
		t.Errorf("a call each %v, back %v: from %d to %d sessions at the end", gap, back, least, most)
	}
}

// Concurrency grows with the time, not with the calls: at 1,000 calls a second a newcomer has never more than its part of
// what the others have.
func TestNewcomerGrowsWithTime(t *testing.T) {
	const window = 10 * time.Second
	b := with(t, slow(LeastLoad, window, t0, servers(3, Unlimited, 1)...))
	for range 300 {
		mustPick(t, b, "c")
	}
	apply(t, b, slow(LeastLoad, window, t0, servers(4, Unlimited, 1)...))
	fourth, now := backend(t, b, "c", 4), t0
	for range 10000 {
		now = now.Add(time.Millisecond)
		l, _ := b.Pick(Request{Cluster: "c", Now: now})
		part := max(0.1, float64(now.Sub(t0))/float64(window))
		if warm := backend(t, b, "c", 1).Sessions(); float64(fourth.Sessions()) > part*float64(warm)+2 {
			t.Fatalf("after %v it has %d sessions, the others %d", now.Sub(t0), fourth.Sessions(), warm)
		}
		if l.Backend() != fourth {
			defer l.Release()
		}
	}
	if fourth.Sessions() < 500 {
		t.Errorf("%d sessions at the end", fourth.Sessions())
	}
}

// TestSlowStartProperty: random weights, capacities, rates and moments. While another backend has room, backends that start
// get at most every other session, together; nobody starves; and all of it ends.
func TestSlowStartProperty(t *testing.T) {
	for seed := range int64(60) {
		rnd := rand.New(rand.NewSource(seed))
		p := []Policy{LeastLoad, Weighted, Ordered}[rnd.Intn(3)]
		window := time.Duration(1+rnd.Intn(60)) * time.Second
		var all []BackendSpec
		for i := range 2 + rnd.Intn(6) {
			all = append(all, server(i+1, 1000+rnd.Intn(5000), 1+rnd.Intn(4)))
		}
		warm := 1 + rnd.Intn(len(all)-1)
		b := with(t, slow(p, window, t0, all[:warm]...))
		now := t0
		var live []*Lease
		for range rnd.Intn(500) {
			live = append(live, mustPick(t, b, "c"))
		}
		apply(t, b, slow(p, window, now, all...))
		got, last, lastCold := map[*Backend]int{}, (*Backend)(nil), false
		for range 20000 {
			now = now.Add(time.Duration(rnd.Intn(int(window)/900 + 1)))
			l, why := b.Pick(Request{Cluster: "c", Now: now})
			if l == nil {
				t.Fatalf("seed %d: %v", seed, why)
			}
			cold := l.Backend().starting()
			if cold && (l.Backend() == last || lastCold && now.Sub(t0) < window) {
				t.Fatalf("seed %d, %v: two in a row to backends that start", seed, p)
			}
			last, lastCold = l.Backend(), cold
			got[l.Backend()]++
			live = append(live, l)
			for len(live) > 0 && rnd.Intn(100) < 49 || len(live) > 800 {
				i := rnd.Intn(len(live))
				live[i].Release()
				live[i] = live[len(live)-1]
				live = live[:len(live)-1]
			}
		}
		for _, be := range b.Backends() {
			if be.starting() && p != Ordered {
				t.Errorf("seed %d, %v: %s still starts after %v of %v", seed, p, be.URI(), now.Sub(t0), window)
			}
			if got[be] == 0 && p != Ordered {
				t.Errorf("seed %d, %v: %s has had nothing", seed, p, be.URI())
			}
		}
	}
}

// A server that is alone, or whose peers are full, gets what there is, start or not.
func TestSlowStartNeverRefuses(t *testing.T) {
	for p := range policies {
		b := with(t, slow(Policy(p), time.Minute, t0, servers(2, 3, 1)...))
		b.SetState(backend(t, b, "c", 2), Down, t0)
		for range 3 {
			mustPick(t, b, "c")
		}
		b.SetState(backend(t, b, "c", 2), Up, t0)
		for range 3 {
			if l := mustPick(t, b, "c"); number(l.Backend()) != 2 {
				t.Errorf("%v: server %d", Policy(p), number(l.Backend()))
			}
		}
	}
}

// At the start of the daemon all are new: none is slower than another, and hash and latency spread as ever.
func TestFirstConfigurationIsWarm(t *testing.T) {
	b := with(t, slow(LeastLoad, time.Minute, t0, servers(4, 100, 1)...))
	for _, v := range b.View() {
		if !v.StartedAt.IsZero() {
			t.Errorf("%s starts slowly", v.URI)
		}
	}
	s := slow(LeastLoad, time.Minute, t0, servers(4, 100, 1)...)
	s.Clusters[0].Groups[0].Backends[3].Weight = 0
	apply(t, b, s)
	apply(t, b, slow(LeastLoad, time.Minute, t0, servers(5, 100, 1)...))
	for i, v := range b.View() {
		if v.StartedAt.IsZero() != (i < 3) { // the fourth had no weight, the fifth is new
			t.Errorf("%s: starts at %v", v.URI, v.StartedAt)
		}
	}
	s = slow(LeastLoad, 0, t0, servers(5, 100, 1)...)
	if apply(t, b, s); !b.View()[4].StartedAt.IsZero() {
		t.Error("a slow start goes on without a window")
	}
}
