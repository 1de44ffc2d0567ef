package transport

import "bytes"

// Sizes of a stream's read buffer in bytes: what it starts with, and the most
// it keeps while it holds nothing.
const (
	minBuffer  = 4 << 10
	keepBuffer = 16 << 10
)

// An event is what the framer found next in a stream.
type event uint8

const (
	evNone    event = iota // more bytes are needed
	evMessage              // a whole message
	evPing                 // a keepalive that wants an answer (RFC 5626 section 4.4.1)
	evBroken               // the framing is lost; nothing more comes
)

const noStartLine = "no SIP start line"

// A framer cuts a byte stream into SIP messages by their Content-Length (RFC
// 3261 section 18.3). It is pure: bytes are put into what space returns,
// counted by advance, and taken out as events of next. Each byte is looked at
// once, however small the pieces are that it comes in; no more than
// maxHeader+maxBody bytes are ever held (and never less than minBuffer).
//
// The header section ends at an empty line; a bare LF ends a line too. No
// Content-Length means no body: most stacks leave it out of a message without
// one. Line ends between messages are skipped.
type framer struct {
	maxHeader int
	maxBody   int

	buf  []byte
	r, w int // buf[r:w] is not yet handed out
	size int // the buffer size to have next time it is empty

	// more is asked before the buffer becomes n bytes larger, -n smaller, and
	// may refuse that it grows; nil: it may.
	more func(n int) bool

	// Of the message that begins at r; offsets are from there.
	scan  int // line ends are found up to here
	line  int // where the line that holds scan begins
	head  int // length of the header section, 0 while its end is not seen
	body  int // Content-Length, -1 while not seen
	blank int // CRLFs seen in a row before it

	reason string // why the framing is lost
}

func newFramer(maxHeader, maxBody int) *framer {
	return &framer{maxHeader: maxHeader, maxBody: maxBody, body: -1, size: minBuffer}
}

// partial says whether a message has begun and not ended.
func (f *framer) partial() bool { return f.w > f.r }

// space returns where to read into; it is empty only when the buffer is full and
// may not grow. Slices that next returned are invalid from here on.
func (f *framer) space() []byte {
	if f.r == f.w {
		f.r, f.w = 0, 0
		if len(f.buf) > keepBuffer || len(f.buf) < f.size {
			f.resize(f.size)
		}
		return f.buf
	}
	if len(f.buf)-f.w >= len(f.buf)/4 {
		return f.buf[f.w:]
	}
	if f.r > 0 {
		f.w = copy(f.buf, f.buf[f.r:f.w])
		f.r = 0
	}
	limit := max(f.maxHeader+f.maxBody, minBuffer)
	switch {
	case f.head > 0: // the size is known
		if f.head+f.body > len(f.buf) {
			f.resize(f.head + f.body)
		}
	case len(f.buf)-f.w < len(f.buf)/4 && len(f.buf) < limit:
		f.resize(min(2*len(f.buf), limit))
	}
	return f.buf[f.w:]
}

// resize makes the buffer as large as said, if that is allowed.
func (f *framer) resize(size int) {
	if f.more != nil && !f.more(size-len(f.buf)) {
		return
	}
	buf := make([]byte, size)
	f.w = copy(buf, f.buf[f.r:f.w])
	f.r = 0
	f.buf = buf
}

// advance says that n bytes were put into what space returned.
func (f *framer) advance(n int) {
	f.w += n
	if f.w == len(f.buf) { // there may be more waiting: larger reads cost less
		f.size = min(2*len(f.buf), keepBuffer)
	}
}

// put puts bytes of an incomplete message in as if they had been read; false:
// there is no memory for them.
func (f *framer) put(b []byte) bool {
	for len(b) > 0 {
		n := copy(f.space(), b)
		if n == 0 {
			return false
		}
		f.advance(n)
		b = b[n:]
		f.next() // finds the message's size, and nothing else
	}
	return true
}

// next returns what comes next, and for evMessage its bytes.
func (f *framer) next() (event, []byte) {
	if f.reason != "" {
		return evBroken, nil
	}
	if f.head == 0 {
		if f.scan == 0 {
			if ev, begun := f.between(); !begun {
				return ev, nil
			}
			// No need to wait for a line end to know a TLS handshake, or noise.
			if c := f.buf[f.r]; c <= ' ' || c >= 0x7f {
				f.reason = noStartLine
				return evBroken, nil
			}
		}
		if f.reason = f.scanHead(); f.reason != "" {
			return evBroken, nil
		}
		if f.head == 0 {
			return evNone, nil
		}
	}
	end := f.r + f.head + f.body
	if f.w < end {
		return evNone, nil
	}
	msg := f.buf[f.r:end:end]
	f.r = end
	f.scan, f.line, f.head, f.body, f.blank = 0, 0, 0, -1, 0
	return evMessage, msg
}

