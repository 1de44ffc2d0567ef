package session

// Reason says how a session ended.
type Reason uint8

// The reasons.
const (
	ByeClient     Reason = iota // the client said BYE
	ByeServer                   // the server said BYE
	ByeUnanswered               // a BYE that the other side did not answer in time
	ByeUnknown                  // a BYE was answered for a session that the table did not have
	Gone                        // an in-dialog request was answered 481 or 408 (RFC 3261 12.2.1.2)
	Expired                     // Session-Expires passed without a refresh (RFC 4028)
	TooLong                     // it reached the longest time a session may have
	NoAck                       // its 2xx was never acknowledged (RFC 3261 13.3.1.4)
	BackendDown                 // its server was declared dead
	Elsewhere                   // another instance ended it
	Operator                    // an operator ended it
	reasons
)

var names = [reasons]string{"bye_client", "bye_server", "bye_unanswered", "bye_unknown", "gone", "expired", "max_session", "no_ack", "backend_down",
	"elsewhere", "operator"}

// String is the reason as metrics and logs spell it.
func (r Reason) String() string { return names[r] }

// Reasons are all of them, in order.
func Reasons() []Reason {
	l := make([]Reason, reasons)
	for i := range l {
		l[i] = Reason(i)
	}
	return l
}
