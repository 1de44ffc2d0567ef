package balancer

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// counts picks n times and returns the picks of each server; with hold the leases are kept.
func counts(t *testing.T, b *Balancer, n int, hold bool) map[int]int {
	t.Helper()
	got := make(map[int]int)
	for range n {
		l := mustPick(t, b, "c")
		got[number(l.Backend())]++
		if !hold {
			l.Release()
		}
	}
	return got
}

func wantCounts(t *testing.T, got map[int]int, want ...int) {
	t.Helper()
	for i, n := range want {
		if got[i+1] != n {
			t.Errorf("server %d: %d picks, want %d (all: %v)", i+1, got[i+1], n, got)
		}
	}
}

func TestEqualServersFillEvenly(t *testing.T) {
	for _, p := range []Policy{LeastLoad, Weighted} {
		for _, capacity := range []int{100, Unlimited} {
			for _, hold := range []bool{true, false} {
				b := with(t, single(p, servers(4, capacity, 1)...))
				wantCounts(t, counts(t, b, 400, hold), 100, 100, 100, 100)
			}
		}
	}
}

func TestEqualServersFillEvenlyWhenSomeAreOut(t *testing.T) {
	b := with(t, single(LeastLoad, servers(4, 100, 1)...))
	b.SetState(backend(t, b, "c", 2), Down, t0)
	wantCounts(t, counts(t, b, 300, false), 100, 0, 100, 100)
}

func TestLeastLoadFollowsCapacityAndWeight(t *testing.T) {
	b := with(t, single(LeastLoad, server(1, 10, 1), server(2, 20, 1), server(3, 10, 3)))
	wantCounts(t, counts(t, b, 30, true), 7, 13, 10) // server 3 is full at 10
	b = with(t, single(LeastLoad, server(1, 100, 1), server(2, 200, 1), server(3, 100, 3)))
	wantCounts(t, counts(t, b, 60, true), 10, 20, 30)
}

func TestLeastLoadComparesWeightAloneWhenAnyIsUnlimited(t *testing.T) {
	b := with(t, single(LeastLoad, server(1, 1000, 1), server(2, Unlimited, 2)))
	wantCounts(t, counts(t, b, 300, true), 100, 200)
}

// Capacity times weight may exceed 64 bits once multiplied by sessions.
func TestCompareLoadIsExact(t *testing.T) {
	const big = 1 << 62
	for _, c := range []struct {
		a, sa, b, sb uint64
		want         int
	}{
		{1, 2, 1, 2, 0}, {1, 2, 2, 4, 0}, {1, 3, 1, 2, -1}, {2, 3, 1, 2, 1}, {0, 1, 0, 9, 0},
		{3, big, 2, big - 1, 1}, {big - 1, big, big - 2, big - 1, 1}, {big, big - 1, big, big, 1},
	} {
		if got := compareLoad(c.a, c.sa, c.b, c.sb); got != c.want {
			t.Errorf("%d/%d against %d/%d: %d, want %d", c.a, c.sa, c.b, c.sb, got, c.want)
		}
	}
}

func TestWeightedIsExactAndSmooth(t *testing.T) {
	b := with(t, single(Weighted, server(1, Unlimited, 1), server(2, Unlimited, 2), server(3, Unlimited, 3)))
	for range 5 {
		wantCounts(t, counts(t, b, 6, true), 1, 2, 3)
	}
	b = with(t, single(Weighted, server(1, Unlimited, 5), server(2, Unlimited, 1), server(3, Unlimited, 1)))
	var order []int
	for range 7 {
		order = append(order, number(mustPick(t, b, "c").Backend()))
	}
	if want := []int{1, 1, 1, 2, 3, 1, 1}; !slices.Equal(order, want) { // by Webster's method: 1/10, 3/10, 5/10 = 1/2 = 1/2, 7/10, 9/10
		t.Errorf("order %v, want %v", order, want)
	}
}