// between skips the line ends before a message; begun says that a message has
// begun. Two CRLFs in a row are a ping, one alone is a pong.
func (f *framer) between() (ev event, begun bool) {
	for f.r < f.w {
		switch {
		case f.buf[f.r] == '\n':
			f.r++
			f.blank = 0
		case f.buf[f.r] != '\r':
			return evNone, true
		case f.r+1 == f.w:
			return evNone, false
		case f.buf[f.r+1] != '\n':
			return evNone, true
		default:
			f.r += 2
			if f.blank++; f.blank == 2 {
				f.blank = 0
				return evPing, false
			}
		}
	}
	return evNone, false
}

// scanHead goes on looking for the end of the header section, and reads the
// lines on the way. It returns why the framing is lost, or "".
func (f *framer) scanHead() string {
	b := f.buf[f.r:f.w]
	for f.head == 0 {
		i := bytes.IndexByte(b[f.scan:], '\n')
		if i < 0 {
			f.scan = len(b)
			break
		}
		lf := f.scan + i
		if lf+1 >= f.maxHeader {
			return "header section too large"
		}
		end, known := lineEnd(b[lf+1:])
		if !known {
			f.scan = lf
			break
		}
		f.scan = lf + 1
		if end < 0 {
			continue // folded
		}
		if reason := f.take(b[f.line:lf]); reason != "" {
			return reason
		}
		f.line = f.scan
		if end > 0 {
			f.head = lf + 1 + end
			f.body = max(f.body, 0)
		}
	}
	if f.head > f.maxHeader || f.head == 0 && len(b) >= f.maxHeader {
		return "header section too large"
	}
	return ""
}

// lineEnd looks at what follows a line: -1 when the line goes on (RFC 3261
// section 7.3.1, folding), 0 when another begins, else the length of the empty
// line that ends the header section. known is false when more bytes are needed
// to tell.
func lineEnd(b []byte) (end int, known bool) {
	switch {
	case len(b) == 0:
		return 0, false
	case b[0] == ' ' || b[0] == '\t':
		return -1, true
	case b[0] == '\n':
		return 1, true
	case b[0] != '\r':
		return 0, true
	case len(b) == 1:
		return 0, false
	case b[1] == '\n':
		return 2, true
	}
	return 0, true
}

// take reads one whole line, folded lines joined.
func (f *framer) take(line []byte) string {
	if f.line == 0 {
		// After a Content-Length that was too small, the rest of a body comes
		// to stand here.
		if !isStartLine(line) {
			return noStartLine
		}
		return ""
	}
	value, ok := contentLength(line)
	if !ok {
		return ""
	}
	n := 0
	if len(value) == 0 {
		return "Content-Length is empty"
	}
	for _, c := range value {
		if c < '0' || c > '9' {
			return "Content-Length is not a number"
		}
		if n = 10*n + int(c-'0'); n > f.maxBody {
			return "Content-Length too large"
		}
	}
	if f.body >= 0 && f.body != n {
		return "Content-Length given twice, differently"
	}
	f.body = n
	return ""
}

// isStartLine says whether a line may be a message's first one: SIP/2.0 begins
// a response and ends a request, and another version is not for us to judge.
func isStartLine(line []byte) bool {
	for rest := line; ; {
		i := bytes.IndexByte(rest, '/')
		if i < 0 {
			return false
		}
		at := len(line) - len(rest) + i - len("SIP")
		if at >= 0 && bytes.EqualFold(line[at:at+len("SIP")], []byte("SIP")) &&
			(at == 0 || line[at-1] == ' ' || line[at-1] == '\t') {
			return true
		}
		rest = rest[i+1:]
	}
}

// contentLength returns the value of a line that is a Content-Length header
// field, "l" in compact form (RFC 3261 section 20.14).
func contentLength(line []byte) (value []byte, ok bool) {
	if len(line) == 0 || line[0]|0x20 != 'c' && line[0]|0x20 != 'l' {
		return nil, false
	}
	name, value, ok := bytes.Cut(line, []byte{':'})
	if !ok {
		return nil, false
	}
	name = bytes.TrimRight(name, " \t")
	if len(name) != 1 && !bytes.EqualFold(name, []byte("Content-Length")) ||
		len(name) == 1 && name[0]|0x20 != 'l' {
		return nil, false
	}
	return bytes.Trim(value, " \t\r\n"), true
}
