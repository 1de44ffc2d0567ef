// Package mrcp reads and writes MRCPv2 messages (RFC 6787): requests, responses and events of the resources speechrecog
// and speechsynth, cut from a stream by their message-length. It owns the syntax and the vocabulary. It opens no
// connection, keeps no state of a channel, and does not know what a method does.
package mrcp

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Kind is what a message is.
type Kind uint8

// The kinds (RFC 6787 5).
const (
	Request Kind = iota
	Response
	Event
)

// String is the kind in lower case.
func (k Kind) String() string {
	switch k {
	case Request:
		return "request"
	case Response:
		return "response"
	case Event:
		return "event"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// State is the request-state of a response or event (RFC 6787 5.3).
type State string

// The states.
const (
	Pending    State = "PENDING"
	InProgress State = "IN-PROGRESS"
	Complete   State = "COMPLETE"
)

// Message is one MRCPv2 message.
type Message struct {
	Kind Kind
	// Name is the method of a request or the name of an event.
	Name string
	// RequestID is the request's own, or that of the request which a response or event is about.
	RequestID uint32
	// Status is the code of a response, 200 to 599; see StatusText.
	Status int
	// State is the request's, in a response or an event.
	State  State
	Header Header
	Body   []byte
}

// Field is one header field.
type Field struct{ Name, Value string }

// Header is the fields in their order. Names have no case.
type Header []Field

// Get is the value of the first field of that name; "" when there is none.
func (h Header) Get(name string) string {
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// Add appends a field.
func (h *Header) Add(name, value string) { *h = append(*h, Field{name, value}) }

const version = "MRCP/2.0"

// Append appends the message as it goes on the wire to dst. Content-Length is written for a body, whatever Header says of
// it. What would break the syntax, a line break in a value or a space in a name, is an error.
func (m *Message) Append(dst []byte) ([]byte, error) {
	if err := m.check(); err != nil {
		return dst, err
	}
	var rest bytes.Buffer // all that follows the message-length
	switch m.Kind {
	case Request:
		fmt.Fprintf(&rest, " %s %d\r\n", m.Name, m.RequestID)
	case Response:
		fmt.Fprintf(&rest, " %d %d %s\r\n", m.RequestID, m.Status, m.State)
	case Event:
		fmt.Fprintf(&rest, " %s %d %s\r\n", m.Name, m.RequestID, m.State)
	}
	for _, f := range m.Header {
		if !strings.EqualFold(f.Name, ContentLength) {
			fmt.Fprintf(&rest, "%s: %s\r\n", f.Name, f.Value)
		}
	}
	if len(m.Body) > 0 {
		fmt.Fprintf(&rest, "%s: %d\r\n", ContentLength, len(m.Body))
	}
	rest.WriteString("\r\n")
	rest.Write(m.Body)
	dst = append(dst, version+" "...)
	dst = strconv.AppendInt(dst, int64(messageLength(len(version)+1+rest.Len())), 10)
	return append(dst, rest.Bytes()...), nil
}

// messageLength is the length of a message that is n bytes without its own length's digits (RFC 6787 5.1).
func messageLength(n int) int {
	digits := 1
	for len(strconv.Itoa(n+digits)) > digits {
		digits++
	}
	return n + digits
}

func (m *Message) check() error {
	if m.Kind != Response && !isToken(m.Name) {
		return fmt.Errorf("%s name %q is not a token", m.Kind, m.Name)
	}
	if m.Kind == Response && (m.Status < 200 || m.Status > 599) {
		return fmt.Errorf("status %d is not 200 to 599", m.Status)
	}
	if m.Kind != Request && !m.State.valid() {
		return fmt.Errorf("request-state %q is none", m.State)
	}
	for _, f := range m.Header {
		if !isToken(f.Name) || f.Value != strings.Trim(f.Value, " \t") || strings.ContainsAny(f.Value, "\r\n\x00") {
			return fmt.Errorf("header field %q: %q cannot be written", f.Name, f.Value)
		}
	}
	return nil
}

func (s State) valid() bool { return s == Pending || s == InProgress || s == Complete }

// isToken is RFC 3261's token, which RFC 6787 15 takes over for names.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("-.!%*_+`'~", c) >= 0 {
			continue
		}
		return false
	}
	return s != ""
}

// Errors of Parse and Reader.
var (
	// ErrSyntax: what stands there is no MRCPv2 message, and no message can be found behind it.
	ErrSyntax = errors.New("not an MRCPv2 message")
	// ErrTooLong: the message is longer than MaxLength.
	ErrTooLong = errors.New("MRCPv2 message too long")
	// ErrShort: the message goes on beyond what is there.
	ErrShort = errors.New("incomplete MRCPv2 message")
)

