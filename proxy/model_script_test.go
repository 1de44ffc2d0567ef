package proxy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// talk is one call of the model: a client's leg and one at each server that its INVITE reaches. All that chance decides in
// it comes from dice of its own, so that it does the same when other calls are left out.
type talk struct {
	w        *world
	n        int
	id       string // Call-ID
	dice     *rand.Rand
	client   *leg
	legs     []*leg // the servers'
	branches int

	loss, dup float64
	lag       time.Duration  // the most that a message takes
	drops     map[string]int // how many of a kind were lost in a row
	budget    int            // how many more may be lost
	hurt      bool           // a closed connection has swallowed a message
	died      bool           // a server that was asked has died

	rules
}

func pick[T any](t *talk, of ...T) T { return of[t.dice.IntN(len(of))] }

// some is a length of time around one of those given.
func (t *talk) some(of ...time.Duration) time.Duration {
	d := pick(t, of...)
	return d/2 + time.Duration(t.dice.Int64N(int64(d)))
}

// chance is true p times in a hundred.
func (t *talk) chance(p int) bool { return t.dice.IntN(100) < p }

func (w *world) newTalk(n int) *talk {
	t := &talk{w: w, n: n, id: fmt.Sprintf("call%d", n), dice: rand.New(rand.NewPCG(w.seed, uint64(n))), drops: map[string]int{}}
	t.loss = pick(t, 0, 0, 0.05, 0.2, 0.5)
	t.dup = pick(t, 0, 0.05, 0.3)
	t.lag = pick(t, time.Millisecond, 20*time.Millisecond, 100*time.Millisecond, 600*time.Millisecond)
	t.budget = 8
	t.rules.init()
	w.talks[t.id] = t
	return t
}

// start sends the client's INVITE and decides what else the client will do.
func (t *talk) start() {
	w := t.w
	h := pick(t, w.clients...)
	g := &leg{w: w, t: t, box: h, asks: map[string]*ask{}, serves: map[string]*serve{}}
	g.local = fmt.Sprintf("<sip:%v>;tag=c%d", h.addr, t.n)
	g.remote = "<sip:127.0.0.110:5060>"
	g.target = "sip:127.0.0.110:5060"
	t.client, h.dialogs[t.id] = g, g
	inv := g.newRequest("INVITE")
	if t.chance(70) {
		inv.set("Contact", fmt.Sprintf("<sip:%v>", h.addr))
	}
	g.invite = g.ask(inv, func(code int, m *msg) { g.answered(code, m) })
	if t.chance(20) {
		g.after(t.some(20*time.Millisecond, 600*time.Millisecond, 3*time.Second), func() {
			if g.session == sessionNone && g.invite.final == nil {
				g.wantBye = true
				g.cancel(g.invite)
			}
		})
	}
	if t.chance(6) {
		g.after(t.some(50*time.Millisecond, time.Second, 5*time.Second, 20*time.Second), func() {
			w.log(t, "the client dies")
			g.dead = true
			for _, s := range t.legs { // its MRCP connection breaks, which the server sees
				s.whenAlone()
			}
		})
	}
	g.after(modelLifetime+8*time.Second, func() { // longer than anything it may have to wait for
		if g.invite.final == nil && !g.invite.timedOut {
			if !t.hurt && !t.died {
				w.broke(t, "no final response to the INVITE")
			}
			g.invite.timeout()
		}
	})
}

// answered is the client's INVITE's end.
func (g *leg) answered(code int, m *msg) {
	if m == nil || code >= 300 {
		if g.invite.timedOut {
			g.wantBye = true // if a 2xx comes after all
		}
		return
	}
	t := g.t
	g.remote, g.target = m.get("To"), uriOf(m.get("Contact"))
	g.routes = m.all("Record-Route")
	slices.Reverse(g.routes)
	g.session = sessionUp
	ack := g.newRequest("ACK")
	g.invite.ack = ack
	g.box.send(t, ack, g.on)
	if g.wantBye {
		g.after(time.Duration(t.dice.Int64N(int64(50*time.Millisecond))), g.bye)
		return
	}
	hold := t.some(time.Millisecond, time.Second, 10*time.Second, 40*time.Second)
	g.after(hold, g.bye)
	if t.chance(25) {
		g.after(t.some(hold), g.reinvite)
	}
}

// answering is a server's leg for what has come: an INVITE, or something that belongs to no dialog of its.
func (h *box) answering(t *talk, m *msg, on *wire) *leg {
	g := &leg{w: h.w, t: t, box: h, on: on, asks: map[string]*ask{}, serves: map[string]*serve{}, cseq: 100}
	if m.method() != "INVITE" || strings.Contains(m.get("To"), ";tag=") {
		return g
	}
	h.w.tags++
	g.local = m.get("To") + fmt.Sprintf(";tag=%s-%d", h.name, h.w.tags)
	g.remote = m.get("From")
	g.target = uriOf(m.get("From"))
	if c := m.get("Contact"); c != "" {
		g.target = uriOf(c)
	}
	g.routes = m.all("Record-Route")
	h.dialogs[t.id] = g
	t.legs = append(t.legs, g)
	return g
}

