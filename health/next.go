package health

import (
	"fmt"
	"time"
)

// Next returns the status after one event. It is pure.
//
//	from      event                                     to
//	unknown   good probe                                up
//	unknown   Fall bad probes in a row                  down
//	up        Fall bad probes in a row                  down
//	down      Rise good probes in a row, not ejected    up
//	draining  good probe                                up
//	draining  Fall bad probes in a row                  down
//	any       probe answered "draining", not ejected    draining
//	unknown,  EjectAfter failed calls in a row,         down, ejected
//	up        or one on probation
//	down,     Rise good probes in a row, and a probe    up
//	ejected   failed since, or EjectedUntil has passed  (on probation in the second case)
//	unknown,  more than ErrorRate of the calls within   down, ejected
//	up        ErrorWindow failed
//	any but   DeepFall bad deep probes in a row         down, engine
//	down
//	down,     DeepRise good deep probes in a row        up
//	engine
func Next(s Status, ev Event, p Policy) Status {
	if s.EngineDown && p.DeepFall > 0 {
		return s.whileEngineDown(ev, p)
	}
	s.EngineDown = false // deep probes no longer count
	switch ev.Kind {
	case ProbeOK:
		return s.probeOK(ev, p)
	case ProbeFailed:
		return s.probeFailed(ev, p)
	case ProbeDraining:
		return s.probeDraining(ev)
	case CallOK:
		return s.callOK(ev, p)
	case CallFailed:
		return s.callFailed(ev, p)
	case CallErrored:
		return s.callErrored(ev, p)
	case CallRefused:
		return s.callRefused(ev, p)
	case DeepOK:
		return s.deepOK()
	case DeepFailed:
		return s.deepFailed(ev, p)
	}
	return s
}

func (s Status) probeOK(ev Event, p Policy) Status {
	s.Successes, s.Failures = s.Successes+1, 0
	switch s.State {
	case Unknown, Draining:
		return s.enter(Up, "probe succeeded", ev.At)
	case Down:
		rise := max(p.Rise, 1)
		if s.Successes < rise || s.sittingOut(ev.At) {
			return s
		}
		reason := "probe succeeded"
		if rise > 1 {
			reason = fmt.Sprintf("%d probes in a row succeeded", s.Successes)
		}
		if s.Ejected && !s.Confirmed {
			reason = "ejection ended, probes succeeded"
		}
		return s.endEjection().enter(Up, reason, ev.At)
	}
	return s
}

func (s Status) probeFailed(ev Event, p Policy) Status {
	s.Failures, s.Successes = s.Failures+1, 0
	s.Confirmed = s.Ejected
	fall := max(p.Fall, 1)
	if s.Ejected || s.State != Down && s.Failures < fall {
		return s
	}
	reason := "probe failed"
	if s.Failures > 1 {
		reason = fmt.Sprintf("%d probes in a row failed", s.Failures)
	}
	return s.enter(Down, withDetail(reason, ev.Reason), ev.At)
}

// probeDraining counts neither as good nor as bad: the server is there, and wants no sessions.
func (s Status) probeDraining(ev Event) Status {
	s.Successes, s.Failures = 0, 0
	if s.State == Down && s.sittingOut(ev.At) {
		return s
	}
	return s.endEjection().enter(Draining, withDetail("server is draining", ev.Reason), ev.At)
}

// callOK ends all suspicion that calls have raised. On a backend that is down it is the late end of an earlier call.
func (s Status) callOK(ev Event, p Policy) Status {
	if s.State == Down {
		return s
	}
	s = s.count(ev, p, false)
	s.CallFailures, s.Probation = 0, false
	s.Refusals, s.Unexplained, s.Suspect = 0, 0, false
	if p.ErrorRate == 0 || ev.At.Sub(s.Since) >= p.ErrorWindow { // a good call proves little where half of them fail
		s.Ejections = 0
	}
	return s
}

// count keeps the calls that the error rate is made of.
func (s Status) count(ev Event, p Policy, failed bool) Status {
	if p.ErrorRate > 0 && (s.State == Up || s.State == Unknown) {
		s.Recent = s.Recent.add(ev.At, p.ErrorWindow, failed)
	}
	return s
}

