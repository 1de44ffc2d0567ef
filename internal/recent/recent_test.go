package recent

import (
	"fmt"
	"testing"
	"time"

	"mrcproxy/internal/api"
)

var start = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func TestSince(t *testing.T) {
	l := New(start)
	news, cancel := l.Watch()
	for i := range maxEvents + 5 {
		l.Add(api.Event{Text: fmt.Sprint(i)})
	}
	select {
	case <-news:
	default:
		t.Error("a subscriber was not told")
	}
	all := l.Since(0)
	if len(all) != maxEvents || all[0].Text != "5" || all[len(all)-1].Text != fmt.Sprint(maxEvents+4) {
		t.Fatalf("%d events from %q", len(all), all[0].Text)
	}
	if rest := l.Since(all[997].ID); len(rest) != 2 || rest[0].Text != all[998].Text {
		t.Errorf("rest %v", rest)
	}
	if rest := l.Since(all[999].ID); len(rest) != 0 {
		t.Errorf("after the last: %v", rest)
	}
	cancel()
	l.Add(api.Event{})
	select {
	case <-news:
		t.Error("told after cancel")
	default:
	}
	if later := New(start.Add(time.Second)); later.next <= all[999].ID {
		t.Error("a process that follows numbers its events from below")
	}
}

// TestFlood: many failed calls in one second are a few events, and memory stays bounded.
func TestFlood(t *testing.T) {
	l := New(start)
	for i := range 1000 {
		l.Call(api.Event{Type: "failover", Backend: "sip:1", Text: "no_response", CallID: fmt.Sprint(i)})
	}
	if got := l.Since(0); len(got) != 0 {
		t.Errorf("before the flush: %v", got)
	}
	l.Flush()
	if got := l.Since(0); len(got) != 1 || got[0].Count != 1000 || got[0].CallID != "0" {
		t.Errorf("got %v", got)
	}
	for i := range 1000 {
		l.Call(api.Event{Type: "failover", Backend: fmt.Sprint("sip:", i)})
	}
	l.Flush()
	sum := 0
	got := l.Since(0)[1:]
	for _, e := range got {
		sum += e.Count
	}
	if len(got) != maxKinds+1 || sum != 1000 {
		t.Errorf("%d events of %d calls", len(got), sum)
	}
}

func TestBackend(t *testing.T) {
	l := New(start)
	for i := range 100 {
		l.Probed(1, api.Probe{MS: float64(i)})
		l.Failed(1, api.Failure{Reason: fmt.Sprint(i)})
		l.Sample(map[uint32]int{1: i, 2: 0})
	}
	probes, failures, load := l.Of(1)
	if len(probes) != maxProbes || probes[0].MS != 99 || probes[9].MS != 90 {
		t.Errorf("probes %v", probes)
	}
	if len(failures) != maxFailures || failures[0].Reason != "99" {
		t.Errorf("failures %v", failures)
	}
	if len(load) != maxSamples || load[0] != 10 || load[89] != 99 {
		t.Errorf("load %v", load)
	}
	l.Sample(map[uint32]int{2: 0})
	if probes, _, load := l.Of(1); probes != nil || load != nil {
		t.Error("a backend that is gone is remembered")
	}
}
