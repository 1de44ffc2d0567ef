package probe

import "fmt"

// Failure is how a deep probe ended. Every way has its own.
type Failure uint8

// The ways.
const (
	// OK: the server did what was asked.
	OK Failure = iota
	// Local: we could not try, which says nothing about the server.
	Local
	// Cancelled by the caller, which says nothing either.
	Cancelled
	// Refused: the INVITE was answered 406, 480, 486 or 503: full, or not willing.
	Refused
	// Rejected: the INVITE was answered with another failure.
	Rejected
	// Unanswered: the INVITE had no final answer in time.
	Unanswered
	// Unreachable: the INVITE could not be brought to the server: connection refused or lost, ICMP error.
	Unreachable
	// BadAnswer: the SDP of the 200 names no control channel or audio that could be used.
	BadAnswer
	// ChannelRefused: the MRCP connection was refused.
	ChannelRefused
	// ChannelTimeout: the MRCP connection was not made in time.
	ChannelTimeout
	// ChannelLost: the server closed the MRCP connection before it was done.
	ChannelLost
	// BadMRCP: what came on the MRCP connection was no MRCPv2.
	BadMRCP
	// MethodUnanswered: the method had no response in time.
	MethodUnanswered
	// MethodFailed: the method was answered with a failure.
	MethodFailed
	// NotCompleted: the method began, and its completion did not come in time.
	NotCompleted
	// BadCause: the method completed with another cause than success.
	BadCause
	// WrongResult: what was recognised is not what was expected.
	WrongResult
	// LowConfidence: the result has less confidence than is asked for.
	LowConfidence
	// NoAudio: SPEAK completed, and no RTP came.
	NoAudio
	// SilentAudio: SPEAK completed, and all that came was silence.
	SilentAudio
	// ByeUnanswered: all went well, and the BYE had no answer: the channel may be lost to the server.
	ByeUnanswered
	failures
)

// names are the failures as metrics and logs spell them.
func names() [failures]string {
	return [failures]string{"ok", "local", "cancelled", "refused", "rejected", "no_answer", "unreachable", "bad_answer", "channel_refused",
		"channel_timeout", "channel_lost", "bad_mrcp", "method_unanswered", "method_failed", "not_completed", "bad_cause", "wrong_result",
		"low_confidence", "no_audio", "silent_audio", "bye_unanswered"}
}

// String is the failure as metrics spell it.
func (f Failure) String() string {
	if f < failures {
		return names()[f]
	}
	return fmt.Sprintf("failure(%d)", uint8(f))
}

// Failures are all of them, OK included.
func Failures() []Failure {
	l := make([]Failure, failures)
	for i := range l {
		l[i] = Failure(i)
	}
	return l
}

// Step is a part of a deep probe.
type Step uint8

// The steps, in their order.
const (
	StepSIP     Step = iota // INVITE to final answer
	StepConnect             // the MRCP connection
	StepMethod              // the method, to its completion
	StepBye                 // BYE to its answer
	Steps                   // how many there are
)

// String is the step as metrics spell it.
func (s Step) String() string {
	switch s {
	case StepSIP:
		return "sip"
	case StepConnect:
		return "connect"
	case StepMethod:
		return "method"
	case StepBye:
		return "bye"
	}
	return fmt.Sprintf("step(%d)", uint8(s))
}
