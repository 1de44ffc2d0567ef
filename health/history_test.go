package health

import (
	"testing"
	"time"
)

// The changes of a backend that flaps for long: the last 50 are kept, each with its evidence.
func TestHistory(t *testing.T) {
	r := NewRunner(Options{})
	p := policy
	p.Fall, p.Rise = 1, 1
	r.Apply(targets(1, p))
	if got := r.History(0); len(got) != 0 {
		t.Errorf("before any evidence: %+v", got)
	}
	for i := range 60 {
		ev := Event{Kind: ProbeOK, At: t0.Add(time.Duration(i) * time.Second)}
		if i%2 == 1 {
			ev.Kind, ev.Reason = ProbeFailed, "OPTIONS answered 500"
		}
		r.Report(0, ev)
		r.Report(0, ev) // changes nothing
	}
	r.Apply(targets(1, policy)) // a reload keeps them
	got := r.History(0)
	if len(got) != 50 {
		t.Fatalf("%d transitions", len(got))
	}
	if first := got[0]; first.At != t0.Add(10*time.Second) || first.From != Down || first.To != Up || first.Evidence != ProbeOK {
		t.Errorf("the oldest: %+v", first)
	}
	want := Transition{At: t0.Add(59 * time.Second), From: Up, To: Down, Evidence: ProbeFailed, Reason: "probe failed: OPTIONS answered 500"}
	if got[49] != want {
		t.Errorf("the newest: %+v, want %+v", got[49], want)
	}
	if r.History(7) != nil {
		t.Error("a history of no target")
	}
}