// invited is what a server does with an INVITE.
func (g *leg) invited(s *serve) {
	t := g.t
	if g.accept != nil {
		g.w.broke(t, "%s got the INVITE of a call on two branches (RFC 3261 8.2.2.2):\n%s\nand\n%s", g.box.name, g.accept.req, s.req)
		return
	}
	g.accept = s
	if t.chance(10) {
		return // not a word
	}
	if t.chance(35) {
		s.answer(pick(t, 100, 100, 180, 183))
	}
	if t.chance(5) {
		return // nor a final one
	}
	g.after(t.some(4*time.Millisecond, 4*time.Millisecond, 100*time.Millisecond, 600*time.Millisecond, 2*time.Second, 15*time.Second), func() {
		if t.chance(70) {
			g.take(s)
			return
		}
		s.answer(pick(t, 404, 406, 408, 480, 486, 488, 500, 503, 603), "Retry-After: "+strconv.Itoa(t.dice.IntN(3)))
	})
	if t.chance(15) {
		g.after(t.some(100*time.Millisecond, time.Second), func() { s.answer(180) })
	}
}

// take is the server's 200.
func (g *leg) take(s *serve) {
	if s.code != 0 {
		return
	}
	g.session = sessionUp
	var extra []string
	if g.t.chance(30) {
		extra = append(extra, "Session-Expires: 90;refresher=uac")
	}
	s.answer(200, extra...)
}

// confirmed is the ACK to the server's 200.
func (g *leg) confirmed() {
	t := g.t
	if g.session != sessionUp {
		return
	}
	g.whenAlone()
	if t.chance(30) {
		g.after(t.some(2*time.Millisecond, time.Second, 10*time.Second), g.bye)
	}
	if t.chance(10) {
		g.after(t.some(time.Second, 10*time.Second), g.reinvite)
	}
}

// whenAlone has a server end the session of a client that is gone.
func (g *leg) whenAlone() {
	if g.t.client.dead && g.accept != nil && g.accept.acked {
		g.after(g.t.some(time.Second), g.bye)
	}
}

// cancelled is a CANCEL at a server, or for a re-INVITE at either side (9.2).
func (g *leg) cancelled(c *serve) {
	s := g.serves[topBranch(c.req)+"INVITE"]
	if s == nil {
		c.answer(481)
		return
	}
	c.answer(200)
	if g.t.chance(95) {
		s.answer(487)
	}
}

// reinvite refreshes the session from the leg's side.
func (g *leg) reinvite() {
	if g.session != sessionUp || g.dead || g.pending() {
		return
	}
	var a *ask
	a = g.ask(g.newRequest("INVITE"), func(code int, m *msg) {
		switch {
		case m != nil && code < 300:
			ack := g.newRequest("ACK")
			a.ack = ack.set("CSeq", strings.Replace(a.req.get("CSeq"), "INVITE", "ACK", 1))
			g.box.send(g.t, a.ack, g.on)
		case code == 408 || code == 481:
			g.bye()
		}
	})
	if g.t.dice.IntN(4) == 0 {
		g.after(time.Duration(g.t.dice.Int64N(int64(2*time.Second))), func() { g.cancel(a) })
	}
}

// pending reports whether a re-INVITE of its own waits for an answer.
func (g *leg) pending() bool {
	for _, a := range g.asks {
		if a.req.method() == "INVITE" && a.final == nil && !a.timedOut {
			return true
		}
	}
	return false
}

func (g *leg) reinvited(s *serve) {
	if g.pending() {
		s.answer(491)
		return
	}
	if g.t.dice.IntN(3) == 0 {
		s.answer(100)
	}
	g.after(g.t.some(4*time.Millisecond, 200*time.Millisecond, 2*time.Second, 6*time.Second), func() {
		if g.session == sessionUp {
			s.answer(pick(g.t, 200, 200, 200, 488))
		} else {
			s.answer(481)
		}
	})
}

// cancel takes an INVITE back, as soon as a provisional response allows it (9.1).
func (g *leg) cancel(a *ask) {
	if a.final != nil || a.timedOut {
		return
	}
	if !a.provisional {
		a.heard = func() { g.cancel(a) }
		return
	}
	m := a.req.clone().rename("CANCEL")
	m.set("Via", a.req.all("Via")[0]).without("Contact")
	g.ask(m, func(int, *msg) {})
}
