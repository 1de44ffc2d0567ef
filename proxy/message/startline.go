package message

import "bytes"

func (m *Message) startLine() error {
	b := m.Raw
	n := bytes.IndexByte(b, '\n')
	if n < 11 {
		return ErrNotSIP
	}
	end := n
	if b[end-1] == '\r' {
		end--
	}
	line := b[:end]
	if hasPrefixFold(line, "sip/") {
		return m.statusLine(line, n+1)
	}
	i := bytes.IndexByte(line, ' ')
	j := bytes.LastIndexByte(line, ' ')
	var err error
	if i > 0 && !hasPrefixFold(line[j+1:], "sip/") { // RFC 3261 7.1: no white space behind the version
		line = bytes.TrimRight(line, " \t")
		j = bytes.LastIndexByte(line, ' ')
		err = ErrRequestLine
	}
	if i <= 0 || !hasPrefixFold(line[j+1:], "sip/") || !isToken(line[:i]) {
		return ErrNotSIP
	}
	m.Request = true
	m.MethodText = Span{0, i}
	m.Method = methodOf(line[:i])
	m.Headers = n + 1
	m.URI = Span{min(i+1, j), j}
	switch {
	case !equalFold(line[j+1:], "sip/2.0"):
		return ErrVersion
	case !requestURI(m.Bytes(m.URI)):
		return ErrRequestLine
	}
	return err
}

func (m *Message) statusLine(line []byte, headers int) error {
	if len(line) < 11 || !hasPrefixFold(line, "sip/2.0 ") {
		return ErrStatus
	}
	code := 0
	for _, c := range line[8:11] {
		if c < '0' || c > '9' {
			return ErrStatus
		}
		code = code*10 + int(c-'0')
	}
	if code < 100 || code > 699 || len(line) > 11 && line[11] != ' ' {
		return ErrStatus
	}
	m.Status = code
	m.Reason = Span{min(12, len(line)), len(line)}
	m.Headers = headers
	return nil
}

// requestURI reports whether b can be a Request-URI, of any scheme: without white space, control characters, quotes or
// angle brackets, and without headers if it is a sip or sips URI (RFC 3261 19.1.1).
func requestURI(b []byte) bool {
	scheme := bytes.IndexByte(b, ':')
	if scheme < 1 {
		return false
	}
	for i, c := range b[:scheme] {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (i == 0 || c != '+' && c != '-' && c != '.' && (c < '0' || c > '9')) {
			return false
		}
	}
	host := 0
	for i, c := range b {
		if c <= ' ' || c == '"' || c == '<' || c == '>' || c == 0x7f {
			return false
		}
		if c == '@' {
			host = i // what came before was the user part, which may have a "?"
		}
	}
	return bytes.IndexByte(b[host:], '?') < 0 || !hasPrefixFold(b, "sip:") && !hasPrefixFold(b, "sips:")
}
