package balancer

import (
	"reflect"
	"testing"
	"time"
)

func ask(b *Balancer, now time.Time, reserve int, resources ...string) (*Lease, Refusal) {
	return b.Pick(Request{Cluster: "c", Now: now, Reserve: reserve, Resources: resources})
}

func TestLimitOfAResource(t *testing.T) {
	s := server(1, 4, 1)
	s.Resources = map[string]int{"speechrecog": 2, "speechsynth": 1}
	b := with(t, single(LeastLoad, s))
	var l []*Lease
	for i, step := range []struct {
		resources []string
		ok        bool
	}{
		{[]string{"speechrecog"}, true}, {[]string{"speechrecog", "speechsynth"}, true}, {[]string{"speechrecog"}, false},
		{[]string{"speechsynth"}, false}, {[]string{"dtmfrecog", "speechsynth"}, false}, {[]string{"dtmfrecog"}, true}, {nil, true}, {nil, false},
	} {
		got, why := ask(b, t0, 0, step.resources...)
		if (got != nil) != step.ok || got == nil && !why.Full() {
			t.Fatalf("step %d: %v, %v", i, got, why)
		}
		if got != nil {
			l = append(l, got)
		}
	}
	v := b.View()[0].Resources
	if want := []ResourceView{{"speechrecog", 2, 0, 2}, {"speechsynth", 1, 0, 1}}; !reflect.DeepEqual(v, want) {
		t.Errorf("view %+v", v)
	}
	want := []Limit{{"c " + s.URI, 4}, {"c " + s.URI + " speechrecog", 2}, {"c " + s.URI + " speechsynth", 1}}
	if got := l[1].Limits(); !reflect.DeepEqual(got, want) || !reflect.DeepEqual(l[1].Resources(), []string{"speechrecog", "speechsynth"}) {
		t.Errorf("limits %+v, resources %v", got, l[1].Resources())
	}
	l[1].Release()
	if got, _ := ask(b, t0, 0, "speechsynth"); got == nil {
		t.Error("no place after the release")
	}
	s.Resources = map[string]int{"speechsynth": 9}
	if apply(t, b, single(LeastLoad, s)); len(l[0].Limits()) != 1 || len(l[0].Resources()) != 1 {
		t.Errorf("a limit that is gone is no limit: %+v", l[0].Limits())
	}
}

// What other instances have of a resource takes its room here.
func TestResourceElsewhere(t *testing.T) {
	s := server(1, 4, 1)
	s.Resources = map[string]int{"speechrecog": 2}
	b := with(t, single(LeastLoad, s))
	be := backend(t, b, "c", 1)
	b.SetElsewhereFor(be, "speechrecog", 1)
	b.SetElsewhereFor(be, "speechsynth", 9) // has no limit here
	if got := be.Limits(); len(got) != 2 {
		t.Errorf("limits %+v", got)
	}
	for i, ok := range []bool{true, false} {
		if got, _ := ask(b, t0, 0, "speechrecog"); (got != nil) != ok {
			t.Errorf("%d: %v", i, got)
		}
	}
	b.SetElsewhereFor(be, "speechrecog", 0)
	if got, why := ask(b, t0, 0, "speechrecog"); got == nil {
		t.Error(why)
	}
}

// Of two servers the one with the most room for the resource is better, however many other sessions it has.
func TestLeastLoadOfAResource(t *testing.T) {
	all := servers(2, Unlimited, 1)
	all[0].Resources = map[string]int{"speechrecog": 10}
	all[1].Resources = map[string]int{"speechrecog": 20}
	b := with(t, single(LeastLoad, all...))
	for range 50 {
		b.Adopt(backend(t, b, "c", 2))
	}
	got := map[int]int{}
	for range 30 {
		l, why := ask(b, t0, 0, "speechrecog")
		if l == nil {
			t.Fatal(why)
		}
		got[number(l.Backend())]++
	}
	wantCounts(t, got, 10, 20)
}

