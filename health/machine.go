package health

import (
	"fmt"
	"time"
)

// State is what is believed of a backend.
type State uint8

const (
	// Unknown has too little evidence yet; the backend is used.
	Unknown State = iota
	// Up is used.
	Up
	// Down is not used.
	Down
	// Draining is alive, and asks for no new sessions.
	Draining
)

// String returns the state in lower case.
func (s State) String() string {
	switch s {
	case Unknown:
		return "unknown"
	case Up:
		return "up"
	case Down:
		return "down"
	case Draining:
		return "draining"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// EventKind is a kind of evidence.
type EventKind uint8

const (
	// ProbeOK: a probe succeeded.
	ProbeOK EventKind = iota
	// ProbeFailed: a probe was not answered, or answered with a failure.
	ProbeFailed
	// ProbeDraining: the server asks for no new sessions (503 to OPTIONS).
	ProbeDraining
	// CallOK: a call was answered in a way that shows the server working.
	CallOK
	// CallFailed: no connection, no first response in time, or an ICMP error.
	CallFailed
	// CallRefused: the server answered that it takes no more (406, 480, 486, 503).
	CallRefused
	// CallErrored: the server answered with a failure of its own (another 5xx).
	CallErrored
	// DeepOK: a session of our own was served as it should be, its engine included.
	DeepOK
	// DeepFailed: a session of our own was not, whatever OPTIONS says.
	DeepFailed
)

// String returns the kind as words.
func (k EventKind) String() string {
	switch k {
	case ProbeOK:
		return "probe ok"
	case ProbeFailed:
		return "probe failed"
	case ProbeDraining:
		return "probe draining"
	case CallOK:
		return "call ok"
	case CallFailed:
		return "call failed"
	case CallRefused:
		return "call refused"
	case CallErrored:
		return "call errored"
	case DeepOK:
		return "deep probe ok"
	case DeepFailed:
		return "deep probe failed"
	}
	return fmt.Sprintf("event(%d)", uint8(k))
}

// Event is one piece of evidence.
type Event struct {
	Kind EventKind
	// Reason is for people, for example "OPTIONS answered 500"; not needed for a success.
	Reason string
	// RetryAfter is what the server asked for with a refusal (RFC 3261 20.33); 0 when it did not.
	RetryAfter time.Duration
	// Idle: with a refusal, that our own sessions do not explain it.
	Idle bool
	// Spare: enough of the backend's group is out for calls already. A Runner fills it in.
	Spare bool
	// At is when it was seen. A Runner fills in the present when it is zero.
	At time.Time
}

// Policy is how evidence is weighed.
type Policy struct {
	// Interval is the time from the end of a probe to the start of the next; not positive means 10 s.
	Interval time.Duration
	// Fast is the same while there is a doubt, Slow after a minute of being down; 0 means Interval.
	Fast, Slow time.Duration
	// Timeout ends a probe; not positive means Interval.
	Timeout time.Duration
	// Jitter varies Interval by up to this fraction either way, from 0 to 1.
	Jitter float64
	// Rise is how many good probes in a row bring a backend back, Fall how many bad ones take it out; at least 1.
	Rise, Fall int
	// EjectAfter is how many failed calls in a row take a backend out; 0 for never.
	EjectAfter int
	// EjectFor is how long a backend stays out for failed calls when its probes succeed all the while. It doubles with
	// each ejection until a call succeeds, up to EjectMax; an EjectMax of 0 means that it does not double.
	EjectFor, EjectMax time.Duration
	// HoldFor is how long a backend is passed over after it refused a call, when the server asks for no longer. It doubles
	// each time that the next try is refused too, up to HoldMax; a HoldMax of 0 means that it does not double.
	HoldFor, HoldMax time.Duration
	// SuspectAfter is how many refusals in a row that our own sessions do not explain make a backend suspect; 0 for never.
	SuspectAfter int
	// ErrorRate is the part of the calls within ErrorWindow, 0 to 1, of which more must fail to take a backend out, once
	// there are ErrorVolume of them; 0 for never.
	ErrorRate   float64
	ErrorVolume int
	ErrorWindow time.Duration
	// MaxEjected is the part of a group, 0 to 1, that calls may take out while probes are good; one backend in any case.
	// 0 is no limit.
	MaxEjected float64
	// DeepFall is how many bad deep probes in a row take a backend out, DeepRise how many good ones bring it back, at least
	// 1. A DeepFall of 0: deep probes change nothing.
	DeepRise, DeepFall int
}

// MaxHold is the longest Retry-After that is obeyed: a server that asks for more is asked again.
const MaxHold = 30 * time.Second

// Status is all that is known of a backend. The zero value is a backend of which nothing is known.
type Status struct {
	State State
	// Reason is why it is in State, for people.
	Reason string
	// Since is when State was entered; zero for a backend that is Unknown.
	Since time.Time
	// Successes and Failures are the streaks of good and bad probes; one of them is 0.
	Successes, Failures int
	// CallFailures is the streak of failed calls.
	CallFailures int
	// Ejections counts how often failed calls have taken the backend out with no successful call in between.
	Ejections int
	// Ejected: it is Down because of calls.
	Ejected bool
	// Confirmed: a probe has failed since the ejection, so that it was dead for probes too.
	Confirmed bool
	// EjectedUntil is when an ejection ends that no probe has confirmed.
	EjectedUntil time.Time
	// Probation: it is back from such an ejection, and no call has succeeded yet; one failed call ejects it again.
	Probation bool
	// HoldUntil is when a backend that refused a call is to be asked again.
	HoldUntil time.Time
	// Refusals is the streak of refused tries, each after the hold for the one before.
	Refusals int
	// Unexplained is the streak of those that our own sessions do not explain.
	Unexplained int
	// Suspect: there were SuspectAfter of them. The backend is used, and should be looked at.
	Suspect bool
	// Recent are the calls within ErrorWindow, kept where there is an ErrorRate.
	Recent Recent
	// DeepSuccesses and DeepFailures are the streaks of good and bad deep probes; one of them is 0.
	DeepSuccesses, DeepFailures int
	// EngineDown: it is Down because of deep probes, and other evidence cannot bring it back.
	EngineDown bool
}
