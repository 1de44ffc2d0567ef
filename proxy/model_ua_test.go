package proxy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"mrcproxy/proxy/transport"
)

// leg is one side of a call: a user agent's dialog with its transactions (RFC 3261 sections 12, 13, 15, 17).
type leg struct {
	w       *world
	t       *talk
	box     *box
	dead    bool // it neither sends nor hears any more
	session phase
	local   string // From of its requests
	remote  string
	target  string
	routes  []string
	cseq    int
	asks    map[string]*ask   // its requests, by branch and method
	serves  map[string]*serve // requests to it, likewise
	on      *wire
	accept  *serve // a server's INVITE
	invite  *ask   // a client's
	byes    int
	wantBye bool // a client that is to hang up as soon as it can
}

type phase uint8

const (
	sessionNone phase = iota
	sessionUp
	sessionOver
)

// ask is a client transaction.
type ask struct {
	g           *leg
	req         *msg
	on          *wire
	provisional bool
	final       *msg
	timedOut    bool
	then        func(code int, m *msg) // once: the final response, or 408 when there is none
	heard       func()                 // the first provisional response
	ack         *msg
}

// serve is a server transaction.
type serve struct {
	g     *leg
	req   *msg
	on    *wire
	reply *msg
	code  int // final
	acked bool
}

const (
	modelT1       = 500 * time.Millisecond
	modelT2       = 4 * time.Second
	modelLifetime = 64 * modelT1
)

func (g *leg) after(d time.Duration, do func()) {
	g.w.at(g.w.now()+d, func() {
		if !g.dead {
			do()
		}
	})
}

// newRequest is a request in the dialog.
func (g *leg) newRequest(method string) *msg {
	if method != "ACK" {
		g.cseq++
	}
	m := &msg{start: method + " " + g.target + " SIP/2.0", head: []string{
		g.via(), "Max-Forwards: 70", "From: " + g.local, "To: " + g.remote, "Call-ID: " + g.t.id, fmt.Sprintf("CSeq: %d %s", g.cseq, method), "Content-Length: 0"}}
	return m.set("Route", g.routes...)
}

func (g *leg) via() string {
	g.t.branches++
	rport := ""
	if g.t.n%2 == 0 {
		rport = ";rport"
	}
	return fmt.Sprintf("Via: SIP/2.0/%v %v;branch=z9hG4bK%s-%s-%d%s", g.box.proto, g.box.addr, g.t.id, g.box.name, g.t.branches, rport)
}

// ask sends a request.
func (g *leg) ask(m *msg, then func(int, *msg)) *ask {
	a := &ask{g: g, req: m, then: then}
	g.asks[topBranch(m)+m.method()] = a
	a.on = g.box.send(g.t, m, g.on)
	if g.box.proto == transport.UDP {
		a.again(modelT1)
	}
	g.after(modelLifetime, func() { // timers B and F
		if a.final == nil && !(m.method() == "INVITE" && a.provisional) {
			a.timeout()
		}
	})
	return a
}

func (a *ask) timeout() {
	if a.final == nil && !a.timedOut {
		a.timedOut = true
		a.g.w.log(a.g.t, "%s has no answer to %s", a.g.box.name, brief(a.req))
		a.then(408, nil)
	}
}

// again resends over UDP: timers A and E.
func (a *ask) again(interval time.Duration) {
	a.g.after(interval, func() {
		invite := a.req.method() == "INVITE"
		if a.final != nil || a.timedOut || invite && a.provisional {
			return
		}
		a.g.box.send(a.g.t, a.req, nil)
		switch {
		case invite:
			interval *= 2
		case a.provisional:
			interval = modelT2
		default:
			interval = min(2*interval, modelT2)
		}
		a.again(interval)
	})
}

// response is one to a request of the leg's.
func (g *leg) response(m *msg) {
	if g.dead {
		return
	}
	cseq, method, _ := strings.Cut(m.get("CSeq"), " ")
	a := g.asks[topBranch(m)+method]
	if a == nil || !strings.HasPrefix(a.req.get("CSeq"), cseq+" ") {
		g.w.broke(g.t, "%s got a response to what it did not ask:\n%s", g.box.name, m)
		return
	}
	code := m.code()
	switch {
	case code < 200:
		if a.final == nil && !a.provisional {
			a.provisional = true
			if a.heard != nil {
				a.heard()
			}
		}
	case a.final == nil:
		a.final = m
		if method == "INVITE" && code >= 300 {
			a.ack = ackOf(a.req, m)
			g.box.send(g.t, a.ack, g.on)
		}
		if !a.timedOut || method == "INVITE" && code < 300 { // a late 2xx is a session all the same
			a.then(code, m)
		}
	default:
		if code != a.final.code() || m.get("To") != a.final.get("To") {
			g.w.broke(g.t, "%s got two final responses to one request:\n%s\nand\n%s", g.box.name, a.final, m)
		}
		if a.ack != nil {
			g.box.send(g.t, a.ack, g.on)
		}
	}
}

// ackOf is the ACK to a non-2xx (RFC 3261 17.1.1.3).
func ackOf(req, resp *msg) *msg {
	ack := req.clone().rename("ACK").set("To", resp.get("To"))
	return ack.set("Via", req.all("Via")[0]).without("Contact")
}

