package proxy

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mrcproxy/proxy/transport"
)

// msg is a SIP message as a list of lines, read and written without package message: a fault there must show.
type msg struct {
	at    time.Duration // since the lab's start, of one that the proxy sent
	flow  transport.Flow
	start string
	head  []string // "Name: value"
	body  string
}

func parse(l *lab, raw string) *msg {
	l.Helper()
	head, body, ok := strings.Cut(raw, "\r\n\r\n")
	if !ok || strings.Count(head, "\n") != strings.Count(head, "\r\n") {
		l.Fatalf("not a message with CRLF line ends: %q", raw)
	}
	lines := strings.Split(head, "\r\n")
	return &msg{start: lines[0], head: lines[1:], body: body}
}

func (m *msg) String() string {
	return m.start + "\r\n" + strings.Join(m.head, "\r\n") + "\r\n\r\n" + m.body
}

func (m *msg) clone() *msg {
	c := *m
	c.head = slices.Clone(m.head)
	return &c
}

func (m *msg) is(name string) func(string) bool {
	return func(line string) bool {
		return len(line) > len(name) && strings.EqualFold(line[:len(name)], name) && line[len(name)] == ':'
	}
}

// all are the values of the fields of that name.
func (m *msg) all(name string) []string {
	var l []string
	for _, line := range m.head {
		if m.is(name)(line) {
			l = append(l, strings.TrimSpace(line[len(name)+1:]))
		}
	}
	return l
}

func (m *msg) get(name string) string {
	if l := m.all(name); len(l) > 0 {
		return l[0]
	}
	return ""
}

// set replaces all fields of that name, in the place of the first, or behind the Vias.
func (m *msg) set(name string, values ...string) *msg {
	i := slices.IndexFunc(m.head, m.is(name))
	m.head = slices.DeleteFunc(m.head, m.is(name))
	if i < 0 {
		i = len(m.all("Via"))
	}
	for k, v := range values {
		m.head = slices.Insert(m.head, i+k, name+": "+v)
	}
	return m
}

// without takes all fields of the names out.
func (m *msg) without(names ...string) *msg {
	for _, n := range names {
		m.head = slices.DeleteFunc(m.head, m.is(n))
	}
	return m
}

func (m *msg) method() string { s, _, _ := strings.Cut(m.start, " "); return s }

func (m *msg) uri() string { return strings.Split(m.start, " ")[1] }

func (m *msg) to(uri string) *msg { m.start = m.method() + " " + uri + " SIP/2.0"; return m }

// rename makes it a request of another method.
func (m *msg) rename(method string) *msg {
	m.start = method + strings.TrimPrefix(m.start, m.method())
	n, _, _ := strings.Cut(m.get("CSeq"), " ")
	return m.set("CSeq", n+" "+method)
}

// branch gives it a branch of its own: another transaction.
func (m *msg) branch(b string) *msg {
	via, _, _ := strings.Cut(m.get("Via"), ";")
	return m.set("Via", append([]string{via + ";branch=z9hG4bK" + b}, m.all("Via")[1:]...)...)
}

// uriOf is what stands in the angle brackets.
func uriOf(value string) string {
	_, s, _ := strings.Cut(value, "<")
	s, _, _ = strings.Cut(s, ">")
	return s
}

// fixture is a captured message.
func (l *lab) fixture(name string) *msg {
	l.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".sip"))
	if err != nil {
		l.Fatal(err)
	}
	return parse(l, string(b))
}

// peer is somebody at an address. sentBy is what its Via says, where that differs.
type peer struct {
	l      *lab
	proto  transport.Proto
	addr   netip.AddrPort
	sentBy string
	local  uint8 // the listener that it sends to, if that is not the first which fits
}

func (l *lab) udp(addr string) *peer {
	return &peer{l: l, proto: transport.UDP, addr: netip.MustParseAddrPort(addr), sentBy: addr}
}

// tcp is a server's listening port, or a client's: the proxy dials it.
func (l *lab) tcp(addr string) *peer {
	return &peer{l: l, proto: transport.TCP, addr: netip.MustParseAddrPort(addr), sentBy: addr}
}

// dials is a peer that opens a connection from an ephemeral port.
func (l *lab) dials(from, sentBy string) *peer {
	p := &peer{l: l, proto: transport.TCP, addr: netip.MustParseAddrPort(from), sentBy: sentBy}
	l.net.open(p.flow())
	return p
}

func (p *peer) flow() transport.Flow {
	f := transport.Flow{Proto: p.proto, Local: p.local, Remote: p.addr}
	if p.local == 0 {
		p.l.p.fit(&f)
	}
	f.Conn, _ = p.l.net.Find(p.proto, p.addr)
	return f
}

func (p *peer) send(m *msg) *msg {
	p.l.in = append(p.l.in, m.clone())
	p.sendRaw(m.String())
	return m
}

func (p *peer) sendRaw(s string) { p.l.p.Receive([]byte(s), p.flow()) }

