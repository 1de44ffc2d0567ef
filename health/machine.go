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
	// At is when it was seen. A Runner fills in the present when it is zero.
	At time.Time
}

// Policy is how evidence is weighed.
type Policy struct {
	// Interval is the time from the end of a probe to the start of the next; not positive means 10 s.
	Interval time.Duration
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
	// HoldFor is how long a backend is passed over after it refused a call, when the server asks for no longer.
	HoldFor time.Duration
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
	// DeepSuccesses and DeepFailures are the streaks of good and bad deep probes; one of them is 0.
	DeepSuccesses, DeepFailures int
	// EngineDown: it is Down because of deep probes, and other evidence cannot bring it back.
	EngineDown bool
}
