package message

import (
	"net/netip"
	"strconv"
)

// Reply is a response of our own to a request (RFC 3261 8.2.6).
type Reply struct {
	Status int
	Reason string     // the reason phrase; "" takes the usual one
	ToTag  []byte     // added to a To that has none; nil for a 100
	Header string     // more header lines, each with its CRLF
	Source netip.Addr // as in Edit
	Port   uint16
}

// AppendReply appends the response r to the request m to dst. It copies Via, From, To, Call-ID and CSeq as far as they
// are there, so that a malformed request can be answered too.
func (m *Message) AppendReply(dst []byte, r *Reply) []byte {
	dst = append(dst, "SIP/2.0 "...)
	dst = strconv.AppendInt(dst, int64(r.Status), 10)
	dst = append(dst, ' ')
	if r.Reason != "" {
		dst = append(dst, r.Reason...)
	} else {
		dst = append(dst, ReasonPhrase(r.Status)...)
	}
	dst = append(dst, "\r\n"...)
	m.eachField("via", 'v', func(l Line) bool {
		if l.All != m.Via.Line.All || !r.Source.IsValid() {
			dst = append(dst, m.Bytes(l.All)...)
			return true
		}
		var vb [80]byte
		out, text := m.viaSource(vb[:0], r.Source, r.Port)
		if out[0].Off > out[1].Off {
			out[0], out[1] = out[1], out[0]
		}
		p := l.All.Off
		for _, s := range out {
			if !s.Empty() {
				dst = append(dst, m.Raw[p:s.Off]...)
				p = s.End
			}
		}
		dst = append(dst, m.Raw[p:m.Via.Value.End]...)
		dst = append(dst, text...)
		dst = append(dst, m.Raw[m.Via.Value.End:l.All.End]...)
		return true
	})
	dst = append(dst, m.Bytes(m.From.All)...)
	if !m.To.All.Empty() {
		if m.ToTag.Empty() && len(r.ToTag) > 0 {
			dst = append(dst, m.Raw[m.To.All.Off:m.To.Value.End]...)
			dst = append(dst, ";tag="...)
			dst = append(dst, r.ToTag...)
			dst = append(dst, "\r\n"...)
		} else {
			dst = append(dst, m.Bytes(m.To.All)...)
		}
	}
	dst = append(dst, m.Bytes(m.CallID.All)...)
	dst = append(dst, m.Bytes(m.CSeq.All)...)
	if r.Status == 100 { // 8.2.6.1
		m.eachField("timestamp", 0, func(l Line) bool {
			dst = append(dst, m.Bytes(l.All)...)
			return false
		})
	}
	dst = append(dst, r.Header...)
	return append(dst, "Content-Length: 0\r\n\r\n"...)
}

// Hop is a request of our own that belongs to a forwarded INVITE: the CANCEL of a branch (RFC 3261 9.1) or the ACK to its
// non-2xx answer (17.1.1.3). Both take Call-ID, From, To and CSeq number from the INVITE.
type Hop struct {
	Method Method
	URI    []byte // the branch's Request-URI
	Via    []byte // the branch's Via line, with CRLF
	To     []byte // the answer's To line, whole; nil takes the INVITE's
}

// AppendHop appends the request h, made from the INVITE m, to dst.
func (m *Message) AppendHop(dst []byte, h *Hop) []byte {
	dst = append(dst, h.Method.String()...)
	dst = append(dst, ' ')
	dst = append(dst, h.URI...)
	dst = append(dst, " SIP/2.0\r\n"...)
	dst = append(dst, h.Via...)
	dst = append(dst, "Max-Forwards: 70\r\n"...)
	dst = append(dst, m.Bytes(m.From.All)...)
	if h.To != nil {
		dst = append(dst, h.To...)
	} else {
		dst = append(dst, m.Bytes(m.To.All)...)
	}
	dst = append(dst, m.Bytes(m.CallID.All)...)
	return m.appendCSeq(dst, m.CSeqNumber, h.Method)
}

