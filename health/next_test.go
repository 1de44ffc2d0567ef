package health

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

var t0 = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

var policy = Policy{
	Interval: 10 * time.Second, Timeout: time.Second, Rise: 2, Fall: 3,
	EjectAfter: 3, EjectFor: 30 * time.Second, EjectMax: 100 * time.Second, HoldFor: 2 * time.Second,
	DeepRise: 2, DeepFall: 2,
}

var kinds = map[string]EventKind{
	"ok": ProbeOK, "bad": ProbeFailed, "drain": ProbeDraining, "call": CallOK, "fail": CallFailed, "full": CallRefused,
	"err": CallErrored, "deep": DeepOK, "dead": DeepFailed,
}

// play runs a script of events, "+20" being 20 seconds later, and returns the states entered, with the second of entry.
func play(t *testing.T, p Policy, script string) (Status, string) {
	t.Helper()
	var s Status
	var states []string
	now := t0
	for _, word := range strings.Fields(script) {
		var later int
		if n, _ := fmt.Sscanf(word, "+%d", &later); n == 1 {
			now = now.Add(time.Duration(later) * time.Second)
			continue
		}
		kind, ok := kinds[word]
		if !ok {
			t.Fatalf("no event %q", word)
		}
		next := Next(s, Event{Kind: kind, Reason: "why", At: now}, p)
		if next.State != s.State {
			states = append(states, fmt.Sprintf("%v@%d", next.State, now.Sub(t0)/time.Second))
			if !next.Since.Equal(now) {
				t.Errorf("%q: since %v at %v", script, next.Since, now)
			}
		} else if !next.Since.Equal(s.Since) {
			t.Errorf("%q: since has moved", script)
		}
		s = next
	}
	return s, strings.Join(states, " ")
}

func TestTransitions(t *testing.T) {
	for _, c := range []struct{ script, want string }{
		// Unknown
		{"", ""},
		{"ok", "up@0"},
		{"bad bad", ""},
		{"bad bad bad", "down@0"},
		{"bad bad ok", "up@0"},
		{"drain", "draining@0"},
		{"call full", ""},
		{"fail fail fail", "down@0"},
		// Up
		{"ok bad bad ok bad bad", "up@0"},
		{"ok bad bad bad", "up@0 down@0"},
		{"ok drain", "up@0 draining@0"},
		{"ok bad bad drain bad bad", "up@0 draining@0"},
		// Down by probes
		{"bad bad bad ok", "down@0"},
		{"bad bad bad ok bad ok", "down@0"},
		{"bad bad bad ok +5 ok", "down@0 up@5"},
		{"bad bad bad +5 drain", "down@0 draining@5"},
		{"bad bad bad call call call", "down@0"},
		{"bad bad bad fail fail fail fail ok ok fail fail", "down@0 up@0"},
		// Draining
		{"drain drain +5 ok", "draining@0 up@5"},
		{"drain bad bad", "draining@0"},
		{"drain bad bad +5 bad", "draining@0 down@5"},
		{"drain fail fail fail fail ok fail fail", "draining@0 up@0"},
		// Failed calls
		{"ok fail fail", "up@0"},
		{"ok fail fail call fail fail", "up@0"},
		{"ok fail fail full fail fail", "up@0"},
		{"ok fail fail ok fail", "up@0 down@0"},
		{"ok fail fail bad bad bad ok ok fail fail", "up@0 down@0 up@0"},
		// Ejected, and dead for probes too: back as soon as they rise
		{"ok fail fail fail bad +1 ok +1 ok", "up@0 down@0 up@2"},
		{"ok fail fail fail ok bad +1 ok +1 ok fail fail", "up@0 down@0 up@2"},
		{"ok fail fail fail bad drain ok", "up@0 down@0 draining@0 up@0"},
		// Ejected while probes succeed: back when the time is over
		{"ok fail fail fail ok +10 ok +10 ok +9 ok +1 ok", "up@0 down@0 up@30"},
		{"ok fail fail fail +30 ok ok", "up@0 down@0 up@30"},
		{"ok fail fail fail +31 ok", "up@0 down@0"},
		{"ok fail fail fail ok ok +10 fail fail call +20 ok", "up@0 down@0 up@30"}, // late calls do not extend it
		{"ok fail fail fail drain +10 ok ok +20 ok", "up@0 down@0 up@30"},
		{"ok fail fail fail ok ok +30 drain ok fail", "up@0 down@0 draining@30 up@30 down@30"},
		// Engine dead: only deep probes bring it back
		{"ok dead deep dead", "up@0"},
		{"ok dead dead", "up@0 down@0"},
		{"dead dead", "down@0"},
		{"drain dead dead", "draining@0 down@0"},
		{"ok dead dead ok ok ok drain bad call +5 deep dead deep +5 deep", "up@0 down@0 up@10"},
		{"ok dead dead deep deep bad bad bad", "up@0 down@0 up@0 down@0"},
		{"ok dead dead deep deep fail fail fail", "up@0 down@0 up@0 down@0"},
		// Dead for probes or calls: what deep probes say adds nothing, and OPTIONS brings it back
		{"ok bad bad bad dead dead dead ok +1 ok dead", "up@0 down@0 up@1"},
		{"ok bad bad bad deep deep", "up@0 down@0"},
		{"ok fail fail fail dead dead dead ok +30 ok", "up@0 down@0 up@30"},
		// On probation: one failed call, for twice as long, at most EjectMax
		{"ok fail fail fail ok ok +30 ok fail", "up@0 down@0 up@30 down@30"},
		{"ok fail fail fail ok ok +30 ok fail ok ok +59 ok +1 ok", "up@0 down@0 up@30 down@30 up@90"},
		{"ok fail fail fail ok ok +30 ok fail ok ok +60 ok fail ok ok +99 ok +1 ok", "up@0 down@0 up@30 down@30 up@90 down@90 up@190"},
		{"ok fail fail fail ok ok +30 ok full fail", "up@0 down@0 up@30 down@30"}, // a refusal proves nothing about calls
		{"ok fail fail fail ok ok +30 ok call fail fail", "up@0 down@0 up@30"},
		{"ok fail fail fail ok ok +30 ok call fail fail fail ok ok +30 ok", "up@0 down@0 up@30 down@30 up@60"},
	} {
		if _, got := play(t, policy, c.script); got != c.want {
			t.Errorf("%q: %q, want %q", c.script, got, c.want)
		}
	}
}

