package message

import (
	"bytes"
	"errors"
)

// The errors of Scan. ErrNotSIP and ErrNoVia leave nothing to answer, and what ErrBareCR and ErrNUL found should not be
// repeated in an answer; all others leave enough in the Message to answer a request: Reply copies whatever is there.
var (
	ErrNotSIP        = errors.New("not a SIP message")
	ErrVersion       = errors.New("SIP version is not 2.0")
	ErrRequestLine   = errors.New("malformed request line")
	ErrStatus        = errors.New("malformed status line")
	ErrNoVia         = errors.New("no valid Via")
	ErrVia           = errors.New("malformed Via parameters")
	ErrHeader        = errors.New("malformed header field")
	ErrUnterminated  = errors.New("header section does not end")
	ErrBareCR        = errors.New("CR without LF in the header section")
	ErrNUL           = errors.New("NUL outside of a quoted string")
	ErrMissing       = errors.New("mandatory header field missing")
	ErrDuplicate     = errors.New("header field given more than once")
	ErrCSeq          = errors.New("malformed CSeq")
	ErrMethod        = errors.New("CSeq of another method") // the method being one that is Other
	ErrMaxForwards   = errors.New("malformed Max-Forwards")
	ErrContentLength = errors.New("Content-Length does not fit the message")
	ErrAddress       = errors.New("malformed address")
)

// fieldError is an error of a header field that has to be there, as its sender is told (RFC 3261 21.4.1).
type fieldError struct {
	what error
	name string
}

func (e *fieldError) Error() string { return e.what.Error() + ": " + e.name }
func (e *fieldError) Unwrap() error { return e.what }

// Scan reads b, which the Message keeps, and reports the first thing that makes it unfit for a proxy (RFC 3261 16.3).
// It does not allocate. On an error the fields found so far are set: the scan goes on to the end where it can, so that
// an answer can be made.
func (m *Message) Scan(b []byte) error {
	*m = Message{Raw: b, Hops: -1, ContentLength: -1, End: len(b)}
	err := m.startLine()
	if m.Headers == 0 {
		return err
	}
	end, crlf, e := m.fields()
	if c := m.control(b[:end], crlf); c != nil {
		return c
	}
	if err = first(err, e); m.Body == 0 {
		return first(err, ErrUnterminated)
	}
	return first(err, m.check())
}

// fields files the header fields. It gives the end of the last whole line, how many lines up to there end in CRLF, the
// request or status line among them, and the first error. Body stays 0 when there is no empty line.
func (m *Message) fields() (p, crlf int, err error) {
	b := m.Raw
	if p = m.Headers; b[p-2] == '\r' {
		crlf++
	}
	for p < len(b) {
		n := bytes.IndexByte(b[p:], '\n')
		if n < 0 {
			return p, crlf, err
		}
		end := p + n + 1
		if n == 0 || n == 1 && b[p] == '\r' {
			m.Body = end
			return end, crlf + n, err // n is 1 with the CR
		}
		if b[end-2] == '\r' {
			crlf++
		}
		for end < len(b) && (b[end] == ' ' || b[end] == '\t') { // folded (RFC 3261 7.3.1)
			k := bytes.IndexByte(b[end:], '\n')
			if k < 0 {
				return end, crlf, err
			}
			if end += k + 1; b[end-2] == '\r' {
				crlf++
			}
		}
		if e := m.header(p, end); e != nil && err == nil {
			err = e
		}
		p = end
	}
	return p, crlf, err
}

func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// check holds the whole against what a proxy may not let pass.
func (m *Message) check() error {
	if m.Via.Value.Empty() {
		return ErrNoVia
	}
	for _, h := range [...]struct {
		line *Line
		name string
	}{{&m.From, "From"}, {&m.To, "To"}, {&m.CallID, "Call-ID"}, {&m.CSeq, "CSeq"}} {
		if h.line.Value.Empty() {
			return &fieldError{ErrMissing, h.name}
		}
	}
	if m.Request && !bytes.Equal(m.Bytes(m.CSeqMethod), m.Bytes(m.MethodText)) {
		if m.Method == Other {
			return ErrMethod
		}
		return ErrCSeq
	}
	if m.ContentLength >= 0 {
		if m.Body+m.ContentLength > len(m.Raw) {
			return ErrContentLength
		}
		m.End = m.Body + m.ContentLength
	}
	return nil
}