// callFailed counts only on a backend that is in use: anything else is the late end of an earlier call.
func (s Status) callFailed(ev Event, p Policy) Status {
	if s.State != Up && s.State != Unknown {
		return s
	}
	s = s.count(ev, p, true)
	if p.EjectAfter <= 0 {
		return s.orTooMany(ev, p)
	}
	s.CallFailures++
	if s.CallFailures < p.EjectAfter && !s.Probation {
		return s.orTooMany(ev, p)
	}
	reason := fmt.Sprintf("ejected: %d calls in a row failed", s.CallFailures)
	if s.CallFailures == 1 {
		reason = "ejected: a call failed"
		if s.Ejections > 0 {
			reason = "ejected again: a call failed"
		}
	}
	return s.eject(ev, p, reason)
}

// callErrored is an answer, so the streak of calls without any ends.
func (s Status) callErrored(ev Event, p Policy) Status {
	if s.State != Up && s.State != Unknown {
		return s
	}
	s.CallFailures = 0
	return s.count(ev, p, true).orTooMany(ev, p)
}

// orTooMany ejects the backend if too many of its calls have failed.
func (s Status) orTooMany(ev Event, p Policy) Status {
	if p.ErrorRate == 0 || !s.Recent.tooMany(p) {
		return s
	}
	good, bad := s.Recent.Counts()
	return s.eject(ev, p, fmt.Sprintf("ejected: %d of %d calls within %v failed", bad, good+bad, p.ErrorWindow))
}

// eject takes the backend out for what calls have shown, unless enough of its group is.
func (s Status) eject(ev Event, p Policy, reason string) Status {
	if ev.Spare {
		return s
	}
	s.Ejections++
	s.Ejected, s.Confirmed, s.Probation = true, false, false
	s.EjectedUntil = ev.At.Add(doubled(p.EjectFor, p.EjectMax, s.Ejections))
	s.Successes = 0
	return s.enter(Down, withDetail(reason, ev.Reason), ev.At)
}

// callRefused passes the backend over for a while, and for longer when it refuses again after that; what it refuses
// meanwhile was on its way. A refusal shows that the server is alive, and no more.
func (s Status) callRefused(ev Event, p Policy) Status {
	if s.State != Down {
		s.CallFailures = 0
	}
	if !ev.At.Before(s.HoldUntil) {
		s.Refusals++
		if s.Unexplained++; !ev.Idle {
			s.Unexplained = 0
		}
		s.Suspect = p.SuspectAfter > 0 && s.Unexplained >= p.SuspectAfter
	}
	until := ev.At.Add(max(doubled(p.HoldFor, p.HoldMax, s.Refusals), min(ev.RetryAfter, MaxHold)))
	if until.After(ev.At) && until.After(s.HoldUntil) {
		s.HoldUntil = until
	}
	return s
}

// sittingOut reports whether the backend is out for failed calls that no probe has confirmed, and the time is not over.
func (s Status) sittingOut(now time.Time) bool {
	return s.Ejected && !s.Confirmed && now.Before(s.EjectedUntil)
}

// endEjection puts a backend on probation whose probes had succeeded all the while: they cannot show that calls do.
func (s Status) endEjection() Status {
	if s.Ejected {
		s.Probation = !s.Confirmed
		s.Ejected, s.Confirmed, s.EjectedUntil = false, false, time.Time{}
	}
	return s
}

// enter changes the state; the time of entry stays when it is the same. A backend that was down starts with a clean
// record of calls.
func (s Status) enter(to State, reason string, at time.Time) Status {
	if s.State == Down && to != Down {
		s.CallFailures, s.Recent = 0, Recent{}
	}
	if s.State != to {
		s.State, s.Since = to, at
	}
	s.Reason = reason
	return s
}

// doubled is a time for the nth in a row: twice as long each, up to the longest. A longest of 0 means that it does not double.
func doubled(d, longest time.Duration, n int) time.Duration {
	if longest <= 0 {
		longest = d
	}
	for ; n > 1 && d > 0 && d < longest; n-- {
		d *= 2
	}
	return min(d, longest)
}

func withDetail(reason, detail string) string {
	if detail == "" {
		return reason
	}
	return reason + ": " + detail
}