// next takes the oldest message sent to the peer; nil when there is none.
func (p *peer) next() *msg {
	defer p.l.fence.Add(1)
	for _, s := range p.l.net.sent {
		if s.taken || s.to != p.addr || s.flow.Proto != p.proto {
			continue
		}
		s.taken = true
		m := parse(p.l, string(s.raw))
		m.at, m.flow = s.at.Sub(p.l.start), s.flow
		p.l.untouched(m)
		return m
	}
	return nil
}

// recv takes the next message, which must begin as given: "INVITE", or a code and for a response to something other
// than an INVITE its method, "200 BYE".
func (p *peer) recv(what string) *msg {
	p.l.Helper()
	m := p.next()
	if m == nil {
		p.l.Fatalf("%v got nothing, want %s", p.addr, what)
	}
	code, method, _ := strings.Cut(what, " ")
	if method == "" {
		method = "INVITE"
	}
	switch {
	case code[0] < '0' || code[0] > '9':
		if m.method() != what {
			p.l.Fatalf("%v got %q, want %s", p.addr, m.start, what)
		}
	case !strings.HasPrefix(m.start, "SIP/2.0 "+code+" ") || !strings.HasSuffix(m.get("CSeq"), " "+method):
		p.l.Fatalf("%v got %q to %s, want %s to %s", p.addr, m.start, m.get("CSeq"), code, method)
	}
	return m
}

// recvAt is recv at that time since the lab's start.
func (p *peer) recvAt(at time.Duration, what string) *msg {
	p.l.Helper()
	if now := time.Since(p.l.start); now < at {
		p.l.until(at)
	}
	m := p.recv(what)
	if m.at != at {
		p.l.Errorf("%v got %s at %v, want it at %v", p.addr, what, m.at, at)
	}
	return m
}

// none fails when there is a message for the peer.
func (p *peer) none() {
	p.l.Helper()
	if m := p.next(); m != nil {
		p.l.Errorf("%v got, at %v:\n%s", p.addr, m.at, m)
	}
}

// request is a captured request ("fs-recog-udp-01-INVITE"), as this peer sends it.
func (p *peer) request(name string) *msg {
	p.l.Helper()
	m := p.l.fixture(name)
	via := m.get("Via")
	if !strings.HasPrefix(via, fmt.Sprintf("SIP/2.0/%v %s;", p.proto, p.sentBy)) {
		_, params, _ := strings.Cut(via, ";")
		m.set("Via", append([]string{fmt.Sprintf("SIP/2.0/%v %s;%s", p.proto, p.sentBy, params)}, m.all("Via")[1:]...)...)
	}
	return m
}

// invite sends a captured INVITE.
func (p *peer) invite(name string) *msg {
	p.l.Helper()
	return p.send(p.request(name))
}

// response answers a request: with a captured response, or given "486 Busy Here" with one made up.
func (p *peer) response(req *msg, what string) *msg {
	p.l.Helper()
	m := &msg{start: "SIP/2.0 " + what, head: []string{"To: " + req.get("To"), "Contact: <sip:" + p.sentBy + ">", "Content-Length: 0"}}
	if what[0] > '9' {
		m = p.l.fixture(what)
	}
	tag := ";tag=" + p.sentBy
	if _, t, ok := strings.Cut(m.get("To"), ";tag="); ok {
		tag = ";tag=" + t
	}
	to := req.get("To")
	if !strings.Contains(to, ";tag=") && m.start[8:11] != "100" {
		to += tag
	}
	m.without("Via", "Record-Route", "From", "To", "Call-ID", "CSeq")
	var head []string
	for _, n := range []string{"Via", "Record-Route"} {
		for _, v := range req.all(n) {
			head = append(head, n+": "+v)
		}
	}
	m.head = append(append(head, "From: "+req.get("From"), "To: "+to, "Call-ID: "+req.get("Call-ID"), "CSeq: "+req.get("CSeq")), m.head...)
	return m
}

func (p *peer) answer(req *msg, what string) *msg {
	p.l.Helper()
	return p.send(p.response(req, what))
}

// untouched holds what the proxy relays against what it got: no line may differ but those that are a proxy's to change
// (RFC 3261 16.6, 16.7).
func (l *lab) untouched(out *msg) {
	l.Helper()
	if strings.HasPrefix(out.start, "SIP/2.0 100") {
		return // hop by hop
	}
	key := func(m *msg) string {
		start := m.method()
		if start == "SIP/2.0" {
			start = m.start
		}
		return start + m.get("Call-ID") + m.get("CSeq") + m.get("From") + m.get("To")
	}
	for i := len(l.in) - 1; i >= 0; i-- {
		if key(l.in[i]) != key(out) {
			continue
		}
		rest := func(m *msg) string {
			return m.clone().without("Via", "Record-Route", "Route", "Max-Forwards").to("x").String()
		}
		if out.get("User-Agent") == l.in[i].get("User-Agent") && rest(out) != rest(l.in[i]) {
			l.Errorf("relayed\n%s\nas\n%s", l.in[i], out)
		}
		return
	}
}

// sentBy is the sent-by of its topmost Via.
func (m *msg) sentBy() string {
	s, _, _ := strings.Cut(strings.Fields(m.get("Via"))[1], ";")
	return s
}
