package balancer

import (
	"math/rand"
	"testing"
	"time"
)

func TestPolicyNames(t *testing.T) {
	for p := range policies {
		if got, err := ParsePolicy(Policy(p).String()); got != Policy(p) || err != nil {
			t.Errorf("%v: %v, %v", Policy(p), got, err)
		}
	}
	if _, err := ParsePolicy("fastest"); err == nil {
		t.Error("an unknown policy is known")
	}
}

func pickHash(t *testing.T, b *Balancer, h uint64) *Backend {
	t.Helper()
	l, why := b.Pick(Request{Cluster: "c", Now: t0, Hash: h})
	if l == nil {
		t.Fatal(why)
	}
	defer l.Release()
	return l.Backend()
}

// The same hash finds the same server; a server that leaves moves its own hashes only, and gets them back; parts are as the
// weights.
func TestHashIsRendezvous(t *testing.T) {
	all := servers(5, 100, 1)
	all[1].Weight = 3
	b := with(t, single(Hash, all...))
	const keys = 20000
	home, counts := make([]*Backend, keys), map[int]int{}
	for k := range keys {
		home[k] = pickHash(t, b, uint64(k))
		counts[number(home[k])]++
	}
	for n, got := range counts {
		want := keys / 7
		if n == 2 {
			want *= 3
		}
		if got < want*9/10 || got > want*11/10 {
			t.Errorf("server %d has %d of %d, want about %d", n, got, keys, want)
		}
	}
	gone := backend(t, b, "c", 3)
	b.SetState(gone, Down, t0)
	for k := range keys {
		if now := pickHash(t, b, uint64(k)); (now != home[k]) != (home[k] == gone) {
			t.Fatalf("hash %d moved from %s to %s", k, home[k].URI(), now.URI())
		}
	}
	b.SetState(gone, Up, t0)
	apply(t, b, single(Hash, all[:4]...)) // another leaves for good
	for k := range keys {
		if now := pickHash(t, b, uint64(k)); number(home[k]) != 5 && now != home[k] {
			t.Fatalf("hash %d moved from %s to %s", k, home[k].URI(), now.URI())
		}
	}
}

// A server that starts takes its hashes over little by little.
func TestHashSlowStart(t *testing.T) {
	b := with(t, slow(Hash, 10*time.Second, t0, servers(3, 100, 1)...))
	apply(t, b, slow(Hash, 10*time.Second, t0, servers(4, 100, 1)...))
	had := map[int]bool{}
	for _, step := range []struct{ after, least, most int }{{0, 200, 450}, {5, 1200, 1650}, {10, 2250, 2750}} {
		n := 0
		for k := range 10000 {
			l, _ := b.Pick(Request{Cluster: "c", Now: t0.Add(time.Duration(step.after) * time.Second), Hash: uint64(k)})
			l.Release()
			if number(l.Backend()) == 4 {
				had[k] = true
				n++
			} else if had[k] {
				t.Fatalf("hash %d went back", k)
			}
		}
		if n < step.least || n > step.most {
			t.Errorf("after %d s it has %d of 10000", step.after, n)
		}
	}
}

func TestOrderedFillsOneAfterTheOther(t *testing.T) {
	b := with(t, single(Ordered, servers(3, 2, 1)...))
	var got []int
	for range 6 {
		got = append(got, number(mustPick(t, b, "c").Backend()))
	}
	for i, n := range []int{1, 1, 2, 2, 3, 3} {
		if got[i] != n {
			t.Fatalf("%v", got)
		}
	}
}

// The fast get the most, the slowest of all next to nothing, and one that nothing is known of is tried.
func TestLatency(t *testing.T) {
	b := with(t, single(Latency, servers(4, Unlimited, 1)...))
	for n, took := range map[int]time.Duration{1: 5 * time.Millisecond, 2: 10 * time.Millisecond, 3: 200 * time.Millisecond, 4: 5 * time.Millisecond} {
		for range 100 {
			b.Observe(backend(t, b, "c", n), took)
		}
	}
	got := counts(t, b, 6000, false)
	// Of two drawn without repetition, 3 is never the faster; 2 is with 3 only; 1 and 4 share the rest.
	if got[3] != 0 || got[2] < 800 || got[2] > 1200 || got[1] < 2200 || got[4] < 2200 {
		t.Errorf("%v", got)
	}
	b.Observe(backend(t, b, "c", 1), time.Second) // one slow answer in a hundred changes the order, one average later
	if v := b.View()[0].Latency; v < 120*time.Millisecond || v > 135*time.Millisecond {
		t.Errorf("average %v", v)
	}
	apply(t, b, single(Latency, servers(5, Unlimited, 1)...))
	if got := counts(t, b, 1000, false); got[5] < 300 {
		t.Errorf("a new one has had %d of 1000", got[5])
	}
}

// What a server missed while it could not be picked is not made up for.
func TestWeightedDoesNotCatchUp(t *testing.T) {
	for _, out := range []func(b *Balancer, be *Backend, out bool){
		func(b *Balancer, be *Backend, out bool) {
			b.SetState(be, map[bool]State{true: Down, false: Up}[out], t0)
		},
		func(b *Balancer, be *Backend, out bool) { b.SetElsewhere(be, map[bool]int{true: 100, false: 0}[out]) },
		func(b *Balancer, be *Backend, out bool) {
			b.Hold(be, map[bool]time.Time{true: t0.Add(time.Hour), false: {}}[out])
		},
	} {
		b := with(t, single(Weighted, server(1, 100, 5), server(2, 100, 1), server(3, 100, 4)))
		counts(t, b, 100, false)
		out(b, backend(t, b, "c", 3), true)
		wantCounts(t, counts(t, b, 600, false), 500, 100)
		out(b, backend(t, b, "c", 3), false)
		if got := counts(t, b, 10, false); got[3] < 4 || got[3] > 5 {
			t.Errorf("after its absence: %v", got)
		}
		wantCounts(t, counts(t, b, 100, false), 50, 10, 40)
	}
}

// TestNobodyStarves: whatever the policy but ordered, a server with weight and room gets sessions.
func TestNobodyStarves(t *testing.T) {
	for seed := range int64(50) {
		rnd := rand.New(rand.NewSource(seed))
		for _, p := range []Policy{LeastLoad, Weighted, Hash, Latency} {
			var all []BackendSpec
			for i := range 1 + rnd.Intn(8) {
				all = append(all, server(i+1, 50+rnd.Intn(100), 1+rnd.Intn(4)))
			}
			b := with(t, single(p, all...))
			var live []*Lease
			got := map[int]int{}
			for range 600 {
				l, why := b.Pick(Request{Cluster: "c", Now: t0, Hash: rnd.Uint64()})
				if l == nil {
					t.Fatal(why)
				}
				got[number(l.Backend())]++
				live = append(live, l)
				for len(live) > 40 || len(live) > 0 && rnd.Intn(2) == 0 {
					i := rnd.Intn(len(live))
					live[i].Release()
					live[i] = live[len(live)-1]
					live = live[:len(live)-1]
				}
			}
			if len(got) != len(all) {
				t.Errorf("seed %d, %v: of %d servers only %v", seed, p, len(all), got)
			}
		}
	}
}
