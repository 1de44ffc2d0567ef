package message

// IsStrict reports whether a Route value is a strict router's: a sip or sips URI without the lr parameter (RFC 3261
// 19.1.1).
func (m *Message) IsStrict(route Span) bool { return isStrict(m.Bytes(AddrSpec(m.Raw, route))) }

func isStrict(uri []byte) bool {
	u, ok := ParseURI(uri)
	return ok && !u.LR
}

// LastRoute is the last Route value, of all Route fields.
func (m *Message) LastRoute() (last Span, ok bool) {
	ok = true
	m.eachField("route", 0, func(l Line) bool {
		var buf [8]Span
		var list []Span
		if list, ok = values(m.Raw, l.Value, buf[:0]); len(list) > 0 {
			last = list[len(list)-1]
		}
		return ok
	})
	return last, ok && !last.Empty()
}

// AppendRerouted appends the request with the URI of route, one of its Route values, as Request-URI, and without that
// value. keep puts the old Request-URI at the end of the Route set. This is how strict routers of RFC 2543 want to be
// spoken to, and how they speak (RFC 3261 16.4, 16.6 step 6). The result must be scanned: the URI may be no Request-URI.
func (m *Message) AppendRerouted(dst []byte, route Span, keep bool) []byte {
	var gone Span
	last := 0
	m.eachField("route", 0, func(l Line) bool {
		last = l.All.End
		if l.All.Off < route.Off && route.End < l.All.End {
			gone = m.without(l, route)
		}
		return true
	})
	if gone.Empty() {
		return append(dst, m.Raw[:m.End]...)
	}
	dst = append(dst, m.Raw[:m.URI.Off]...)
	dst = append(dst, m.Bytes(AddrSpec(m.Raw, route))...)
	dst = append(dst, m.Raw[m.URI.End:gone.Off]...)
	dst = append(dst, m.Raw[gone.End:last]...)
	if keep {
		dst = append(dst, "Route: <"...)
		dst = append(dst, m.Bytes(m.URI)...)
		dst = append(dst, ">\r\n"...)
	}
	return append(dst, m.Raw[last:m.End]...)
}

// without is what to cut from a field so that the value v is gone, with one comma; the whole field when v is all it has.
func (m *Message) without(l Line, v Span) Span {
	if comma := trim(m.Raw, v.End, l.Value.End); !comma.Empty() {
		if next := trim(m.Raw, comma.Off+1, l.Value.End); !next.Empty() {
			return Span{v.Off, next.Off}
		}
	}
	if before := trim(m.Raw, l.Value.Off, v.Off); !before.Empty() {
		return Span{before.End - 1, l.Value.End}
	}
	return l.All
}