// header files one header field, b[p:end] with its line end.
func (m *Message) header(p, end int) error {
	b := m.Raw[p:end]
	c := bytes.IndexByte(b, ':')
	if c <= 0 || b[0] == ' ' || b[0] == '\t' { // no name, or a fold with nothing above it to continue
		return ErrHeader
	}
	nameEnd := c
	for nameEnd > 0 && (b[nameEnd-1] == ' ' || b[nameEnd-1] == '\t') { // HCOLON = *( SP / HTAB ) ":"
		nameEnd--
	}
	name := b[:nameEnd]
	l := Line{All: Span{p, end}, Value: trim(m.Raw, p+c+1, end)}
	switch len(name) {
	case 1:
		switch name[0] | 0x20 {
		case 'v':
			return m.via(l)
		case 'f':
			return m.address(&m.From, &m.FromTag, "From", l)
		case 't':
			return m.address(&m.To, &m.ToTag, "To", l)
		case 'i':
			return once(&m.CallID, "Call-ID", l)
		case 'l':
			return m.length(l)
		case 'm':
			keepFirst(&m.Contact, l)
		case 'c':
			keepFirst(&m.ContentType, l)
		case 'x':
			keepFirst(&m.SessionExpires, l)
		}
	case 2:
		if equalFold(name, "to") {
			return m.address(&m.To, &m.ToTag, "To", l)
		}
	case 3:
		if equalFold(name, "via") {
			return m.via(l)
		}
	case 4:
		if equalFold(name, "from") {
			return m.address(&m.From, &m.FromTag, "From", l)
		}
		if equalFold(name, "cseq") {
			return m.cseq(l)
		}
	case 5:
		if equalFold(name, "route") {
			if m.nroutes == maxRouteLines {
				break // only the first are ever ours
			}
			m.routes[m.nroutes] = l
			m.nroutes++
		}
	case 7:
		if equalFold(name, "call-id") {
			return once(&m.CallID, "Call-ID", l)
		}
		if equalFold(name, "contact") {
			keepFirst(&m.Contact, l)
		}
	case 10:
		if equalFold(name, "user-agent") {
			keepFirst(&m.UserAgent, l)
		}
	case 12:
		if equalFold(name, "max-forwards") {
			return m.hops(l)
		}
		if equalFold(name, "record-route") {
			keepFirst(&m.RecordRoute, l)
		}
		if equalFold(name, "content-type") {
			keepFirst(&m.ContentType, l)
		}
	case 13:
		if equalFold(name, "proxy-require") {
			keepFirst(&m.ProxyRequire, l)
		}
	case 14:
		if equalFold(name, "content-length") {
			return m.length(l)
		}
	case 15:
		if equalFold(name, "session-expires") {
			keepFirst(&m.SessionExpires, l)
		}
	}
	return nil
}

func keepFirst(dst *Line, l Line) {
	if dst.All.Empty() {
		*dst = l
	}
}

func once(dst *Line, name string, l Line) error {
	if !dst.All.Empty() {
		return &fieldError{ErrDuplicate, name}
	}
	*dst = l
	return nil
}

func (m *Message) address(dst *Line, tag *Span, name string, l Line) error {
	if err := once(dst, name, l); err != nil {
		return err
	}
	t, ok := addressTag(m.Raw, l.Value)
	if !ok {
		return &fieldError{ErrAddress, name}
	}
	*tag = t
	return nil
}

func (m *Message) cseq(l Line) error {
	if err := once(&m.CSeq, "CSeq", l); err != nil {
		return err
	}
	v := m.Bytes(l.Value)
	var n uint64
	i := 0
	for i < len(v) && v[i] >= '0' && v[i] <= '9' {
		n = n*10 + uint64(v[i]-'0')
		if n > 1<<32-1 {
			return ErrCSeq
		}
		i++
	}
	if i == 0 || i == len(v) || !isSpace(v[i]) {
		return ErrCSeq
	}
	m.CSeqNumber = uint32(n)
	m.CSeqMethod = trim(m.Raw, l.Value.Off+i, l.Value.End)
	if !isToken(m.Bytes(m.CSeqMethod)) {
		return ErrCSeq
	}
	return nil
}

func (m *Message) hops(l Line) error {
	if err := once(&m.MaxForwards, "Max-Forwards", l); err != nil {
		return err
	}
	n, ok := number(m.Bytes(l.Value), 255)
	if !ok {
		return ErrMaxForwards
	}
	m.Hops = n
	return nil
}

func (m *Message) length(l Line) error {
	n, ok := number(m.Bytes(l.Value), 1<<20)
	if !ok || m.ContentLength >= 0 && m.ContentLength != n {
		return ErrContentLength
	}
	m.ContentLength = n
	return nil
}
