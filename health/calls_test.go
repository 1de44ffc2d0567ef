package health

import (
	"testing"
	"testing/synctest"
	"time"
)

var rated = Policy{Rise: 1, Fall: 3, EjectAfter: 5, EjectFor: 10 * time.Second, EjectMax: time.Minute,
	ErrorRate: 0.5, ErrorVolume: 10, ErrorWindow: 10 * time.Second}

// feed gives events of one kind each tenth of a second, and returns the status and the time after.
func feed(s Status, p Policy, at time.Time, kinds ...EventKind) (Status, time.Time) {
	for _, k := range kinds {
		s = Next(s, Event{Kind: k, At: at, Reason: "500"}, p)
		at = at.Add(100 * time.Millisecond)
	}
	return s, at
}

func many(n int, k EventKind) []EventKind {
	l := make([]EventKind, n)
	for i := range l {
		l[i] = k
	}
	return l
}

func TestErrorRate(t *testing.T) {
	up := Status{State: Up, Since: t0.Add(-time.Hour)}
	s, at := feed(up, rated, t0, many(9, CallErrored)...)
	if s.State != Up {
		t.Error("ejected before there were enough calls")
	}
	if s, _ = feed(s, rated, at, CallErrored); s.State != Down || !s.Ejected || s.Reason != "ejected: 10 of 10 calls within 10s failed: 500" {
		t.Errorf("%+v", s)
	}
	s, at = feed(up, rated, t0, many(10, CallOK)...)
	if s, at = feed(s, rated, at, many(10, CallErrored)...); s.State != Up {
		t.Error("half of them is not more than half")
	}
	if s, _ := feed(s, rated, at, CallErrored); s.State != Down {
		t.Error("eleven of 21 are")
	}
	// The good ones slide out of the window.
	if s, _ = feed(s, rated, t0.Add(10500*time.Millisecond), CallErrored); s.State != Down {
		t.Errorf("%+v", s.Recent)
	}
	// Refusals, and calls from before, are neither good nor bad.
	s, at = feed(up, rated, t0, many(100, CallRefused)...)
	s, at = feed(s, rated, at.Add(time.Minute), many(9, CallErrored)...)
	if s, _ = feed(s, rated, at.Add(-time.Minute), many(50, CallErrored)...); s.State != Up {
		t.Error("ejected for what is none")
	}
	if good, bad := s.Recent.Counts(); good != 0 || bad != 9 {
		t.Errorf("%d good, %d bad", good, bad)
	}
}

// TestErrorWindowChanged: a reload may make the window longer or shorter; calls count from then on as ever.
func TestErrorWindowChanged(t *testing.T) {
	for _, window := range []time.Duration{time.Second, 9 * time.Second, 11 * time.Second, time.Hour} {
		s, at := feed(Status{State: Up, Since: t0.Add(-time.Hour)}, rated, t0, many(5, CallOK)...)
		p := rated
		p.ErrorWindow, p.ErrorVolume = window, 5
		if s, _ = feed(s, p, at, many(11, CallErrored)...); s.State != Down {
			t.Errorf("window %v: %+v", window, s.Recent)
		}
	}
}

// A server of which more than half the calls fail: each time it is out for longer, though single calls succeed.
func TestErrorRateGrows(t *testing.T) {
	s := Status{State: Up, Since: t0.Add(-time.Hour)}
	at := t0
	var out []time.Duration
	for range 6 {
		for s.State == Up {
			s, at = feed(s, rated, at, CallErrored, CallErrored, CallOK)
		}
		from := at
		for s.State == Down {
			at = at.Add(time.Second)
			s = Next(s, Event{Kind: ProbeOK, At: at}, rated)
		}
		out = append(out, at.Sub(from).Round(time.Second))
	}
	for i, want := range []int{10, 20, 40, 60, 60, 60} {
		if out[i] < time.Duration(want-1)*time.Second || out[i] > time.Duration(want+1)*time.Second {
			t.Fatalf("out for %v", out)
		}
	}
	s, at = feed(s, rated, at, many(120, CallOK)...) // good for longer than the window
	if s, _ = feed(s, rated, at, many(200, CallErrored)...); s.Ejections != 1 {
		t.Errorf("%d ejections in a row", s.Ejections)
	}
}

// Full is not sick: it is asked again after 1, 2, 4 … s, not more often for a burst, and at once when a call succeeds.
func TestRefusalsBackOff(t *testing.T) {
	p := Policy{HoldFor: time.Second, HoldMax: 10 * time.Second, SuspectAfter: 3}
	s, at := Status{State: Up}, t0
	for i, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
		for range 20 { // twenty were on their way
			s = Next(s, Event{Kind: CallRefused, At: at}, p)
		}
		if got := s.HoldUntil.Sub(at); got != want*time.Second || s.Refusals != i+1 || s.State != Up || s.Suspect {
			t.Fatalf("try %d: held for %v, %+v", i+1, got, s)
		}
		at = s.HoldUntil
	}
	s = Next(s, Event{Kind: CallOK, At: at}, p)
	if s = Next(s, Event{Kind: CallRefused, At: at}, p); s.HoldUntil.Sub(at) != time.Second {
		t.Errorf("after a good call: held for %v", s.HoldUntil.Sub(at))
	}
}

