package health

import (
	"os"
	"strings"
	"testing"
	"time"
)

// one is a policy in which every streak is one long, so that a table needs no counting.
var one = Policy{Rise: 1, Fall: 1, EjectAfter: 1, EjectFor: 10 * time.Second, ErrorRate: 0.5, ErrorVolume: 1, ErrorWindow: time.Minute,
	HoldFor: time.Second, SuspectAfter: 1, DeepRise: 1, DeepFall: 1}

// situations are all that a backend can be in, as far as it matters for what comes next.
var situations = []struct {
	name string
	s    Status
}{
	{"unknown", Status{}},
	{"up", Status{State: Up}},
	{"up, suspect", Status{State: Up, Suspect: true, Unexplained: 1}},
	{"up, on probation", Status{State: Up, Probation: true, Ejections: 1}},
	{"draining", Status{State: Draining}},
	{"down", Status{State: Down}},
	{"ejected", Status{State: Down, Ejected: true, Ejections: 1, EjectedUntil: t0.Add(time.Second)}},
	{"ejected, time over", Status{State: Down, Ejected: true, Ejections: 1, EjectedUntil: t0}},
	{"ejected, probe failed", Status{State: Down, Ejected: true, Ejections: 1, Confirmed: true, EjectedUntil: t0.Add(time.Second)}},
	{"engine down", Status{State: Down, EngineDown: true}},
}

func nameOf(s Status) string {
	switch {
	case s.EngineDown:
		return "engine down"
	case s.Confirmed:
		return "ejected, probe failed"
	case s.Ejected && t0.Before(s.EjectedUntil):
		return "ejected"
	case s.Ejected:
		return "ejected, time over"
	case s.State == Up && s.Suspect:
		return "up, suspect"
	case s.State == Up && s.Probation:
		return "up, on probation"
	}
	return s.State.String()
}

// TestTableOfTransitions holds the table in the documentation to what Next does with every event in every situation.
func TestTableOfTransitions(t *testing.T) {
	events := []struct {
		name string
		ev   Event
	}{
		{"probe good", Event{Kind: ProbeOK}}, {"probe bad", Event{Kind: ProbeFailed}}, {"probe says draining", Event{Kind: ProbeDraining}},
		{"deep probe good", Event{Kind: DeepOK}}, {"deep probe bad", Event{Kind: DeepFailed}},
		{"call good", Event{Kind: CallOK}}, {"call failed", Event{Kind: CallFailed}}, {"call errored", Event{Kind: CallErrored}},
		{"call refused, idle", Event{Kind: CallRefused, Idle: true}}, {"call failed, group spared", Event{Kind: CallFailed, Spare: true}},
	}
	var table strings.Builder
	table.WriteString("| |")
	for _, e := range events {
		table.WriteString(" " + e.name + " |")
	}
	table.WriteString("\n|" + strings.Repeat("---|", len(events)+1) + "\n")
	for _, from := range situations {
		if nameOf(from.s) != from.name {
			t.Errorf("%q is called %q", from.name, nameOf(from.s))
		}
		table.WriteString("| **" + from.name + "** |")
		for _, e := range events {
			e.ev.At = t0
			to := nameOf(Next(from.s, e.ev, one))
			if to == from.name {
				to = "·"
			}
			table.WriteString(" " + to + " |")
		}
		table.WriteString("\n")
	}
	docs, err := os.ReadFile("../docs/health.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(docs), table.String()) {
		t.Errorf("docs/health.md does not have this table:\n%s", table.String())
	}
}
