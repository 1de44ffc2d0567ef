package proxy

import (
	"bytes"
	"strings"

	"mrcproxy/internal/session"
	"mrcproxy/proxy/message"
	"mrcproxy/proxy/transaction"
	"mrcproxy/proxy/transport"
)

// dialogue is what a BYE on behalf of a session needs, kept in Session.Dialog as lines in this order.
type dialogue struct {
	cookie string // of our Record-Route: both flows
	from   string // of the client, with its tag
	to     string // of the server, with its tag
	client string // the client's target (RFC 3261 12.1.1); "" when its INVITE had no Contact
	server string // the server's
	routes string // of the proxies between us and the client, topmost first, with commas
	behind string // of those between us and the server
}

func (d *dialogue) fields() []*string {
	return []*string{&d.cookie, &d.from, &d.to, &d.client, &d.server, &d.routes, &d.behind}
}

// dialogueOf reads it off the 2xx m to an INVITE whose Contact was contact; "" when our Record-Route is not in it.
func (p *Proxy) dialogueOf(m *message.Message, contact string) string {
	var spans [8]message.Span
	all, ok := m.RecordRoutes(spans[:0])
	if !ok {
		return ""
	}
	first, last := -1, -1
	for i, r := range all {
		if p.isUs(m.Bytes(message.AddrSpec(m.Raw, r))) {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	if first < 0 {
		return ""
	}
	ours, ok := message.ParseURI(m.Bytes(message.AddrSpec(m.Raw, all[first])))
	if !ok {
		return ""
	}
	d := dialogue{
		cookie: string(ours.User), from: string(m.Bytes(m.From.Value)), to: string(m.Bytes(m.To.Value)), client: contact,
		server: string(m.Bytes(message.AddrSpec(m.Raw, m.Contact.Value))),
	}
	var up, down []string
	for i, r := range all {
		switch text := string(m.Bytes(r)); {
		case i < first: // reversed (12.1.2): the nearest to us first
			down = append([]string{text}, down...)
		case i > last:
			up = append(up, text)
		}
	}
	d.routes, d.behind = strings.Join(up, ", "), strings.Join(down, ", ")
	lines := make([]string, 0, 7)
	for _, f := range d.fields() {
		if strings.ContainsAny(*f, "\r\n") { // a header field folded over lines
			return ""
		}
		lines = append(lines, *f)
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

// lastCSeq is the highest number there is (RFC 3261 8.1.1.5): whatever was said in the dialog before, this comes behind it.
const lastCSeq = "2147483647"

// HangUp ends a session with a BYE to its client and one to its server, neither of which has said one. false: what it takes
// is not known of this session. It must not be called from the path of a message.
func (p *Proxy) HangUp(s *session.Session, reason string) bool {
	var d dialogue
	lines := strings.Split(s.Dialog, "\n")
	for i, f := range d.fields() {
		if i < len(lines) {
			*f = lines[i]
		}
	}
	c, ok := p.keys.parse([]byte(d.cookie), []byte(s.CallID))
	if !ok {
		return false
	}
	if d.client == "" {
		d.client = uriIn(d.from) // what UniMRCP does; it goes by the flow
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
func uriIn(value string) string {
	raw := []byte(value)
	u := message.AddrSpec(raw, message.Span{End: len(raw)})
	return string(bytes.TrimSpace(raw[u.Off:u.End]))
}
