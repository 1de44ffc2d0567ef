package message

import (
	"bytes"
	"net/netip"
	"strconv"
)

// Edit says how a forwarded request differs from the one received (RFC 3261 16.6). All else goes through byte for byte.
type Edit struct {
	URI       []byte     // the new Request-URI; nil keeps it
	Insert    []byte     // whole header lines put in front of all others: Record-Route and our Via
	PopRoutes int        // how many Route values are taken off the top
	Hops      int        // the new Max-Forwards
	Source    netip.Addr // where the request came from, to be noted in the topmost Via; invalid: left alone
	Port      uint16     // the source port, for rport
}

// cut replaces Raw[at.Off:at.End] with text.
type cut struct {
	at   Span
	text []byte
}

const maxCuts = 12

// AppendRequest appends the request as edited by e to dst.
func (m *Message) AppendRequest(dst []byte, e *Edit) []byte {
	var cuts [maxCuts]cut
	var num [64]byte
	n := 0
	add := func(at Span, text []byte) {
		if n == maxCuts {
			return
		}
		i := n
		for i > 0 && cuts[i-1].at.Off > at.Off { // fields stand in any order
			cuts[i] = cuts[i-1]
			i--
		}
		cuts[i] = cut{at, text}
		n++
	}
	if e.URI != nil {
		add(m.URI, e.URI)
	}
	add(Span{m.Headers, m.Headers}, e.Insert)
	text := num[:0]
	if m.MaxForwards.All.Empty() {
		text = append(text, "Max-Forwards: "...)
		text = strconv.AppendInt(text, int64(e.Hops), 10)
		text = append(text, "\r\n"...)
		at := m.Via.Line.All.End
		add(Span{at, at}, text)
	} else {
		text = strconv.AppendInt(text, int64(e.Hops), 10)
		add(m.MaxForwards.Value, text)
	}
	if m.ContentLength < 0 {
		var lb [40]byte
		add(Span{m.Headers, m.Headers}, m.appendLength(lb[:0]))
	}
	var vb [80]byte
	if e.Source.IsValid() {
		at, text := m.viaSource(vb[:0], e.Source, e.Port)
		for _, s := range at {
			if !s.Empty() {
				add(s, nil)
			}
		}
		if len(text) > 0 {
			p := m.Via.Value.End
			add(Span{p, p}, text)
		}
	}
	m.popRoutes(e.PopRoutes, add)
	p := 0
	for _, c := range cuts[:n] {
		dst = append(dst, m.Raw[p:c.at.Off]...)
		dst = append(dst, c.text...)
		p = c.at.End
	}
	return append(dst, m.Raw[p:m.End]...)
}

// viaSource is what the topmost Via of a request must say of its source (RFC 3261 18.2.1, RFC 3581 4): the spans to take
// out and the parameters to append.
func (m *Message) viaSource(buf []byte, src netip.Addr, port uint16) (out [2]Span, text []byte) {
	v := &m.Via
	src = src.WithZone("") // a zone means nothing to the peer, and the grammar has none
	text = buf
	if v.RPortSet {
		out[0] = v.RPort
		text = append(text, ";rport="...)
		text = strconv.AppendUint(text, uint64(port), 10)
	}
	if v.RPortSet || !v.Received.Empty() || !m.sentBy(src) {
		out[1] = v.Received
		text = append(text, ";received="...)
		text = src.AppendTo(text)
	}
	return out, text
}

// sentBy reports whether the topmost Via's host is the address a.
func (m *Message) sentBy(a netip.Addr) bool {
	h, ok := ParseHost(m.Bytes(m.Via.Host))
	return ok && h == a
}

// ParseHost is the address that a host part is, where it is one: IPv4, or IPv6 with or without its brackets.
func ParseHost(b []byte) (netip.Addr, bool) {
	if len(b) > 2 && b[0] == '[' && b[len(b)-1] == ']' {
		b = b[1 : len(b)-1]
	}
	if len(b) == 0 || len(b) > 45 {
		return netip.Addr{}, false
	}
	if a, ok := parseIPv4(b); ok {
		return a, true
	}
	if bytes.IndexByte(b, ':') < 0 { // a name: not worth the allocation of an error
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(string(b))
	return a.Unmap(), err == nil
}

// parseIPv4 reads a dotted quad without the string that netip.ParseAddr wants.
func parseIPv4(b []byte) (netip.Addr, bool) {
	var a [4]byte
	part, n, digits := 0, 0, 0
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			n = n*10 + int(c-'0')
			if digits++; digits > 3 || n > 255 {
				return netip.Addr{}, false
			}
		case c == '.' && digits > 0 && part < 3:
			a[part] = byte(n)
			part++
			n, digits = 0, 0
		default:
			return netip.Addr{}, false
		}
	}
	if part != 3 || digits == 0 {
		return netip.Addr{}, false
	}
	a[3] = byte(n)
	return netip.AddrFrom4(a), true
}

// popRoutes takes the topmost k Route values off, and whole fields where no value is left.
func (m *Message) popRoutes(k int, add func(Span, []byte)) {
	for i := 0; i < m.nroutes && k > 0; i++ {
		l := m.routes[i]
		p := l.Value.Off
		for p < l.Value.End {
			e := valueEnd(m.Raw, p, l.Value.End)
			if e < 0 {
				return
			}
			if !trim(m.Raw, p, e).Empty() {
				if k == 0 {
					break
				}
				k--
			}
			p = min(e+1, l.Value.End)
		}
		if rest := trim(m.Raw, p, l.Value.End); rest.Empty() {
			add(l.All, nil)
		} else {
			add(Span{l.Value.Off, rest.Off}, nil)
		}
	}
}

// AppendResponse appends the response without its topmost Via value (RFC 3261 16.7 step 3) to dst.
func (m *Message) AppendResponse(dst []byte) []byte {
	line := m.Via.Line.All
	if m.Via.Next == 0 {
		dst = append(dst, m.Raw[:line.Off]...)
	} else {
		dst = append(dst, m.Raw[:m.Via.Value.Off]...)
		dst = append(dst, m.Raw[m.Via.Next:line.End]...)
	}
	if m.ContentLength < 0 {
		dst = m.appendLength(dst)
	}
	return append(dst, m.Raw[line.End:m.End]...)
}

// appendLength appends the Content-Length line that a datagram may lack and a stream needs (RFC 3261 16.6 step 9, 18.3).
func (m *Message) appendLength(dst []byte) []byte {
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, int64(m.End-m.Body), 10)
	return append(dst, "\r\n"...)
}

// AppendTo appends a copy of the message without what does not belong to it.
func (m *Message) AppendTo(dst []byte) []byte { return append(dst, m.Raw[:m.End]...) }
