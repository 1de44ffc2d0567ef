package balancer

import (
	"net/netip"
	"testing"
	"time"
)

// two is a cluster with servers 1 and 2 here and 3 in another IDC.
func two(after, ramp time.Duration, remote int) Spec {
	return Spec{IDC: "a", Clusters: []ClusterSpec{{Name: "c", FailbackAfter: after, FailbackRamp: ramp, Groups: []GroupSpec{
		{IDC: "a", Backends: servers(2, Unlimited, 1)}, {IDC: "b", Backends: []BackendSpec{server(3, remote, 1)}},
	}}}}
}

func local(t *testing.T, b *Balancer, at time.Duration) bool {
	t.Helper()
	l, why := b.Pick(Request{Cluster: "c", Now: t0.Add(at)})
	if l == nil {
		t.Fatal(why)
	}
	l.Release()
	return number(l.Backend()) < 3
}

func TestFailbackWaitsUntilSteady(t *testing.T) {
	b := with(t, two(30*time.Second, 0, 1))
	one, other := backend(t, b, "c", 1), backend(t, b, "c", 2)
	at := func(s int) time.Duration { return time.Duration(s) * time.Second }
	set := func(be *Backend, st State, s int) { b.SetState(be, st, t0.Add(at(s))) }
	set(one, Down, 0)
	if !local(t, b, at(1)) {
		t.Error("a group with one that is up is no dead group")
	}
	set(other, Down, 2)
	set(one, Up, 10)
	if local(t, b, at(11)) || local(t, b, at(39)) {
		t.Error("back before it was steady")
	}
	apply(t, b, two(30*time.Second, 0, 1)) // forgets nothing
	set(other, Up, 20)                     // one more is no setback
	if local(t, b, at(39)) {
		t.Error("back before it was steady")
	}
	set(other, Down, 35) // but one less is
	if local(t, b, at(64)) {
		t.Error("it was not steady")
	}
	full, _ := b.Pick(Request{Cluster: "c", Now: t0.Add(at(50))})
	if number(full.Backend()) != 3 {
		t.Fatal("taken here")
	}
	if !local(t, b, at(50)) {
		t.Error("the other is full: better here than nowhere")
	}
	full.Release()
	if !local(t, b, at(65)) || !local(t, b, at(66)) {
		t.Error("steady for 30 s, and not back")
	}
}

// The sessions come back little by little: over a ramp of 60 s the part grows from none to all.
func TestFailbackRamp(t *testing.T) {
	b := with(t, two(30*time.Second, time.Minute, Unlimited))
	for _, n := range []int{1, 2} {
		b.SetState(backend(t, b, "c", n), Draining, t0)
		b.SetState(backend(t, b, "c", n), Up, t0)
	}
	b.SetState(backend(t, b, "c", 1), Down, t0)
	b.SetState(backend(t, b, "c", 2), Down, t0)
	b.SetState(backend(t, b, "c", 1), Up, t0)
	var parts []int
	for tenth := range 10 { // of the ramp
		n := 0
		for i := range 600 {
			if local(t, b, 30*time.Second+time.Duration(tenth*600+i)*10*time.Millisecond) {
				n++
			}
		}
		parts = append(parts, n)
	}
	for i, n := range parts {
		if want := 600 * (2*i + 1) / 20; n < want-15 || n > want+15 {
			t.Errorf("in the %d. tenth %d of 600 came back, want about %d (all: %v)", i+1, n, want, parts)
		}
	}
	for i := range 100 {
		if !local(t, b, 90*time.Second+time.Duration(i)) {
			t.Fatal("the ramp has ended")
		}
	}
}

func TestPanic(t *testing.T) {
	s := Spec{IDC: "a", Clusters: []ClusterSpec{{Name: "c", Panic: true, Groups: []GroupSpec{
		{IDC: "a", Backends: servers(2, 2, 1)}, {IDC: "b", Backends: []BackendSpec{server(3, 1, 1), server(4, 9, 0)}},
	}}}}
	b := with(t, s)
	for n := 1; n <= 4; n++ {
		b.SetState(backend(t, b, "c", n), Down, t0)
	}
	b.SetRank(backend(t, b, "c", 1), 1)
	b.SetRank(backend(t, b, "c", 2), 1)
	var got []int
	for range 5 {
		l := mustPick(t, b, "c")
		if !l.Panic() || l.Fallback() != (number(l.Backend()) == 3) {
			t.Errorf("server %d: panic %v, fallback %v", number(l.Backend()), l.Panic(), l.Fallback())
		}
		got = append(got, number(l.Backend()))
	}
	for i, n := range []int{3, 1, 2, 1, 2} { // the least bad first, then in turn, within the limits
		if got[i] != n {
			t.Fatalf("%v", got)
		}
	}
	if r := refuse(t, b, "c"); r.String() != `cluster "c": 4 down` {
		t.Error(r)
	}
	b.SetElsewhere(backend(t, b, "c", 1), 0)
	b = with(t, s)
	for n := 1; n <= 3; n++ {
		b.SetState(backend(t, b, "c", n), Down, t0)
	}
	tried := []netip.AddrPort{server(3, 0, 0).Addr}
	for _, n := range []int{1, 2} { // the next, as long as there is one
		if l := mustPick(t, b, "c", tried...); !l.Panic() || number(l.Backend()) != n {
			t.Errorf("server %d after %v", number(l.Backend()), tried)
		}
		tried = append(tried, server(n, 0, 0).Addr)
	}
	refuse(t, b, "c", tried...)
	if b.Available("c", t0) {
		t.Error("available in a panic")
	}
	b.SetState(backend(t, b, "c", 3), Unknown, t0)
	if l := mustPick(t, b, "c"); l.Panic() || number(l.Backend()) != 3 {
		t.Error("one is up")
	}
	if r := refuse(t, b, "c"); !r.Full() { // it is full: no reason for a panic
		t.Error(r)
	}
	s.Clusters[0].Panic = false
	apply(t, b, s)
	b.SetState(backend(t, b, "c", 3), Down, t0)
	refuse(t, b, "c")
}
