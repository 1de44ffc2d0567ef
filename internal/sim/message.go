package sim

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// header is one header line; name is in its long form as usually written.
type header struct{ name, value string }

// message is one SIP message whose headers are the text that came in.
type message struct {
	method  string // of a request, "" in a response
	uri     string // of a request
	code    int    // of a response
	reason  string
	headers []header
	body    []byte
}

// longName undoes the compact forms of RFC 3261 7.3.3.
func longName(name string) string {
	switch strings.ToLower(name) {
	case "c":
		return "Content-Type"
	case "f":
		return "From"
	case "i":
		return "Call-ID"
	case "k":
		return "Supported"
	case "m":
		return "Contact"
	case "t":
		return "To"
	case "v":
		return "Via"
	case "x":
		return "Session-Expires"
	}
	return name
}

// newParser gives a parser that interprets Content-Length and leaves every other header as it is.
func newParser() *sip.Parser {
	all := sip.DefaultHeadersParser()
	return sip.NewParser(sip.WithHeadersParsers(map[string]sip.HeaderParser{
		"content-length": all["content-length"], "l": all["l"],
	}))
}

// fromSIP takes over what sipgo's parser found.
func fromSIP(in sip.Message) *message {
	m := &message{body: in.Body()}
	var from []sip.Header
	switch in := in.(type) {
	case *sip.Request:
		m.method, m.uri, from = string(in.Method), in.Recipient.String(), in.Headers()
	case *sip.Response:
		m.code, m.reason, from = in.StatusCode, in.Reason, in.Headers()
	}
	for _, h := range from {
		if _, length := h.(*sip.ContentLengthHeader); length {
			continue
		}
		m.add(longName(h.Name()), h.Value())
	}
	return m
}

func (m *message) add(name, value string) { m.headers = append(m.headers, header{name, value}) }

// get is the value of the first header of that name, "" when there is none.
func (m *message) get(name string) string {
	for _, h := range m.headers {
		if strings.EqualFold(h.name, name) {
			return h.value
		}
	}
	return ""
}

// list is every value of a header that may be repeated or hold a comma-separated list.
func (m *message) list(name string) []string {
	var out []string
	for _, h := range m.headers {
		if strings.EqualFold(h.name, name) {
			out = append(out, splitList(h.value)...)
		}
	}
	return out
}

// copy adds from's headers of these names, one line a value for the lists a proxy reads.
func (m *message) copy(from *message, names ...string) {
	for _, name := range names {
		for _, v := range from.list(name) {
			m.add(name, v)
		}
	}
}

// bytes is the message for the wire, Content-Length last.
func (m *message) bytes() []byte {
	var b bytes.Buffer
	if m.method != "" {
		fmt.Fprintf(&b, "%s %s SIP/2.0\r\n", m.method, m.uri)
	} else {
		fmt.Fprintf(&b, "SIP/2.0 %d %s\r\n", m.code, m.reason)
	}
	for _, h := range m.headers {
		b.WriteString(h.name + ": " + h.value + "\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n", len(m.body))
	b.Write(m.body)
	return b.Bytes()
}

// branch is the top Via's branch.
func (m *message) branch() string { return param(m.topVia(), "branch") }

func (m *message) topVia() string {
	if vias := m.list("Via"); len(vias) > 0 {
		return vias[0]
	}
	return ""
}

// txKey identifies the server transaction (RFC 3261 17.2.3): branch, sent-by, method,
// where ACK and CANCEL are given their INVITE's.
func (m *message) txKey(method string) string {
	via, _, _ := strings.Cut(m.topVia(), ";")
	return m.branch() + "|" + via + "|" + method
}

func (m *message) cseq() (number uint32, method string) {
	n, method, _ := strings.Cut(m.get("CSeq"), " ")
	v, _ := strconv.ParseUint(n, 10, 32)
	return uint32(v), strings.TrimSpace(method)
}

func (m *message) fromTag() string { return param(m.get("From"), "tag") }
func (m *message) toTag() string   { return param(m.get("To"), "tag") }

// splitList splits at the commas that are outside quotes and angle brackets.
func splitList(s string) []string {
	var out []string
	start, quoted, angle := 0, false, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == '<' && !quoted:
			angle = true
		case c == '>' && !quoted:
			angle = false
		case c == ',' && !quoted && !angle:
			out = append(out, strings.TrimSpace(s[start:i]))
			start = i + 1
		}
	}
	return append(out, strings.TrimSpace(s[start:]))
}

// param is a header parameter of one value; those inside <> belong to the URI.
func param(value, name string) string {
	if i := strings.LastIndexByte(value, '>'); i >= 0 {
		value = value[i+1:]
	}
	for i, p := range strings.Split(value, ";") {
		k, v, _ := strings.Cut(p, "=")
		if i > 0 && strings.EqualFold(strings.TrimSpace(k), name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// uriOf is the URI of a Contact, Route, From or To value.
func uriOf(value string) string {
	if i := strings.IndexByte(value, '<'); i >= 0 {
		uri, _, _ := strings.Cut(value[i+1:], ">")
		return uri
	}
	uri, _, _ := strings.Cut(value, ";")
	return strings.TrimSpace(uri)
}

// locate says where a request to uri goes: the transport it names, else network, and the
// address of its host, port 5060 when it names none.
func locate(uri, network string) (string, netip.AddrPort, error) {
	var u sip.Uri
	if err := sip.ParseUri(uri, &u); err != nil {
		return "", netip.AddrPort{}, fmt.Errorf("locate %q: %w", uri, err)
	}
	if u.Host == "" {
		return "", netip.AddrPort{}, fmt.Errorf("locate %q: no host", uri)
	}
	if t, ok := u.UriParams.Get("transport"); ok {
		network = strings.ToLower(t)
	}
	port := u.Port
	if port == 0 {
		port = 5060
	}
	a, err := net.ResolveUDPAddr("udp", net.JoinHostPort(strings.Trim(u.Host, "[]"), strconv.Itoa(port)))
	if err != nil {
		return "", netip.AddrPort{}, fmt.Errorf("locate %q: %w", uri, err)
	}
	ap := a.AddrPort()
	return network, netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}

func newBranch() string { return "z9hG4bK" + rand.Text() }
func newTag() string    { return rand.Text()[:13] }
