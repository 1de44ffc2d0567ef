package message

import "bytes"

// via files a Via field; the first is parsed (RFC 3261 20.42: sent-protocol LWS sent-by *( SEMI via-params )). One with
// bad parameters is kept: its sent-by serves for an answer.
func (m *Message) via(l Line) error {
	m.ViaFields++
	if m.ViaFields > 1 {
		return nil
	}
	v := Via{Line: l}
	ok := parseVia(m.Raw, l.Value.Off, l.Value.End, &v)
	if v.Host.Empty() {
		return ErrNoVia
	}
	m.Via = v
	if !ok {
		return ErrVia
	}
	return nil
}

// parseVia reads the value that starts at p in a field that ends at end.
func parseVia(b []byte, p, end int, v *Via) bool {
	stop := valueEnd(b, p, end)
	if stop < 0 {
		return false
	}
	v.Value = trim(b, p, stop)
	if stop < end {
		if v.Next = trim(b, stop+1, end).Off; v.Next >= end {
			v.Next = 0
		}
	}
	p, end = v.Value.Off, v.Value.End
	if !hasPrefixFold(b[p:end], "sip") { // protocol-name SLASH protocol-version SLASH transport
		return false
	}
	for slashes := 0; slashes < 2; p++ {
		if p >= end {
			return false
		}
		if b[p] == '/' {
			slashes++
		}
	}
	for p < end && isSpace(b[p]) {
		p++
	}
	s := p
	for p < end && tokenChar(b[p]) {
		p++
	}
	v.Transport = Span{s, p}
	if v.Transport.Empty() || p >= end || !isSpace(b[p]) {
		return false
	}
	for p < end && isSpace(b[p]) {
		p++
	}
	if p = v.sentBy(b, p, end); p < 0 {
		v.Host = Span{}
		return false
	}
	return v.params(b, p, end)
}

// sentBy reads host [ COLON port ] and gives the offset behind it, or -1.
func (v *Via) sentBy(b []byte, p, end int) int {
	s := p
	if p < end && b[p] == '[' {
		k := bytes.IndexByte(b[p:end], ']')
		if k < 0 {
			return -1
		}
		p += k + 1
	} else {
		for p < end && (tokenChar(b[p])) {
			p++
		}
	}
	v.Host = Span{s, p}
	if v.Host.Empty() {
		return -1
	}
	q := p
	for q < end && isSpace(b[q]) {
		q++
	}
	if q < end && b[q] == ':' {
		q++
		for q < end && isSpace(b[q]) {
			q++
		}
		s = q
		for q < end && b[q] >= '0' && b[q] <= '9' {
			q++
		}
		n, ok := number(b[s:q], 65535)
		if !ok || n == 0 {
			return -1
		}
		v.Port = n
		p = q
	}
	if p < end && b[p] != ';' && !isSpace(b[p]) {
		return -1
	}
	return p
}

// params reads *( SEMI via-params ). Unlike in other fields every parameter must be one, for all proxies on the way back
// read this field (RFC 4475 3.1.2.1).
func (v *Via) params(b []byte, p, end int) bool {
	for {
		for p < end && isSpace(b[p]) {
			p++
		}
		if p == end {
			return true
		}
		if b[p] != ';' {
			return false
		}
		name, value, next := oneParam(b, p+1, end)
		if name.Empty() || next < 0 {
			return false
		}
		whole := Span{p, max(name.End, value.End)}
		p = next
		switch n := b[name.Off:name.End]; {
		case equalFold(n, "branch") && v.Branch == (Span{}):
			v.Branch = value
		case equalFold(n, "received") && v.Received.Empty():
			v.Received = whole
		case equalFold(n, "rport") && v.RPort.Empty():
			v.RPort, v.RPortSet = whole, value.Empty()
		}
	}
}

// EachVia calls f with every Via value below the topmost, in order, until f returns false. It reports false when a value
// cannot be read.
func (m *Message) EachVia(f func(*Via) bool) bool {
	if m.ViaFields <= 1 && m.Via.Next == 0 {
		return true
	}
	var v Via
	for next := m.Via.Next; next != 0; next = v.Next {
		v = Via{}
		if !parseVia(m.Raw, next, m.Via.Line.Value.End, &v) {
			return false
		}
		if !f(&v) {
			return true
		}
	}
	ok := true
	m.eachField("via", 'v', func(l Line) bool {
		if l.All == m.Via.Line.All {
			return true
		}
		for next := l.Value.Off; next != 0; next = v.Next {
			v = Via{}
			if !parseVia(m.Raw, next, l.Value.End, &v) {
				ok = false
				return false
			}
			if !f(&v) {
				return false
			}
		}
		return true
	})
	return ok
}
