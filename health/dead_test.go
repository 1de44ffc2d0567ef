package health

import (
	"testing"
	"time"
)

// TestDead: a server is dead when OPTIONS say so, be it after calls had taken it out, and for no other reason.
func TestDead(t *testing.T) {
	p := Policy{Rise: 1, Fall: 2, EjectAfter: 2, EjectFor: time.Minute, DeepFall: 1, DeepRise: 1}
	for _, c := range []struct {
		name   string
		events []EventKind
		dead   bool
	}{
		{"up", []EventKind{ProbeOK}, false},
		{"one bad probe", []EventKind{ProbeOK, ProbeFailed}, false},
		{"down", []EventKind{ProbeOK, ProbeFailed, ProbeFailed}, true},
		{"back", []EventKind{ProbeOK, ProbeFailed, ProbeFailed, ProbeOK}, false},
		{"ejected", []EventKind{ProbeOK, CallFailed, CallFailed}, false},
		{"ejected, probes good", []EventKind{ProbeOK, CallFailed, CallFailed, ProbeOK}, false},
		{"ejected, then probes bad", []EventKind{ProbeOK, CallFailed, CallFailed, ProbeFailed}, true},
		{"engine", []EventKind{ProbeOK, DeepFailed}, false},
		{"draining", []EventKind{ProbeDraining}, false},
	} {
		e := newEntry(Target{Policy: p}, new(group))
		for _, k := range c.events {
			e.apply(Event{Kind: k, At: time.Unix(1, 0)})
		}
		changes := e.take()
		if last := changes[len(changes)-1].To; e.status.Dead() != c.dead || last.Dead() != c.dead {
			t.Errorf("%s: dead %v, the last change told says %v, want %v", c.name, e.status.Dead(), last.Dead(), c.dead)
		}
	}
}