// What refuses while we have next to no sessions there is suspect; a good call or a good deep probe clears it.
func TestSuspect(t *testing.T) {
	p := Policy{HoldFor: time.Second, HoldMax: time.Second, SuspectAfter: 3, DeepFall: 1, DeepRise: 1}
	refuse := func(s Status, idle ...bool) Status {
		for _, i := range idle {
			s = Next(s, Event{Kind: CallRefused, Idle: i, At: s.HoldUntil.Add(t0.Sub(time.Time{}))}, p)
			s.HoldUntil = time.Time{}
		}
		return s
	}
	up := Status{State: Up}
	for _, c := range []struct {
		idle []bool
		want bool
	}{{[]bool{true, true}, false}, {[]bool{true, true, true}, true}, {[]bool{true, true, false, true}, false}, {[]bool{true, true, true, false}, false}} {
		if s := refuse(up, c.idle...); s.Suspect != c.want || s.State != Up {
			t.Errorf("%v: %+v", c.idle, s)
		}
	}
	suspect := refuse(up, true, true, true)
	for _, k := range []EventKind{CallOK, DeepOK} {
		if s := Next(suspect, Event{Kind: k, At: t0}, p); s.Suspect || s.Unexplained != 0 {
			t.Errorf("%v: %+v", k, s)
		}
	}
	if s := Next(suspect, Event{Kind: DeepFailed, At: t0}, p); !s.EngineDown {
		t.Errorf("%+v", s)
	}
}

func group4(p Policy) []Target {
	l := targets(4, p)
	for i := range l {
		l[i].Group = "asr a"
	}
	return append(l, Target{Key: 9, Name: "s9", Policy: p, Group: "asr b"})
}

// Calls alone take out half of a group at most; of a group of one, that one. When probes fail too, or one is back, the
// next may go.
func TestMaxEjected(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		p := Policy{Interval: time.Hour, Rise: 1, Fall: 3, EjectAfter: 1, EjectFor: time.Minute, MaxEjected: 0.5}
		for _, key := range []uint32{0, 1, 2, 3, 9} {
			g.farm.set(key, up, false)
		}
		g.Apply(group4(p))
		time.Sleep(time.Second)
		state := func() (s string) {
			for _, key := range []uint32{0, 1, 2, 3, 9} {
				st, _ := g.Status(key)
				s += st.State.String()[:1]
			}
			return s
		}
		fail := func(keys ...uint32) {
			for _, key := range keys {
				g.Report(key, Event{Kind: CallFailed, Reason: "no_response"})
			}
			synctest.Wait()
		}
		want := func(when, w string) {
			t.Helper()
			if got := state(); got != w {
				t.Errorf("%s: %s, want %s", when, got, w)
			}
		}
		fail(0, 1, 2, 3, 9)
		want("all fail", "dduud")
		g.Apply(group4(p)) // a reload forgets nothing
		fail(2, 3)
		want("after a reload", "dduud")
		g.farm.set(0, Result{Reason: "silent"}, false)
		g.ProbeNow(0)
		synctest.Wait()
		fail(2, 3)
		want("one is dead for probes too", "dddud")
		time.Sleep(2 * time.Minute)
		g.ProbeNow(1)
		synctest.Wait()
		want("one is back", "dudud")
		fail(3)
		want("the next may go", "duddd")
	})
}

// A doubt is settled by quick probes, and what has been down for long is left alone.
func TestPaceOfProbes(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		p := policy
		p.Fast, p.Slow = time.Second, time.Minute
		g.farm.set(0, up, false)
		g.Apply(targets(1, p))
		time.Sleep(5 * time.Second)
		g.farm.set(0, Result{Reason: "silent"}, false)
		time.Sleep(8 * time.Second) // 10 s bad, 11 s bad, 12 s bad
		g.wantChanges(t, "0s s0 unknown-up", "12s s0 up-down")
		time.Sleep(10 * time.Minute)
		n := len(g.farm.times(0))
		if n < 4+6+9 || n > 4+6+10 {
			t.Errorf("%d probes in ten minutes of being down", n)
		}
		g.farm.set(0, up, false)
		time.Sleep(time.Minute + 2*time.Second) // the first good one is followed soon
		if s, _ := g.Status(0); s.State != Up {
			t.Errorf("not back: %+v", s)
		}
		g.Report(0, Event{Kind: CallFailed})
		synctest.Wait()
		before := len(g.farm.times(0))
		time.Sleep(5*time.Second + time.Millisecond)
		if n := len(g.farm.times(0)) - before; n != 5 {
			t.Errorf("%d probes in 5 s after a failed call", n)
		}
	})
}

func TestRecentIsExactForAWindow(t *testing.T) {
	var r Recent
	for ms := 0; ms < 30000; ms += 10 {
		r = r.add(t0.Add(time.Duration(ms)*time.Millisecond), 10*time.Second, ms%30 == 0)
		good, bad := r.Counts()
		if n := good + bad; ms > 10000 && (n < 900 || n > 1000) {
			t.Fatalf("at %d ms: %d calls in the window", ms, n)
		}
	}
	if r = r.add(t0.Add(time.Hour), 10*time.Second, true); r.good != [parts]uint32{} {
		t.Error("what is old is forgotten")
	}
	if _, bad := r.Counts(); bad != 1 {
		t.Errorf("%d bad", bad)
	}
}
