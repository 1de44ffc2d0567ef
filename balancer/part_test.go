package balancer

import "testing"

// While it is not known what others have, this instance keeps to its part of each limit, and picks no server where it has it.
func TestPart(t *testing.T) {
	all := servers(3, 10, 1)
	all[1].Resources = map[string]int{"speechrecog": 5}
	s := single(LeastLoad, all...)
	s.Clusters[0].Licences = 25
	b := with(t, s)
	set := func(n1, n2, n2recog, n3, licences int) {
		b.SetPart(backend(t, b, "c", 1), n1)
		b.SetPart(backend(t, b, "c", 2), n2)
		b.SetPartFor(backend(t, b, "c", 2), "speechrecog", n2recog)
		b.SetPartFor(backend(t, b, "c", 2), "speechsynth", 0) // has no limit here
		b.SetPart(backend(t, b, "c", 3), n3)
		b.SetLicencePart("c", licences)
		b.SetLicencePart("unknown", 0)
	}
	var held []*Lease
	fill := func() [3]int {
		for {
			l, why := ask(b, t0, 0, "speechrecog")
			if l == nil {
				if !why.Full() {
					t.Errorf("refused: %v", why)
				}
				var n [3]int
				for i, v := range b.View() {
					n[i] = v.Sessions
				}
				return n
			}
			held = append(held, l)
		}
	}
	for _, step := range []struct {
		name                             string
		n1, n2, n2recog, n3, licencePart int
		want                             [3]int
	}{
		{"none at all", 0, 0, 0, 0, 0, [3]int{}},
		{"of the servers", 2, 3, -1, 0, -1, [3]int{2, 3, 0}},
		{"of a resource", 2, 4, 4, 0, -1, [3]int{2, 4, 0}},
		{"less than there are", 1, 4, 3, 1, -1, [3]int{2, 4, 1}},
		{"of the licences", 9, -1, -1, 1, 9, [3]int{4, 4, 1}},
		{"any number", -1, -1, -1, -1, -1, [3]int{10, 5, 10}},
	} {
		set(step.n1, step.n2, step.n2recog, step.n3, step.licencePart)
		if got := fill(); got != step.want {
			t.Errorf("%s: %v, want %v", step.name, got, step.want)
		}
	}
	set(6, -1, -1, 0, 0)
	if b.Take(backend(t, b, "c", 1)) != nil {
		t.Error("taken beyond the part")
	}
	for _, l := range held {
		l.Release()
	}
	set(3, -1, 1, 0, 0)
	s.Clusters[0].Licences, s.Clusters[0].Groups[0].Backends[1].Resources = 0, nil
	apply(t, b, s) // a limit that is gone has no parts; that of a server stays until it is told otherwise
	if got, want := fill(), [3]int{3, 10, 0}; got != want {
		t.Errorf("after a reload: %v, want %v", got, want)
	}
}