func TestLicences(t *testing.T) {
	s := single(LeastLoad, servers(2, 10, 1)...)
	s.Clusters[0].Licences = 5
	s.Clusters = append(s.Clusters, ClusterSpec{Name: "d", Groups: []GroupSpec{{Backends: servers(1, 1, 1)}}})
	s.Clusters[0].Fallback = []string{"d"}
	b := with(t, s)
	var l []*Lease
	for range 5 {
		l = append(l, mustPick(t, b, "c"))
	}
	if got := mustPick(t, b, "c"); got.Backend().Cluster() != "d" {
		t.Errorf("the sixth is at %s", got.Backend().Cluster())
	}
	if r := refuse(t, b, "c"); r.String() != `cluster "c": 2 without a licence; cluster "d": 1 full` || !r.Full() || b.Available("c", t0) {
		t.Errorf("%v", r)
	}
	if b.Take(backend(t, b, "c", 1)) != nil {
		t.Error("a session of our own without a licence")
	}
	l[0].Release()
	b.SetElsewhere(backend(t, b, "c", 1), 1)
	refuse(t, b, "c")
	b.SetElsewhere(backend(t, b, "c", 1), 0)
	again := mustPick(t, b, "c")
	if want := []Limit{{"c " + again.Backend().URI(), 10}, {"c", 5}}; !reflect.DeepEqual(again.Limits(), want) {
		t.Errorf("limits %+v", again.Limits())
	}
	if v := b.Clusters()[0]; v.Sessions != 5 || v.Licences != 5 || v.Elsewhere != 0 {
		t.Errorf("view %+v", v)
	}
	// The sessions of a server that is taken out have their licences still.
	s.Clusters[0].Groups[0].Backends = servers(1, 10, 1)
	two := backend(t, b, "c", 2)
	b.SetElsewhere(two, 3)
	apply(t, b, s)
	b.SetElsewhere(two, 4)
	if v := b.Clusters()[0]; v.Sessions != 5 || v.Elsewhere != 0 {
		t.Errorf("after a removal: %+v", v)
	}
}

// At most so many sessions in any second, whichever second one looks at.
func TestMaxCPS(t *testing.T) {
	all := servers(2, Unlimited, 1)
	all[0].MaxCPS = 3
	b := with(t, single(Ordered, all...))
	var at []time.Duration
	for ms := 0; ms < 5000; ms += 7 {
		d := time.Duration(ms) * time.Millisecond
		if l, _ := ask(b, t0.Add(d), 0); number(l.Backend()) == 1 {
			at = append(at, d)
		}
	}
	if len(at) < 14 || len(at) > 15 {
		t.Errorf("%d sessions in 5 s", len(at))
	}
	for i := 3; i < len(at); i++ {
		if at[i]-at[i-3] < time.Second {
			t.Errorf("four sessions from %v to %v", at[i-3], at[i])
		}
	}
	b.SetState(backend(t, b, "c", 2), Down, t0)
	if _, why := ask(b, t0.Add(at[len(at)-1]), 0); why.String() != `cluster "c": 1 at their rate, 1 down` || !why.Full() {
		t.Errorf("%v", why)
	}
	all[0].MaxCPS = 4 // it knows of the last 3
	apply(t, b, single(Ordered, all...))
	if l, _ := ask(b, t0.Add(at[len(at)-1]), 0); l == nil {
		t.Error("a fourth is allowed")
	}
	if l, _ := ask(b, t0.Add(at[len(at)-1]), 0); l != nil {
		t.Error("a fifth is not")
	}
}

func TestReserve(t *testing.T) {
	s := servers(2, 5, 1)
	s[1].Resources = map[string]int{"speechrecog": 3}
	spec := single(LeastLoad, s...)
	b := with(t, spec)
	n := 0
	for {
		l, why := ask(b, t0, 2, "speechrecog")
		if l == nil {
			if !why.Full() {
				t.Error(why)
			}
			break
		}
		n++
	}
	if n != 4 { // three of five, and one of three
		t.Errorf("%d sessions that leave two places free", n)
	}
	for range 4 {
		if l, why := ask(b, t0, 0, "speechrecog"); l == nil {
			t.Fatal(why)
		}
	}
	spec.Clusters[0].Licences = 10
	apply(t, b, spec)
	if l, _ := ask(b, t0, 1); l == nil {
		t.Error("the tenth licence is free")
	}
	if l, _ := ask(b, t0, 1); l != nil {
		t.Error("a licence that had to be left")
	}
}

func TestSpill(t *testing.T) {
	for _, c := range []struct {
		spill Spill
		want  int
	}{{Spill{Sessions: 3}, 3}, {Spill{Percent: 50}, 7}, {Spill{}, 15}, {Spill{Percent: 100}, 15}} {
		s := Spec{IDC: "a", Clusters: []ClusterSpec{{Name: "c", Spill: c.spill, Groups: []GroupSpec{
			{IDC: "a", Backends: servers(1, 2, 1)},
			{IDC: "b", Backends: []BackendSpec{server(2, 5, 1)}}, {IDC: "b", Priority: 1, Backends: []BackendSpec{server(3, 10, 1)}},
		}}}}
		b := with(t, s)
		var l []*Lease
		for range 2 + c.want {
			l = append(l, mustPick(t, b, "c"))
		}
		r := refuse(t, b, "c")
		if b.Available("c", t0) || c.spill != (Spill{}) && c.want < 15 && r.String() != `cluster "c": 1 full, 2 beyond the spill limit` {
			t.Errorf("%+v: %v", c.spill, r)
		}
		apply(t, b, s) // counts stay
		refuse(t, b, "c")
		if v := b.Clusters()[0]; v.Spilled["b"] != c.want || c.spill != (Spill{}) && v.SpillLimit["b"] != c.want {
			t.Errorf("%+v: view %+v", c.spill, v)
		}
		l[len(l)-1].Release()
		mustPick(t, b, "c")
	}
}
