package health

import "fmt"

func (s Status) deepOK() Status {
	s.DeepSuccesses, s.DeepFailures = s.DeepSuccesses+1, 0
	s.Unexplained, s.Suspect = 0, false
	return s
}

// deepFailed counts only on a backend that is not down already: what it is down for must not need deep probes, which are
// rare, to end.
func (s Status) deepFailed(ev Event, p Policy) Status {
	s.DeepSuccesses = 0
	if s.State == Down {
		return s
	}
	s.DeepFailures++
	if p.DeepFall <= 0 || s.DeepFailures < p.DeepFall {
		return s
	}
	s.EngineDown = true
	s.Successes, s.Failures = 0, 0
	return s.enter(Down, engineReason(s.DeepFailures, ev.Reason), ev.At)
}

// whileEngineDown is Next for a backend that deep probes have taken out. A session served is the best evidence there is:
// it brings the backend back whatever else has been seen.
func (s Status) whileEngineDown(ev Event, p Policy) Status {
	switch ev.Kind {
	case DeepOK:
		if s = s.deepOK(); s.DeepSuccesses < p.DeepRise {
			return s
		}
		s.EngineDown = false
		return s.enter(Up, "engine: deep probe succeeded", ev.At)
	case DeepFailed:
		s.DeepSuccesses, s.DeepFailures = 0, s.DeepFailures+1
		s.Reason = engineReason(s.DeepFailures, ev.Reason)
	}
	return s
}

func engineReason(failures int, detail string) string {
	if failures == 1 {
		return withDetail("engine: deep probe failed", detail)
	}
	return withDetail(fmt.Sprintf("engine: %d deep probes in a row failed", failures), detail)
}
