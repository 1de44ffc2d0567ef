package proxy

import (
	"net/netip"
	"time"

	"mrcproxy/balancer"
	"mrcproxy/internal/session"
)

// OutcomeKind is what a call showed of a server.
type OutcomeKind uint8

// The kinds.
const (
	Answered OutcomeKind = iota // it answered, whatever it answered
	Failed                      // no connection, or no answer in time
	Refused                     // 406, 480, 486, 503: full, or not willing
	Errored                     // another 5xx: it lives, and cannot
)

// Outcome is evidence on a server's health from one attempt.
type Outcome struct {
	Kind       OutcomeKind
	Reason     string
	RetryAfter time.Duration // that the refusal asks for; 0 when it does not
	Took       time.Duration // from the INVITE to its 2xx; 0 when there was none
}

// Invite is the end of an initial INVITE: its final response has gone out.
type Invite struct {
	CallID   string
	Route    string
	Cluster  string
	Backend  *balancer.Backend // the last one tried; nil when none was
	Attempts []session.Attempt
	Code     int
	Why      string // of a response of our own: the reason given
	Took     time.Duration
	Queued   time.Duration // of it, spent waiting for a place
	Client   netip.AddrPort
	Steps    *Steps          // nil: not drawn
	Detail   *session.Detail // of one that became no session, when Routing.Record asks for it
}

// Observer is told what happened. Its methods are called on the path of a message and must not block.
type Observer interface {
	InviteDone(*Invite)                     // each initial INVITE once, at its final response; not to be kept
	FailedOver(cluster, reason string)      // an attempt was given up and another made
	Dropped(DropReason)                     // a message was not relayed
	Late(backend *balancer.Backend)         // a 2xx came on an abandoned branch and was ended by us
	Unroutable(i *Invite, userAgent string) // an INVITE that matched no route
}

// DropReason says why a message was answered by us or thrown away.
type DropReason uint8

// The reasons.
const (
	DropMalformed DropReason = iota // not fit for a proxy
	DropForbidden                   // source not allowed, or no dialog of ours
	DropNoDialog                    // in a dialog without a valid cookie
	DropNoRoute                     // an INVITE that no route matches
	DropStray                       // a response to nothing
	DropHops                        // Max-Forwards reached zero
	DropLoop                        // it has been here before
	DropExtension                   // Proxy-Require
	DropRate                        // more than its source, or all together, may ask for in a second
	DropOverload                    // no room for a transaction
	DropSend                        // could not be sent
	DropFraming                     // a stream that could not be framed
	DropPanic                       // a bug of ours
	DropStopping                    // a new session while we stop
	dropReasons
)

var dropNames = [dropReasons]string{"malformed", "forbidden", "no_dialog", "no_route", "stray_response", "max_forwards", "loop", "extension",
	"rate", "overload", "send_failed", "framing", "panic", "stopping"}

// String is the reason as metrics spell it.
func (r DropReason) String() string { return dropNames[r] }

// DropReasons are all of them.
func DropReasons() []DropReason {
	l := make([]DropReason, dropReasons)
	for i := range l {
		l[i] = DropReason(i)
	}
	return l
}
