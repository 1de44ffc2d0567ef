// Package transaction has the two halves of a proxied request as pure state machines (RFC 3261 section 17, RFC 6026), and
// the table that keeps them: a pair of one server and up to a few client transactions, found by the key of the request or
// by the id in our own branch, with one timer each. It owns states, timers and memory of transactions. It never sends,
// never reads a socket, never looks into a message, and does not choose servers.
package transaction

// Time is a point in time, or with an interval's name a length of time, in milliseconds since the table was made.
type Time = int64

// Never is a timer that is not set.
const Never Time = 1<<63 - 1

// The timer values of RFC 3261 table 4, in milliseconds.
const (
	T1 = 500
	T2 = 4000
	T4 = 5000
	// Lifetime is 64*T1: how long a finished transaction absorbs what still arrives (timers D, H, J, L, M).
	Lifetime = 64 * T1
)

// Action says what a machine wants done; a set.
type Action uint8

// The actions.
const (
	Resend     Action = 1 << iota // send the last message of this half again
	Forward                       // give the response to the transaction user
	SendAck                       // answer a non-2xx final response with an ACK (17.1.1.3)
	SendCancel                    // send, or send again, the CANCEL of this branch
	TimedOut                      // no final response, or no ACK, in time
	Terminate                     // the half is over
)

// Has reports whether all of b is in a.
func (a Action) Has(b Action) bool { return a&b == b }
