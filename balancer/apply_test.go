package balancer

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// groupsOf is the order in which the groups of a cluster are tried: the servers in each, * when a fallback.
func groupsOf(b *Balancer, cluster string) string {
	var order []string
	for _, lv := range b.snap.Load().plans[cluster].levels {
		s := fmt.Sprint(number(lv.group.members[0].backend))
		if lv.fallback {
			s += "*"
		}
		order = append(order, s)
	}
	return strings.Join(order, " ")
}

func TestOrderOfGroups(t *testing.T) {
	group := func(idc string, priority, n int) GroupSpec {
		return GroupSpec{IDC: idc, Priority: priority, Backends: []BackendSpec{server(n, 1, 1)}}
	}
	mixed := []GroupSpec{group("b", 2, 1), group("a", 9, 2), group("c", 1, 3), group("b", 1, 4), group("a", 0, 5)}
	clusters := []ClusterSpec{
		{Name: "c", Groups: mixed},
		{Name: "x", Fallback: []string{"y", "z"}, Groups: []GroupSpec{group("b", 0, 10)}},
		{Name: "y", Fallback: []string{"w", "x"}, Groups: []GroupSpec{group("b", 0, 20), group("a", 0, 21)}},
		{Name: "z", Fallback: []string{"z"}, Groups: []GroupSpec{group("a", 0, 30)}},
		{Name: "w", Fallback: []string{"z"}, Groups: []GroupSpec{group("a", 0, 40)}},
		{Name: "twins", Groups: []GroupSpec{group("a", 1, 50), group("a", 1, 51), group("b", 1, 52)}},
		{Name: "none", Fallback: []string{"z"}},
	}
	for _, c := range []struct{ idc, cluster, want string }{
		{"a", "c", "5 2* 3* 4* 1*"},
		{"b", "c", "4 1* 5* 3* 2*"},
		{"", "c", "5 3* 4* 1* 2*"},
		{"a", "x", "10 21* 20* 40* 30*"}, // y before its own w, w's z before x's z, each once
		{"a", "y", "21 20* 40* 30* 10*"},
		{"a", "z", "30"},
		{"a", "twins", "50 51 52*"},
		{"a", "none", "30*"},
	} {
		b := with(t, Spec{IDC: c.idc, Clusters: clusters})
		if got := groupsOf(b, c.cluster); got != c.want {
			t.Errorf("idc %q, cluster %q: %s, want %s", c.idc, c.cluster, got, c.want)
		}
	}
}

func TestFallbackLevels(t *testing.T) {
	b := with(t, Spec{IDC: "a", Clusters: []ClusterSpec{
		{Name: "c", Fallback: []string{"d"}, Groups: []GroupSpec{
			{IDC: "b", Backends: []BackendSpec{server(2, 1, 1)}}, {IDC: "a", Backends: []BackendSpec{server(1, 1, 1)}},
		}},
		{Name: "d", Groups: []GroupSpec{{IDC: "a", Backends: []BackendSpec{server(3, 1, 1)}}}},
	}})
	for i := range 3 {
		l := mustPick(t, b, "c")
		if l.Level() != i || l.Fallback() != (i > 0) || number(l.Backend()) != i+1 {
			t.Errorf("pick %d: level %d, fallback %v, server %d", i, l.Level(), l.Fallback(), number(l.Backend()))
		}
	}
}

func TestApplyRefusesAndChangesNothing(t *testing.T) {
	good := single(LeastLoad, servers(2, 5, 1)...)
	edit := func(f func(*BackendSpec)) Spec {
		bad := servers(2, 7, 1)
		f(&bad[1])
		return single(Weighted, bad...)
	}
	for name, c := range map[string]struct {
		spec Spec
		want string
	}{
		"no name":          {Spec{Clusters: []ClusterSpec{{}}}, "cluster without a name"},
		"twice":            {Spec{Clusters: []ClusterSpec{{Name: "c"}, {Name: "c"}}}, `cluster "c": defined twice`},
		"fallback":         {Spec{Clusters: []ClusterSpec{{Name: "c", Fallback: []string{"x"}}}}, `fallback "x": no such cluster`},
		"policy":           {Spec{Clusters: []ClusterSpec{{Name: "c", Policy: 9}}}, "unknown policy(9)"},
		"no uri":           {edit(func(b *BackendSpec) { b.URI = "" }), "no URI"},
		"uri twice":        {edit(func(b *BackendSpec) { b.URI = server(1, 0, 0).URI }), "defined twice"},
		"network":          {edit(func(b *BackendSpec) { b.Network = "sctp" }), `network "sctp"`},
		"address":          {edit(func(b *BackendSpec) { b.Addr = netip.AddrPort{} }), "no address"},
		"capacity":         {edit(func(b *BackendSpec) { b.Capacity = -2 }), "capacity -2"},
		"weight":           {edit(func(b *BackendSpec) { b.Weight = -1 }), "weight -1"},
		"moved under name": {edit(func(b *BackendSpec) { b.Addr = server(9, 0, 0).Addr }), "under the same URI"},
	} {
		t.Run(name, func(t *testing.T) {
			b := with(t, good)
			before := b.View()
			err := b.Apply(c.spec)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if !reflect.DeepEqual(b.View(), before) {
				t.Errorf("changed to %+v", b.View())
			}
		})
	}
}