// MaxLength is the longest message that is read, in bytes: a result or a grammar is a few kilobytes.
const MaxLength = 1 << 20

// maxStart is how long the start of a message may be, up to and with its length.
const maxStart = len(version) + 1 + 10 + 1

// Length is how long the message is that b begins with; ErrShort when b is too short to tell.
func Length(b []byte) (int, error) {
	head := b[:min(len(b), maxStart)]
	n := min(len(head), len(version)+1)
	if string(head[:n]) != (version + " ")[:n] {
		return 0, ErrSyntax
	}
	end := bytes.IndexByte(head[n:], ' ')
	if end < 0 {
		if len(head) == maxStart {
			return 0, ErrSyntax
		}
		return 0, ErrShort
	}
	length, err := strconv.ParseUint(string(head[n:n+end]), 10, 32)
	if err != nil {
		return 0, ErrSyntax
	}
	if length > MaxLength {
		return 0, ErrTooLong
	}
	if length <= uint64(n+end) {
		return 0, ErrSyntax
	}
	return int(length), nil
}

// Parse reads the message that b begins with, and how many bytes it took. The message does not refer to b afterwards. A
// line may end in LF alone, and Content-Length need not be there: message-length settles the body.
func Parse(b []byte) (*Message, int, error) {
	n, err := Length(b)
	if err != nil {
		return nil, 0, err
	}
	if len(b) < n {
		return nil, 0, ErrShort
	}
	m, err := parse(b[:n])
	return m, n, err
}

func parse(b []byte) (*Message, error) {
	line, rest, ok := cutLine(b)
	if !ok {
		return nil, fmt.Errorf("%w: no end of the start line", ErrSyntax)
	}
	m := &Message{}
	if err := m.start(strings.Fields(line)); err != nil {
		return nil, err
	}
	for {
		if line, rest, ok = cutLine(rest); !ok {
			return nil, fmt.Errorf("%w: no end of the header", ErrSyntax)
		}
		if line == "" {
			break
		}
		if folded := line[0] == ' ' || line[0] == '\t'; folded && len(m.Header) > 0 { // RFC 6787 5.1, after RFC 5322
			last := &m.Header[len(m.Header)-1]
			last.Value = strings.Trim(last.Value+" "+strings.Trim(line, " \t"), " ")
			continue
		}
		name, value, colon := strings.Cut(line, ":")
		name = strings.TrimRight(name, " \t")
		if !colon || !isToken(name) {
			return nil, fmt.Errorf("%w: header line %.40q", ErrSyntax, line)
		}
		m.Header.Add(name, strings.Trim(value, " \t"))
	}
	return m, m.takeBody(rest)
}

// takeBody checks what stands behind the header against Content-Length.
func (m *Message) takeBody(rest []byte) error {
	if text := m.Header.Get(ContentLength); text != "" {
		n, err := strconv.ParseUint(text, 10, 31)
		if err != nil || int(n) > len(rest) {
			return fmt.Errorf("%w: Content-Length %.20q of %d bytes", ErrSyntax, text, len(rest))
		}
		rest = rest[:n]
	}
	if len(rest) > 0 {
		m.Body = bytes.Clone(rest)
	}
	return nil
}

// start reads the start line: version, length, and two words of a request or three of a response or an event.
func (m *Message) start(words []string) error {
	bad := func(what string) error { return fmt.Errorf("%w: %s in the start line", ErrSyntax, what) }
	if len(words) < 4 || len(words) > 5 {
		return bad("not four or five words")
	}
	id := words[3]
	if len(words) == 5 {
		if m.State = State(words[4]); !m.State.valid() {
			return bad("no request-state")
		}
		m.Kind = Event
		if isNumber(words[2]) {
			status, err := strconv.ParseUint(words[3], 10, 16)
			if err != nil || status < 200 || status > 599 {
				return bad("no status code")
			}
			m.Kind, m.Status, id = Response, int(status), words[2]
		}
	}
	if m.Kind != Response {
		if m.Name = words[2]; !isToken(m.Name) {
			return bad("no method or event")
		}
	}
	n, err := strconv.ParseUint(id, 10, 32)
	if err != nil || n > math.MaxUint32 {
		return bad("no request-id")
	}
	m.RequestID = uint32(n)
	return nil
}

func isNumber(s string) bool { return strings.Trim(s, "0123456789") == "" }

// cutLine takes a line off the front, without its CRLF or LF, which must be there; bare CR stays.
func cutLine(b []byte) (line string, rest []byte, ok bool) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return "", nil, false
	}
	return string(bytes.TrimSuffix(b[:i], []byte("\r"))), b[i+1:], true
}
