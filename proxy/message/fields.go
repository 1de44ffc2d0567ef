package message

import "bytes"

// every is the compact form that stands for all fields.
const every = 0xff

// eachField calls f with every field of that name (lower case; compact 0 for none) until f returns false.
func (m *Message) eachField(name string, compact byte, f func(Line) bool) {
	b := m.Raw
	stop := m.Body
	if stop == 0 {
		stop = len(b)
	}
	for p := m.Headers; p < stop; {
		n := bytes.IndexByte(b[p:stop], '\n')
		if n < 0 {
			return
		}
		end := p + n + 1
		for end < stop && (b[end] == ' ' || b[end] == '\t') {
			k := bytes.IndexByte(b[end:stop], '\n')
			if k < 0 {
				return
			}
			end += k + 1
		}
		if c := bytes.IndexByte(b[p:end], ':'); c > 0 {
			h := b[p : p+c]
			for len(h) > 0 && (h[len(h)-1] == ' ' || h[len(h)-1] == '\t') {
				h = h[:len(h)-1]
			}
			if compact == every || isField(h, name, compact) {
				if !f(Line{All: Span{p, end}, Value: trim(b, p+c+1, end)}) {
					return
				}
			}
		}
		p = end
	}
}

func isField(b []byte, name string, compact byte) bool {
	return equalFold(b, name) || compact != 0 && len(b) == 1 && lower(b[0]) == compact
}

// Field is the value of the first field of that name, given in lower case, or nil. It walks the message: for the few
// fields that the scan does not keep.
func (m *Message) Field(name string) []byte {
	var v []byte
	m.eachField(name, compactOf(name), func(l Line) bool {
		v = m.Bytes(l.Value)
		return false
	})
	return v
}

func compactOf(name string) byte {
	switch name {
	case "via":
		return 'v'
	case "from":
		return 'f'
	case "to":
		return 't'
	case "call-id":
		return 'i'
	case "contact":
		return 'm'
	case "content-type":
		return 'c'
	case "content-length":
		return 'l'
	case "content-encoding":
		return 'e'
	case "subject":
		return 's'
	case "supported":
		return 'k'
	case "session-expires":
		return 'x'
	case "refer-to":
		return 'r'
	case "event":
		return 'o'
	case "allow-events":
		return 'u'
	}
	return 0
}

// Routes appends the Route values (name-addr with parameters) to dst, topmost first, and reports whether all could be read.
func (m *Message) Routes(dst []Span) ([]Span, bool) {
	ok := true
	if m.nroutes == maxRouteLines { // there may be more than the scan keeps
		m.eachField("route", 0, func(l Line) bool {
			dst, ok = values(m.Raw, l.Value, dst)
			return ok
		})
		return dst, ok
	}
	for _, l := range m.routes[:m.nroutes] {
		if dst, ok = values(m.Raw, l.Value, dst); !ok {
			return dst, false
		}
	}
	return dst, true
}

// RecordRoutes appends the Record-Route values to dst, topmost first.
func (m *Message) RecordRoutes(dst []Span) ([]Span, bool) {
	ok := true
	if m.RecordRoute.All.Empty() {
		return dst, true
	}
	m.eachField("record-route", 0, func(l Line) bool {
		dst, ok = values(m.Raw, l.Value, dst)
		return ok
	})
	return dst, ok
}

func values(b []byte, v Span, dst []Span) ([]Span, bool) {
	for p := v.Off; p < v.End; {
		e := valueEnd(b, p, v.End)
		if e < 0 {
			return dst, false
		}
		if s := trim(b, p, e); !s.Empty() {
			dst = append(dst, s)
		}
		p = e + 1
	}
	return dst, true
}

// AddrSpec is the URI in a name-addr or addr-spec value (RFC 3261 20): what stands in the angle brackets, or the value
// up to its first semicolon where there are none. Of several values it takes the first. Empty when there is no URI.
func AddrSpec(b []byte, v Span) Span {
	if v.End = valueEnd(b, v.Off, v.End); v.End < 0 {
		return Span{}
	}
	p := v.Off
	if p < v.End && b[p] == '"' {
		if p = quoteEnd(b, p, v.End); p < 0 {
			return Span{}
		}
	}
	if lt := bytes.IndexByte(b[p:v.End], '<'); lt >= 0 {
		gt := bytes.IndexByte(b[p+lt:v.End], '>')
		if gt < 0 {
			return Span{}
		}
		return trim(b, p+lt+1, p+lt+gt)
	}
	end := v.End
	if k := bytes.IndexByte(b[p:v.End], ';'); k >= 0 {
		end = p + k
	}
	return trim(b, p, end)
}

// URI is the parts of a sip: or sips: URI that routing needs (RFC 3261 19.1.1).
type URI struct {
	Secure    bool
	User      []byte // without password
	Host      []byte // with the brackets of an IPv6 reference
	Port      int    // 0 when not given
	Transport []byte // of the transport parameter
	LR        bool   // has the lr parameter
}

// ParseURI reads a sip or sips URI; ok is false for anything else.
func ParseURI(b []byte) (u URI, ok bool) {
	switch {
	case hasPrefixFold(b, "sip:"):
		b = b[4:]
	case hasPrefixFold(b, "sips:"):
		u.Secure, b = true, b[5:]
	default:
		return u, false
	}
	if at := bytes.LastIndexByte(b, '@'); at >= 0 {
		u.User = b[:at]
		if c := bytes.IndexByte(u.User, ':'); c >= 0 {
			u.User = u.User[:c]
		}
		b = b[at+1:]
	}
	if q := bytes.IndexByte(b, '?'); q >= 0 { // headers; a user part may have a "?" too
		b = b[:q]
	}
	host, params := b, []byte(nil)
	if s := bytes.IndexByte(b, ';'); s >= 0 {
		host, params = b[:s], b[s:]
	}
	if len(host) > 0 && host[0] == '[' {
		k := bytes.IndexByte(host, ']')
		if k < 0 {
			return u, false
		}
		u.Host, host = host[:k+1], host[k+1:]
	} else if c := bytes.IndexByte(host, ':'); c >= 0 {
		u.Host, host = host[:c], host[c:]
	} else {
		u.Host, host = host, nil
	}
	if len(u.Host) == 0 {
		return u, false
	}
	if len(host) > 0 {
		n, good := number(host[1:], 65535)
		if host[0] != ':' || !good {
			return u, false
		}
		u.Port = n
	}
	if params != nil {
		t, _, _ := param(params, 0, len(params), "transport")
		u.Transport = params[t.Off:t.End]
		_, lr, _ := param(params, 0, len(params), "lr")
		u.LR = !lr.Empty()
	}
	return u, true
}