// Left over running weights of 1000 would otherwise starve one server for hundreds of picks.
func TestWeightedStartsAnewWhenWeightsChange(t *testing.T) {
	b := with(t, single(Weighted, server(1, Unlimited, 1000), server(2, Unlimited, 1)))
	counts(t, b, 400, false)
	apply(t, b, single(Weighted, server(1, Unlimited, 1), server(2, Unlimited, 1)))
	wantCounts(t, counts(t, b, 10, false), 5, 5)
}

func TestTriedAddressesArePassedOver(t *testing.T) {
	udp, tcp := server(1, 10, 1), server(1, 10, 1)
	tcp.URI, tcp.Network = tcp.URI+";transport=tcp", "tcp"
	b := with(t, Spec{Clusters: []ClusterSpec{
		{Name: "c", Fallback: []string{"d"}, Groups: []GroupSpec{{Backends: []BackendSpec{udp, tcp}}}},
		{Name: "d", Groups: []GroupSpec{{Backends: []BackendSpec{udp, server(2, 10, 1)}}}},
	}})
	l := mustPick(t, b, "c", udp.Addr)
	if number(l.Backend()) != 2 || !l.Fallback() {
		t.Errorf("got %s, fallback %v", l.Backend().URI(), l.Fallback())
	}
	r := refuse(t, b, "c", udp.Addr, server(2, 0, 0).Addr)
	if want := `cluster "c": 2 tried; cluster "d": 2 tried`; r.String() != want || r.Full() {
		t.Errorf("refusal %q, want %q", r, want)
	}
}

func TestHeldIsUsedOnlyWhenNothingElseIs(t *testing.T) {
	b := with(t, Spec{IDC: "a", Clusters: []ClusterSpec{
		{Name: "c", Fallback: []string{"d"}, Groups: []GroupSpec{{IDC: "a", Backends: servers(2, 10, 1)}}},
		{Name: "d", Groups: []GroupSpec{{Backends: []BackendSpec{server(3, 1, 1)}}}},
	}})
	one, two := backend(t, b, "c", 1), backend(t, b, "c", 2)
	b.Hold(one, t0.Add(time.Second))
	if got := mustPick(t, b, "c").Backend(); got != two {
		t.Errorf("got %s", got.URI())
	}
	b.Hold(two, t0.Add(time.Second))
	if got := number(mustPick(t, b, "c").Backend()); got != 3 {
		t.Errorf("the fallback cluster comes before held ones: got server %d", got)
	}
	if got := mustPick(t, b, "c").Backend(); got != one {
		t.Errorf("all others full: the held ones are used: got %s", got.URI())
	}
	if l, _ := b.Pick(Request{Cluster: "c", Now: t0.Add(time.Second)}); l.Backend().Cluster() != "c" || l.Fallback() {
		t.Errorf("the hold has ended: got %s", l.Backend().URI())
	}
}

func TestHoldIsNotShortened(t *testing.T) {
	b := with(t, single(LeastLoad, servers(1, 10, 1)...))
	one := backend(t, b, "c", 1)
	b.Hold(one, t0.Add(5*time.Second))
	b.Hold(one, t0.Add(time.Second))
	if v := b.View()[0]; !v.Held(t0.Add(4*time.Second)) || v.Held(t0.Add(5*time.Second)) {
		t.Errorf("held until %v", v.HoldUntil)
	}
	b.Hold(one, time.Time{})
	if b.View()[0].Held(t0) {
		t.Error("the zero time ends a hold")
	}
}