func TestReasons(t *testing.T) {
	for script, want := range map[string]string{
		"":                                     "",
		"ok":                                   "probe succeeded",
		"bad bad bad":                          "3 probes in a row failed: why",
		"bad bad bad bad":                      "4 probes in a row failed: why",
		"bad bad bad ok ok":                    "2 probes in a row succeeded",
		"drain":                                "server is draining: why",
		"ok fail fail fail":                    "ejected: 3 calls in a row failed: why",
		"ok fail fail fail bad bad bad bad":    "ejected: 3 calls in a row failed: why",
		"ok fail fail fail ok +30 ok":          "ejection ended, probes succeeded",
		"ok fail fail fail ok +30 ok fail":     "ejected again: a call failed: why",
		"ok fail fail fail ok +30 ok call bad": "ejection ended, probes succeeded",
		"ok dead dead dead":                    "engine: 3 deep probes in a row failed: why",
		"ok dead dead ok bad":                  "engine: 2 deep probes in a row failed: why",
		"ok dead dead deep deep":               "engine: deep probe succeeded",
	} {
		if s, _ := play(t, policy, script); s.Reason != want {
			t.Errorf("%q: %q, want %q", script, s.Reason, want)
		}
	}
}

func TestSmallPolicies(t *testing.T) {
	for _, c := range []struct {
		policy       Policy
		script, want string
	}{
		{Policy{}, "ok bad ok", "up@0 down@0 up@0"}, // rise and fall are 1 at least
		{Policy{}, "ok fail fail fail fail fail", "up@0"},
		{Policy{EjectAfter: 1, EjectFor: 10 * time.Second}, "ok fail ok +10 ok fail +10 ok", "up@0 down@0 up@10 down@10 up@20"},
		{Policy{DeepFall: 1}, "ok dead ok ok deep", "up@0 down@0 up@0"},
		{Policy{}, "ok dead dead dead", "up@0"}, // deep probes do not count
		{Policy{EjectAfter: 1}, "ok fail ok fail ok", "up@0 down@0 up@0 down@0 up@0"},
	} {
		if _, got := play(t, c.policy, c.script); got != c.want {
			t.Errorf("%+v %q: %q, want %q", c.policy, c.script, got, c.want)
		}
	}
}

func TestHold(t *testing.T) {
	up := Status{State: Up}
	for _, c := range []struct {
		hold, retryAfter, want time.Duration
	}{
		{2 * time.Second, 0, 2 * time.Second},
		{2 * time.Second, time.Second, 2 * time.Second},
		{2 * time.Second, 5 * time.Second, 5 * time.Second},
		{2 * time.Second, time.Hour, MaxHold},
		{time.Minute, time.Hour, time.Minute},
	} {
		p := policy
		p.HoldFor = c.hold
		s := Next(up, Event{Kind: CallRefused, RetryAfter: c.retryAfter, At: t0}, p)
		if got := s.HoldUntil.Sub(t0); got != c.want || s.State != Up {
			t.Errorf("hold %v, Retry-After %v: held for %v", c.hold, c.retryAfter, got)
		}
	}
	s := Next(up, Event{Kind: CallRefused, RetryAfter: 20 * time.Second, At: t0}, policy)
	if again := Next(s, Event{Kind: CallRefused, At: t0.Add(time.Second)}, policy); again != s {
		t.Errorf("a shorter hold has replaced a longer one: %+v", again)
	}
	if s := Next(up, Event{Kind: CallRefused, At: t0}, Policy{}); !s.HoldUntil.IsZero() {
		t.Errorf("no hold is configured: %+v", s)
	}
}

func TestEjectionDoesNotOverflow(t *testing.T) {
	p := Policy{EjectFor: time.Second, EjectMax: 1000 * time.Hour}
	for n := 1; n < 200; n++ {
		if d := doubled(p.EjectFor, p.EjectMax, n); d < time.Second || d > p.EjectMax {
			t.Fatalf("ejection %d lasts %v", n, d)
		}
	}
}

func TestNames(t *testing.T) {
	for want, v := range map[string]fmt.Stringer{
		"unknown": Unknown, "up": Up, "down": Down, "draining": Draining, "state(9)": State(9),
		"probe ok": ProbeOK, "probe failed": ProbeFailed, "probe draining": ProbeDraining,
		"call ok": CallOK, "call failed": CallFailed, "call refused": CallRefused,
		"deep probe ok": DeepOK, "deep probe failed": DeepFailed, "call errored": CallErrored, "event(99)": EventKind(99),
	} {
		if v.String() != want {
			t.Errorf("%q, want %q", v, want)
		}
	}
}

// TestDeepTurnedOff: a backend that deep probes have taken out is not lost when they are no longer made.
func TestDeepTurnedOff(t *testing.T) {
	s, _ := play(t, policy, "ok dead dead")
	p := policy
	p.DeepFall = 0
	for range 2 {
		s = Next(s, Event{Kind: ProbeOK, At: t0}, p)
	}
	if s.State != Up || s.EngineDown {
		t.Errorf("%+v", s)
	}
}