func (m *Message) appendCSeq(dst []byte, n uint32, method Method) []byte {
	dst = append(dst, "CSeq: "...)
	dst = strconv.AppendUint(dst, uint64(n), 10)
	dst = append(dst, ' ')
	dst = append(dst, method.String()...)
	return append(dst, "\r\nContent-Length: 0\r\n\r\n"...)
}

// AppendInDialog appends an ACK or BYE in the dialog that the 2xx m set up, as its client would send it (RFC 3261
// 12.2.1.1, 13.2.2.4), for a dialog that nobody else will end: Request-URI from the Contact (uri where there is none),
// our Via line, CSeq the INVITE's number, for a BYE one more. routes are the Record-Route values of the proxies between
// us and the server, in the order of the response; they become the Route, reversed.
func (m *Message) AppendInDialog(dst []byte, method Method, uri, via []byte, routes []Span) []byte {
	if c := AddrSpec(m.Raw, m.Contact.Value); !c.Empty() {
		uri = m.Bytes(c)
	}
	target := uri
	strict := false
	if n := len(routes); n > 0 {
		first := m.Bytes(AddrSpec(m.Raw, routes[n-1]))
		if strict = isStrict(first); strict {
			target, routes = first, routes[:n-1]
		}
	}
	dst = append(dst, method.String()...)
	dst = append(dst, ' ')
	dst = append(dst, target...)
	dst = append(dst, " SIP/2.0\r\n"...)
	dst = append(dst, via...)
	for i := len(routes) - 1; i >= 0; i-- {
		dst = append(dst, "Route: "...)
		dst = append(dst, m.Bytes(routes[i])...)
		dst = append(dst, "\r\n"...)
	}
	if strict {
		dst = append(dst, "Route: <"...)
		dst = append(dst, uri...)
		dst = append(dst, ">\r\n"...)
	}
	dst = append(dst, "Max-Forwards: 70\r\n"...)
	dst = append(dst, m.Bytes(m.From.All)...)
	dst = append(dst, m.Bytes(m.To.All)...)
	dst = append(dst, m.Bytes(m.CallID.All)...)
	n := m.CSeqNumber
	if method != Ack {
		n++
	}
	return m.appendCSeq(dst, n, method)
}

// ReasonPhrase is the usual reason phrase of a status code (RFC 3261 21).
func ReasonPhrase(code int) string {
	switch code {
	case 100:
		return "Trying"
	case 200:
		return "OK"
	case 400:
		return "Bad Request"
	case 403:
		return "Forbidden"
	case 404:
		return "Not Found"
	case 405:
		return "Method Not Allowed"
	case 408:
		return "Request Timeout"
	case 413:
		return "Request Entity Too Large"
	case 416:
		return "Unsupported URI Scheme"
	case 420:
		return "Bad Extension"
	case 480:
		return "Temporarily Unavailable"
	case 481:
		return "Call/Transaction Does Not Exist"
	case 482:
		return "Loop Detected"
	case 483:
		return "Too Many Hops"
	case 486:
		return "Busy Here"
	case 487:
		return "Request Terminated"
	case 488:
		return "Not Acceptable Here"
	case 500:
		return "Server Internal Error"
	case 501:
		return "Not Implemented"
	case 502:
		return "Bad Gateway"
	case 503:
		return "Service Unavailable"
	case 504:
		return "Server Time-out"
	case 505:
		return "Version Not Supported"
	case 513:
		return "Message Too Large"
	case 603:
		return "Decline"
	case 606:
		return "Not Acceptable"
	}
	switch {
	case code < 200:
		return "Session Progress"
	case code < 300:
		return "OK"
	case code < 400:
		return "Redirected"
	case code < 500:
		return "Request Failure"
	case code < 600:
		return "Server Failure"
	}
	return "Global Failure"
}
