package proxy

import (
	"bytes"
	"strings"

	"mrcproxy/internal/session"
	"mrcproxy/proxy/message"
	"mrcproxy/proxy/transaction"
	"mrcproxy/proxy/transport"
)

// dialogue is what a BYE on behalf of a session needs, kept in Session.Dialog as lines in this order; those at the end that
// are empty are left away.
type dialogue struct {
	cookie string // of our Record-Route: both flows
	from   string // of the client, with its tag
	to     string // of the server, with its tag
	client string // the client's target (RFC 3261 12.1.1); "" for the URI in from, and where its INVITE had no Contact
	server string // the server's; "" for the URI that the configuration has of it
	routes string // of the proxies between us and the client, topmost first, with commas
	behind string // of those between us and the server
}

func (d *dialogue) fields() []*string {
	return []*string{&d.cookie, &d.from, &d.to, &d.client, &d.server, &d.routes, &d.behind}
}

// dialogueOf reads it off the 2xx w.m to an INVITE whose Contact had the URI contact, from the server with the URI backend;
// "" when our Record-Route is not in it. It is made for each session: the string is all that it allocates.
func (p *Proxy) dialogueOf(w *worker, contact []byte, backend string) string {
	m := &w.m
	all, ok := m.RecordRoutes(w.routes[:0])
	if !ok {
		return ""
	}
	var cookie []byte
	first, last := -1, -1
	for i, r := range all {
		uri := m.Bytes(message.AddrSpec(m.Raw, r))
		if !p.isUs(uri) {
			continue
		}
		if last = i; first < 0 {
			first = i
			u, _ := message.ParseURI(uri) // it is one: it is us
			cookie = u.User
		}
	}
	if first < 0 {
		return ""
	}
	from := m.Bytes(m.From.Value)
	if bytes.Equal(contact, uriIn(from)) {
		contact = nil
	}
	server := m.Bytes(message.AddrSpec(m.Raw, m.Contact.Value))
	if string(server) == backend {
		server = nil
	}
	out := w.ins[:0]
	for i, f := range [...][]byte{cookie, from, m.Bytes(m.To.Value), contact, server} {
		if i > 0 {
			out = append(out, '\n')
		}
		out = appendUnfolded(out, f)
	}
	out = append(out, '\n')
	for i := last + 1; i < len(all); i++ {
		out = appendRoute(out, m.Bytes(all[i]), i > last+1)
	}
	out = append(out, '\n')
	for i := first - 1; i >= 0; i-- { // reversed (12.1.2): the nearest to us first
		out = appendRoute(out, m.Bytes(all[i]), i < first-1)
	}
	w.ins = out
	return string(bytes.TrimRight(out, "\n"))
}

func appendRoute(dst, route []byte, behind bool) []byte {
	if behind {
		dst = append(dst, ", "...)
	}
	return appendUnfolded(dst, route)
}

// appendUnfolded appends the value of a header field as one line (RFC 3261 7.3.1): the white space that a folded line begins
// with is enough.
func appendUnfolded(dst, value []byte) []byte {
	for _, c := range value {
		if c != '\r' && c != '\n' {
			dst = append(dst, c)
		}
	}
	return dst
}

// lastCSeq is the highest number there is (RFC 3261 8.1.1.5): whatever was said in the dialog before, this comes behind it.
const lastCSeq = "2147483647"

// flows reads a session's dialogue; false when there is none that one of our secrets signed.
func (p *Proxy) flows(s *session.Session) (d dialogue, c cookie, ok bool) {
	lines := strings.Split(s.Dialog, "\n")
	for i, f := range d.fields() {
		if i < len(lines) {
			*f = lines[i]
		}
	}
	c, ok = p.keys.parse([]byte(d.cookie), []byte(s.CallID))
	return d, c, ok
}

// CanHangUp reports whether HangUp can end the session. It cannot where the INVITE's 2xx was not seen here (a session that was
// learned), where our Record-Route was not in that, and where the secret is another than then.
func (p *Proxy) CanHangUp(s *session.Session) bool {
	_, _, ok := p.flows(s)
	return ok
}

// HangUp ends a session with a BYE to its client and one to its server, neither of which has said one. false: CanHangUp says
// no, and nothing is sent. It must not be called from the path of a message.
func (p *Proxy) HangUp(s *session.Session, reason string) bool {
	d, c, ok := p.flows(s)
	if !ok {
		return false
	}
	if d.client == "" {
		d.client = string(uriIn([]byte(d.from))) // what UniMRCP does; it goes by the flow
	}
	if d.server == "" {
		d.server = s.Backend().URI()
	}
	say := func(flow transport.Flow, target, route, from, to string) {
		p.start(ownRequest{flow: flow, method: message.Bye, timeout: transaction.Lifetime, build: func(dst, via []byte) []byte {
			dst = append(append(append(dst, "BYE "...), target...), " SIP/2.0\r\n"...)
			dst = append(dst, via...)
			for _, h := range [...][2]string{{"Route: ", route}, {"From: ", from}, {"To: ", to}, {"Call-ID: ", s.CallID}, {"Reason: ", reason}} {
				if h[1] != "" {
					dst = append(append(append(dst, h[0]...), h[1]...), "\r\n"...)
				}
			}
			return append(dst, "Max-Forwards: 70\r\nCSeq: "+lastCSeq+" BYE\r\nContent-Length: 0\r\n\r\n"...)
		}})
	}
	say(p.peer(&c, false), d.client, d.routes, d.to, d.from)
	say(p.peer(&c, true), d.server, d.behind, d.from, d.to)
	return true
}

// uriIn is the URI in the value of a From or To.
func uriIn(value []byte) []byte {
	u := message.AddrSpec(value, message.Span{End: len(value)})
	return value[u.Off:u.End]
}
