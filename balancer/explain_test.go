package balancer

import (
	"testing"
	"time"
)

// TestExplainIsWhatPickDoes: whatever the policy, Explain names the backend that the next Pick takes, and asking changes
// nothing of what follows.
func TestExplainIsWhatPickDoes(t *testing.T) {
	for p := range policies {
		asked, silent := with(t, single(Policy(p), servers(5, 9, 2)...)), with(t, single(Policy(p), servers(5, 9, 2)...))
		for i := range 40 {
			r := Request{Cluster: "c", Now: t0, Hash: uint64(i * i)}
			said := ""
			for range 3 {
				said = chosen(t, asked, r)
			}
			l, why := asked.Pick(r)
			if l == nil {
				t.Fatal(why)
			}
			other, _ := silent.Pick(r)
			if said != l.Backend().URI() || other.Backend().URI() != said {
				t.Fatalf("%v, pick %d: said %s, took %s, without asking %s", Policy(p), i, said, l.Backend().URI(), other.Backend().URI())
			}
		}
	}
}

func chosen(t *testing.T, b *Balancer, r Request) string {
	t.Helper()
	all, ok := b.Explain(r)
	if !ok {
		t.Fatal("no such cluster")
	}
	for _, c := range all {
		if c.Chosen {
			return c.URI
		}
	}
	return ""
}

// TestExplainSaysWhy each backend is not taken.
func TestExplainSaysWhy(t *testing.T) {
	all := servers(6, 1, 1)
	all[3].Weight = 0
	b := with(t, single(Ordered, all...))
	b.SetState(backend(t, b, "c", 1), Down, t0)
	b.SetState(backend(t, b, "c", 2), Draining, t0)
	b.Take(backend(t, b, "c", 3))
	b.Hold(backend(t, b, "c", 5), t0.Add(time.Second))
	got, _ := b.Explain(Request{Cluster: "c", Now: t0})
	for i, want := range []string{"down", "draining", "full", "weight 0", "held back: it refused a session a moment ago", ""} {
		if got[i].Refused != want || got[i].Chosen != (want == "") {
			t.Errorf("%s: %q %t, want %q", got[i].URI, got[i].Refused, got[i].Chosen, want)
		}
	}
	b.SetState(backend(t, b, "c", 6), Down, t0)
	if got, _ = b.Explain(Request{Cluster: "c", Now: t0}); !got[4].Chosen || got[4].Refused != "" {
		t.Errorf("nothing but what is held is left: %+v", got[4])
	}
	if _, ok := b.Explain(Request{Cluster: "d", Now: t0}); ok {
		t.Error("an unknown cluster is explained")
	}
}

// TestExplainPanic: where all are down, the one that a Pick takes as the least bad is named.
func TestExplainPanic(t *testing.T) {
	s := single(LeastLoad, servers(2, 9, 1)...)
	s.Clusters[0].Panic = true
	b := with(t, s)
	for n := range 2 {
		b.SetState(backend(t, b, "c", n+1), Down, t0)
	}
	r := Request{Cluster: "c", Now: t0}
	said := chosen(t, b, r)
	if l, _ := b.Pick(r); said == "" || l.Backend().URI() != said {
		t.Errorf("said %q", said)
	}
}
