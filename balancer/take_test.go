package balancer

import "testing"

// TestTake: a session of our own counts like any other, and needs neither a good state nor a weight.
func TestTake(t *testing.T) {
	b := with(t, single(LeastLoad, server(1, 1, 0), server(2, 0, 1), server(3, Unlimited, 1)))
	be := backend(t, b, "c", 1)
	b.SetState(be, Down, t0)
	l := b.Take(be)
	if l == nil || l.Backend() != be || be.Sessions() != 1 {
		t.Fatalf("no lease at a backend that is down: %+v", l)
	}
	if b.Take(be) != nil || b.Take(backend(t, b, "c", 2)) != nil {
		t.Error("a lease over the capacity")
	}
	l.Release()
	if l = b.Take(be); l == nil {
		t.Fatal("no lease after the release")
	}
	third := backend(t, b, "c", 3)
	b.Take(third).Release()
	if v := b.View(); v[2].Picked != 0 {
		t.Errorf("taken and picked: %+v", v[2])
	}
	apply(t, b, single(LeastLoad, server(3, 1, 1)))
	if b.Take(be) != nil {
		t.Error("a lease at a backend that was removed")
	}
	l.Release()
}