// request is one that arrives at the leg.
func (g *leg) request(m *msg, on *wire) {
	if g.dead {
		return
	}
	method := m.method()
	if method == "ACK" {
		g.acked(m)
		return
	}
	if s := g.serves[topBranch(m)+method]; s != nil {
		if s.reply != nil && !(method == "INVITE" && s.code/100 == 2) {
			g.box.send(g.t, s.reply, s.on)
		}
		return
	}
	s := &serve{g: g, req: m, on: on}
	g.serves[topBranch(m)+method] = s
	inDialog := strings.Contains(m.get("To"), ";tag=")
	switch {
	case method == "CANCEL":
		g.cancelled(s)
	case method == "INVITE" && !inDialog:
		g.invited(s)
	case g.session != sessionUp || !g.sameDialog(m):
		s.answer(481)
	case method == "BYE":
		g.end("BYE came")
		s.answer(200)
	case method == "INVITE":
		g.reinvited(s)
	default:
		s.answer(200)
	}
}

// sameDialog reports whether a request is from the one the leg has its session with (12.2.2).
func (g *leg) sameDialog(m *msg) bool {
	_, tag, _ := cutTag(g.remote)
	_, from, _ := cutTag(m.get("From"))
	return tag == from
}

func (g *leg) acked(m *msg) {
	cseq, _, _ := strings.Cut(m.get("CSeq"), " ")
	for _, s := range g.serves {
		if s.req.method() != "INVITE" || !strings.HasPrefix(s.req.get("CSeq"), cseq+" ") || s.code == 0 || s.acked {
			continue
		}
		if s.code >= 300 && topBranch(m) != topBranch(s.req) {
			continue
		}
		s.acked = true
		if s == g.accept && s.code < 300 {
			g.confirmed()
		}
	}
}

// answer sends a response; a final one to an INVITE again and again until its ACK.
func (s *serve) answer(code int, extra ...string) {
	g := s.g
	if s.code != 0 || g.dead {
		return
	}
	to := s.req.get("To")
	if code > 100 && !strings.Contains(to, ";tag=") {
		to = g.local
	}
	m := &msg{start: fmt.Sprintf("SIP/2.0 %d Model", code)}
	for _, n := range []string{"Via", "Record-Route", "From"} {
		for _, v := range s.req.all(n) {
			m.head = append(m.head, n+": "+v)
		}
	}
	m.head = append(m.head, "To: "+to, "Call-ID: "+g.t.id, "CSeq: "+s.req.get("CSeq"), fmt.Sprintf("Contact: <sip:%v>", g.box.addr))
	m.head = append(append(m.head, extra...), "Content-Length: 0")
	s.reply = m
	g.box.send(g.t, m, s.on)
	if code < 200 {
		return
	}
	s.code = code
	if s.req.method() != "INVITE" {
		return
	}
	if code < 300 || g.box.proto == transport.UDP {
		s.again(modelT1)
	}
	g.after(modelLifetime, func() {
		if !s.acked && code < 300 && g.session == sessionUp {
			g.unacked(s)
		}
	})
}

// again is timer G, and for a 2xx RFC 3261 13.3.1.4.
func (s *serve) again(interval time.Duration) {
	first := s.g.w.now()
	var next func()
	next = func() {
		if s.acked || s.g.w.now()-first >= modelLifetime || s.code < 300 && s.g.session != sessionUp {
			return
		}
		s.g.box.send(s.g.t, s.reply, s.on)
		interval = min(2*interval, modelT2)
		s.g.after(interval, next)
	}
	s.g.after(interval, next)
}

// unacked: for 64*T1 nobody has ACKed the leg's 2xx. It ends the session (13.3.1.4).
func (g *leg) unacked(s *serve) {
	if s == g.accept && !g.t.client.dead && !g.t.died {
		g.w.broke(g.t, "nobody ACKs the 2xx of %s, and nobody ends its session", g.box.name)
	}
	g.bye()
}

// bye ends the session, and says so until there is an answer.
func (g *leg) bye() {
	if g.session != sessionUp || g.dead {
		return
	}
	g.end("BYE sent")
	g.sayBye()
}

func (g *leg) sayBye() {
	g.byes++
	var a *ask
	a = g.ask(g.newRequest("BYE"), func(code int, _ *msg) {
		if a != nil && code == 408 && a.timedOut && !g.t.hurt {
			g.w.broke(g.t, "nobody answers the BYE of %s", g.box.name)
		}
	})
}

// disconnected: a connection has ended. A BYE that waits for its answer on it is said again on another, in a new
// transaction; an INVITE's answer still comes, on a connection to where the Via says.
func (g *leg) disconnected(c *wire) {
	if g.dead {
		return
	}
	var again []*ask
	for _, a := range g.asks {
		if a.on == c && a.final == nil && !a.timedOut && a.req.method() != "INVITE" {
			again = append(again, a)
		}
	}
	slices.SortFunc(again, func(a, b *ask) int { return strings.Compare(topBranch(a.req), topBranch(b.req)) })
	for _, a := range again {
		a.timedOut = true
		if a.req.method() == "BYE" && g.byes < 5 {
			g.after(time.Duration(1+g.t.dice.IntN(20))*time.Millisecond, g.sayBye)
		}
	}
}

func (g *leg) end(how string) {
	g.session = sessionOver
	g.w.log(g.t, "%s ends its session: %s", g.box.name, how)
}