func TestApplyKeepsWhatLives(t *testing.T) {
	b := with(t, single(LeastLoad, servers(2, 2, 1)...))
	one := backend(t, b, "c", 1)
	leases := []*Lease{mustPick(t, b, "c"), mustPick(t, b, "c"), mustPick(t, b, "c"), mustPick(t, b, "c")}
	b.SetState(one, Up, t0)

	s := single(Weighted, server(2, 1, 3), server(1, 3, 2))
	s.Clusters[0].Groups[0].IDC = "b"
	apply(t, b, s)
	if got := backend(t, b, "c", 1); got != one || one.Sessions() != 2 || one.Capacity() != 3 || one.Weight() != 2 ||
		one.State() != Up || one.IDC() != "b" {
		t.Errorf("after the change: %+v", one.view())
	}
	if got := mustPick(t, b, "c").Backend(); got != one {
		t.Errorf("room at server 1 only, got %s", got.URI())
	}
	if r := refuse(t, b, "c"); !r.Full() {
		t.Errorf("a capacity below the count takes nothing new: %v", r)
	}
	for _, l := range leases {
		l.Release()
	}
	if n := backend(t, b, "c", 2).Sessions(); n != 0 {
		t.Errorf("%d sessions after all ended", n)
	}
}

func TestRemovedBackendsLiveUntilTheirLastLease(t *testing.T) {
	b := with(t, single(LeastLoad, servers(2, 5, 1)...))
	one := backend(t, b, "c", 1)
	held := mustPick(t, b, "c")
	if held.Backend() != one {
		t.Fatal("server 1 comes first")
	}
	apply(t, b, Spec{})
	if r := refuse(t, b, "c"); r.String() != `cluster "c": unknown` {
		t.Errorf("refusal %v", r)
	}
	v := b.View()
	if len(v) != 1 || v[0].State != Removed || !v[0].Removed || v[0].Sessions != 1 {
		t.Errorf("view %+v", v)
	}
	if b.Lookup(one.ID()) != one || len(b.Backends()) != 0 {
		t.Error("a removed backend is found by its id, and not listed")
	}

	apply(t, b, single(LeastLoad, servers(1, 1, 1)...)) // comes back, with its session
	if r := refuse(t, b, "c"); !r.Full() {
		t.Errorf("the old session counts: %v", r)
	}
	apply(t, b, Spec{})
	if !held.Release() || held.Release() {
		t.Error("release is true the first time only")
	}
	if len(b.View()) != 0 || b.Lookup(one.ID()) != nil || len(b.clusters) != 0 || len(b.removed) != 0 {
		t.Errorf("left over: %+v, %v", b.View(), b.clusters)
	}
}

func TestViewIsInConfigOrder(t *testing.T) {
	b := with(t, Spec{IDC: "a", Clusters: []ClusterSpec{
		{Name: "z", Groups: []GroupSpec{{IDC: "b", Priority: 7, Backends: servers(2, 4, 3)}, {IDC: "a", Backends: []BackendSpec{server(3, 1, 1)}}}},
		{Name: "c", Groups: []GroupSpec{{Backends: servers(1, 1, 1)}}},
	}})
	l := mustPick(t, b, "z")
	l.Release()
	var got []string
	for _, v := range b.View() {
		got = append(got, fmt.Sprintf("%s %s %d %v %s %d/%d w%d p%d", v.Cluster, v.IDC, v.Priority, v.Addr.Addr(), v.State,
			v.Sessions, v.Capacity, v.Weight, v.Picked))
	}
	want := []string{
		"z b 7 10.0.0.1 unknown 0/4 w3 p0", "z b 7 10.0.0.2 unknown 0/4 w3 p0", "z a 0 10.0.0.3 unknown 0/1 w1 p1",
		"c  0 10.0.0.1 unknown 0/1 w1 p0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

// The id travels in messages between processes and versions: it must not change.
func TestIDIsStable(t *testing.T) {
	if got := backendID("baidu", "sip:10.1.1.180:8060"); got != 0x372669ba {
		t.Errorf("id %#08x", got)
	}
}

func TestParsePolicy(t *testing.T) {
	for _, p := range []Policy{LeastLoad, Weighted} {
		if got, err := ParsePolicy(p.String()); got != p || err != nil {
			t.Errorf("%v: %v, %v", p, got, err)
		}
	}
	if _, err := ParsePolicy("random"); err == nil {
		t.Error("random is no policy")
	}
}