func TestRefusalNamesEveryCause(t *testing.T) {
	all := servers(6, 1, 1)
	all[4].Weight = 0
	all[5].Capacity = 0
	b := with(t, Spec{Clusters: []ClusterSpec{
		{Name: "c", Fallback: []string{"empty", "d"}, Groups: []GroupSpec{{Backends: all}}},
		{Name: "d", Groups: []GroupSpec{{Backends: []BackendSpec{server(9, 1, 1)}}}},
		{Name: "empty"},
	}})
	b.SetState(backend(t, b, "c", 1), Down, t0)
	b.SetState(backend(t, b, "c", 2), Draining, t0)
	b.SetState(backend(t, b, "d", 9), Down, t0)
	if got := number(mustPick(t, b, "c", server(4, 0, 0).Addr).Backend()); got != 3 {
		t.Fatalf("got server %d", got)
	}
	r := refuse(t, b, "c", server(4, 0, 0).Addr)
	want := `cluster "c": 2 full, 1 down, 1 draining, 1 tried, 1 weight 0; cluster "empty": no backends; cluster "d": 1 down`
	if r.String() != want || !r.Full() {
		t.Errorf("refusal\n %q, want\n %q", r, want)
	}
	if r := refuse(t, b, "d"); r.String() != `cluster "d": 1 down` || r.Full() {
		t.Errorf("refusal %q, full %v", r, r.Full())
	}
	if r := refuse(t, b, "x"); r.String() != `cluster "x": unknown` || r.Full() {
		t.Errorf("refusal %q, full %v", r, r.Full())
	}
}

func TestAvailable(t *testing.T) {
	b := with(t, Spec{Clusters: []ClusterSpec{
		{Name: "c", Fallback: []string{"d"}, Groups: []GroupSpec{{Backends: servers(1, 1, 1)}}},
		{Name: "d", Groups: []GroupSpec{{Backends: []BackendSpec{server(2, 1, 1)}}}},
	}})
	check := func(when string, c, d, any bool) {
		t.Helper()
		if b.Available("c", t0) != c || b.Available("d", t0) != d || b.Available("", t0) != any {
			t.Errorf("%s: c %v, d %v, any %v", when, b.Available("c", t0), b.Available("d", t0), b.Available("", t0))
		}
	}
	check("at first", true, true, true)
	b.SetState(backend(t, b, "c", 1), Down, t0)
	check("c down", true, true, true)
	l := mustPick(t, b, "d")
	check("d full", false, false, false)
	b.SetState(backend(t, b, "c", 1), Up, t0)
	check("c up", true, false, true)
	b.Hold(backend(t, b, "c", 1), t0.Add(time.Minute))
	check("c held", true, false, true)
	b.SetState(backend(t, b, "c", 1), Draining, t0)
	l.Release()
	check("c draining, d free", true, true, true)
	if b.Available("x", t0) || New().Available("", t0) {
		t.Error("nothing there is not available")
	}
}

func TestPickAllocations(t *testing.T) {
	b := with(t, single(LeastLoad, servers(8, 50, 1)...))
	tried := []netip.AddrPort{server(1, 0, 0).Addr}
	if n := testing.AllocsPerRun(1000, func() {
		l, _ := b.Pick(Request{Cluster: "c", Tried: tried, Now: t0})
		l.Release()
	}); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

// TestElsewhere: what other instances have at a server takes its room here, and counts as its load.
func TestElsewhere(t *testing.T) {
	b := with(t, single(LeastLoad, servers(2, 5, 1)...))
	b.SetElsewhere(backend(t, b, "c", 1), 3)
	for range 3 {
		if l := mustPick(t, b, "c"); number(l.Backend()) != 2 {
			t.Fatal("the one that is busy elsewhere was picked")
		}
	}
	for range 4 {
		mustPick(t, b, "c")
	}
	if r := refuse(t, b, "c"); !r.Full() {
		t.Fatal(r)
	}
	if b.Available("c", t0) {
		t.Error("available though full")
	}
	b.SetElsewhere(backend(t, b, "c", 1), 0)
	if l := mustPick(t, b, "c"); number(l.Backend()) != 1 {
		t.Error("room that came back elsewhere was not used")
	}
}

// TestAdopt: a session that a server has already counts, even above its capacity, until it is released.
func TestAdopt(t *testing.T) {
	b := with(t, single(LeastLoad, servers(1, 1, 1)...))
	be := backend(t, b, "c", 1)
	first, second := b.Adopt(be), b.Adopt(be)
	if be.Sessions() != 2 {
		t.Fatal(be.Sessions())
	}
	refuse(t, b, "c")
	first.Release()
	refuse(t, b, "c")
	second.Release()
	mustPick(t, b, "c")
}
