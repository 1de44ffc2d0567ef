// Package message is a zero-copy view of one SIP message: it scans the bytes once, remembers where the headers are that a
// proxy reads or changes, and writes the forwarded message by copying the bytes around the few cuts. It owns the syntax
// of what a proxy needs (RFC 3261 sections 7, 18.2, 20 and 25) and nothing else: it never builds header objects, never
// re-serialises what need not change, never allocates on the scanning path, and does not know sockets or transactions.
package message

// Span is a half-open range of bytes in Message.Raw. The zero Span is "not there".
type Span struct{ Off, End int }

// Empty reports whether the span holds nothing.
func (s Span) Empty() bool { return s.End <= s.Off }

// Method is a request method that the proxy treats in a way of its own; all others are Other.
type Method uint8

// The methods.
const (
	Other Method = iota
	Invite
	Ack
	Bye
	Cancel
	Options
	Update
)

var methodNames = [...]string{"", "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "UPDATE"}

// String is the method as it stands in a request line; "" for Other.
func (m Method) String() string { return methodNames[m] }

// methodOf compares with case: methods are case-sensitive (RFC 3261 7.1).
func methodOf(b []byte) Method {
	for i := 1; i < len(methodNames); i++ {
		if string(b) == methodNames[i] {
			return Method(i)
		}
	}
	return Other
}

// Line is one header field: the whole of it with its line end (and the lines folded into it), and its trimmed value.
type Line struct {
	All   Span
	Value Span
}

// Via is the topmost Via value (RFC 3261 20.42), parsed.
type Via struct {
	Line      Line
	Value     Span // this value alone: a Via field may hold several
	Next      int  // where the next value of the same field starts; 0 when this one is the last
	Transport Span
	Host      Span // with the brackets of an IPv6 reference
	Port      int  // 0 when not given
	Branch    Span
	Received  Span // the parameter from its semicolon to its end
	RPort     Span // likewise
	RPortSet  bool // ;rport is there and has no value (RFC 3581 3)
}

const maxRouteLines = 4

// Message is the scanned view. Reuse one for each goroutine: Scan resets it.
type Message struct {
	Raw []byte

	Request    bool
	Method     Method
	MethodText Span
	URI        Span
	Status     int
	Reason     Span
	Headers    int // offset of the first header field
	Body       int // offset of the body
	End        int // offset of the end: bytes behind it (UDP, RFC 3261 18.3) do not belong to the message

	Via        Via
	ViaFields  int // Via header fields, merged values counted once
	From       Line
	To         Line
	FromTag    Span
	ToTag      Span
	CallID     Line
	CSeq       Line
	CSeqNumber uint32
	CSeqMethod Span

	MaxForwards    Line
	Hops           int // Max-Forwards' value; -1 when the field is missing
	Contact        Line
	RecordRoute    Line // the first
	routes         [maxRouteLines]Line
	nroutes        int
	ContentLength  int // -1 when missing
	ContentType    Line
	UserAgent      Line
	SessionExpires Line
	ProxyRequire   Line
}

// Bytes is the span's text.
func (m *Message) Bytes(s Span) []byte { return m.Raw[s.Off:s.End] }

// BodyBytes is the message body.
func (m *Message) BodyBytes() []byte { return m.Raw[m.Body:m.End] }

// InDialog reports whether the To header carries a tag (RFC 3261 12.2).
func (m *Message) InDialog() bool { return !m.ToTag.Empty() }

// HasRoute reports whether the message has a Route header.
func (m *Message) HasRoute() bool { return m.nroutes > 0 }
