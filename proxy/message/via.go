package message

import "bytes"

// via files a Via field; the first is parsed (RFC 3261 20.42: sent-protocol LWS sent-by *( SEMI via-params )).
func (m *Message) via(l Line) error {
	m.ViaFields++
	if m.ViaFields > 1 {
		return nil
	}
	var v Via
	if !parseVia(m.Raw, l.Value.Off, l.Value.End, &v) {
		return ErrNoVia
	}
	v.Line = l
	m.Via = v
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

func (v *Via) params(b []byte, p, end int) bool {
	var ok bool
	if v.Branch, _, ok = param(b, p, end, "branch"); !ok {
		return false
	}
	if _, v.Received, ok = param(b, p, end, "received"); !ok {
		return false
	}
	val, whole, ok := param(b, p, end, "rport")
	v.RPort, v.RPortSet = whole, !whole.Empty() && val.Empty()
	return ok
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
