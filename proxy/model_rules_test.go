package proxy

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"mrcproxy/internal/session"
	"mrcproxy/proxy/transaction"
	"mrcproxy/proxy/transport"
)

// rules is what the model remembers of a call to hold the proxy against.
type rules struct {
	asked   map[string]string        // server: branch of the INVITE that it was sent
	answers map[string]string        // INVITE, by CSeq and the side that sent it: its final response
	entered map[string]bool          // requests that the proxy has got: branch, sender and method
	final   map[string]time.Duration // INVITE, by branch: when the first final response reached the proxy
}

func (r *rules) init() {
	r.asked, r.answers, r.entered, r.final = map[string]string{}, map[string]string{}, map[string]bool{}, map[string]time.Duration{}
}

// emission is a message that the proxy has sent.
type emission struct {
	t   *talk
	box *box
	m   *msg
}

// sent holds every message that the proxy sends against what may be sent.
func (w *world) sent(t *talk, h *box, m *msg) {
	w.emitted = append(w.emitted, emission{t, h, m})
	if h == w.nobody {
		return
	}
	if m.start[:4] == "SIP/" {
		w.sentResponse(t, h, m)
		return
	}
	if m.method() == "INVITE" && !strings.Contains(m.get("To"), ";tag=") {
		if h.client {
			w.broke(t, "an INVITE is sent to a client:\n%s", m)
		}
		if was := t.asked[h.name]; was != "" && was != topBranch(m) {
			w.broke(t, "%s is asked twice, on branches %s and %s", h.name, was, topBranch(m))
		}
		t.asked[h.name] = topBranch(m)
	}
}

func (w *world) sentResponse(t *talk, h *box, m *msg) {
	cseq := m.get("CSeq")
	if !strings.HasSuffix(cseq, " INVITE") {
		return
	}
	key, final := h.name+" "+cseq, fmt.Sprintf("%d %s", m.code(), m.get("To"))
	switch was := t.answers[key]; {
	case was == "" && m.code() >= 200:
		t.answers[key] = final
	case was != "" && m.code() < 200:
		w.broke(t, "%d is sent after %s", m.code(), was)
	case was != "" && was != final:
		w.broke(t, "%s is sent after %s", final, was)
	}
}

// receive gives the proxy a message, and looks at what it does with it.
func (w *world) receive(t *talk, h *box, m *msg, raw []byte, from transport.Flow) {
	w.log(t, "the proxy gets %s", brief(m))
	key := h.name + topBranch(m) + m.start[:7]
	first := !t.entered[key]
	if m.start[:4] != "SIP/" {
		t.entered[key] = true
	}
	method, inDialog := m.method(), len(m.all("Route")) > 0
	initial := method == "INVITE" && !inDialog
	if initial && first {
		w.placing++
		w.at(w.now()+w.deadline+50*time.Millisecond, func() {
			if t.answers[h.name+" "+m.get("CSeq")] == "" {
				w.broke(t, "no final response within the deadline")
			}
		})
	}
	w.emitted = w.emitted[:0]
	w.p.Receive(raw, from)
	switch {
	case method == "SIP/2.0" && m.code()/100 == 2 && strings.HasSuffix(m.get("CSeq"), " INVITE"):
		w.took2xx(t, h, m)
	case method == "SIP/2.0" && m.code() >= 300 && strings.HasSuffix(m.get("CSeq"), " INVITE"):
		w.tookFailure(t, h, m)
	case method == "ACK" && inDialog && !t.entered[h.name+topBranch(m)+"INVITE "]: // the others are for a failure
		if n := w.count(t, h, "ACK", m); n != 1 {
			w.broke(t, "an ACK is sent on %d times:\n%s", n, m)
		}
	case method == "BYE" || method == "INVITE" && inDialog:
		want := 0
		if first {
			want = 1
		}
		if n := w.count(t, h, method, m); n != want {
			w.broke(t, "%s is sent on %d times, first %v:\n%s", method, n, first, m)
		}
	}
	if !first && method != "ACK" && method != "SIP/2.0" && method != "CANCEL" {
		for _, e := range w.emitted {
			if e.box != h || e.m.start[:4] != "SIP/" {
				w.broke(t, "a retransmission of %s makes the proxy send %s", brief(m), brief(e.m))
			}
		}
	}
}

// count is how often the request m has just gone on to the other side.
func (w *world) count(t *talk, from *box, method string, m *msg) (n int) {
	for _, e := range w.emitted {
		if e.t == t && e.m.method() == method && e.m.get("CSeq") == m.get("CSeq") && e.box.client != from.client && e.m.get("To") == m.get("To") {
			n++
		}
	}
	return n
}

// took2xx: the 2xx goes to who has asked, or the session that it began is ended with an ACK and a BYE.
func (w *world) took2xx(t *talk, h *box, m *msg) {
	passed, acked := 0, 0
	for _, e := range w.emitted {
		switch {
		case e.t != t:
		case e.m.start == m.start && e.box.client != h.client && e.m.get("To") == m.get("To"):
			passed++
		case e.m.method() == "ACK" && e.box == h:
			acked++
		}
	}
	since, known := t.final[topBranch(m)]
	if !known {
		t.final[topBranch(m)] = w.now()
	}
	if passed+acked == 1 || known && w.now()-since >= modelLifetime { // timers L and M
		return
	}
	other := "c" + strconv.Itoa(t.n)
	if !strings.Contains(m.get("From"), ";tag="+other) || m.get("CSeq") != t.client.invite.req.get("CSeq") {
		// In the dialog: the other side has had a final response meanwhile, and ends the session.
		for key, f := range t.answers {
			if strings.HasSuffix(key, " "+m.get("CSeq")) && f[0] != '2' {
				return
			}
		}
	}
	w.broke(t, "a 2xx is passed on %d times and ACKed %d times:\n%s", passed, acked, m)
}

// tookFailure: a non-2xx is ACKed by who gets it, each time (17.1.1.3).
func (w *world) tookFailure(t *talk, h *box, m *msg) {
	since, known := t.final[topBranch(m)]
	if !known {
		t.final[topBranch(m)] = w.now()
	}
	n := 0
	for _, e := range w.emitted {
		if e.t == t && e.box == h && e.m.method() == "ACK" {
			n++
		}
	}
	if n != 1 && !(known && (h.proto == transport.TCP || w.now()-since >= modelLifetime) || t.hurt || t.died) { // timer D
		w.broke(t, "a failure is ACKed %d times:\n%s", n, m)
	}
}

// ended is the proxy's end of a session, which gives its lease back.
func (w *world) ended(ses *session.Session, why session.Reason) {
	w.l.onEnd(ses, why)
	t := w.talks[ses.CallID]
	if t == nil || why == session.TooLong || why == session.Expired {
		return
	}
	for _, g := range t.legs {
		if g.box.addr == ses.Backend().Addr() && g.session == sessionUp && !g.dead && t.client.session == sessionUp && !t.client.dead && t.client.sameDialog(g.accept.reply.swap()) {
			w.broke(t, "the proxy ends the session with %s (%v), and nobody else does", g.box.name, why)
		}
	}
}

// swap is a response's dialog as its sender's requests name it.
func (m *msg) swap() *msg { return &msg{head: []string{"From: " + m.get("To")}} }

// check is what holds at all times.
func (w *world) check() {
	leases := 0
	for _, b := range w.l.bal.Backends() {
		n := b.Sessions()
		leases += n
		if w.capacity > 0 && n > w.capacity || n < 0 {
			w.broke(nil, "%v has %d leases, its capacity is %d", b.Addr(), n, w.capacity)
		}
	}
	placing := w.placing - len(w.l.obs.invites)
	if sessions := w.l.table.Len(); leases != sessions+placing {
		w.broke(nil, "%d leases for %d sessions and %d calls in placement", leases, sessions, placing)
	}
	if n := w.l.obs.dropped[DropPanic]; n != 0 {
		w.broke(nil, "%d panics", n)
	}
}

// nothingLeft is what holds when all is over.
func (w *world) nothingLeft() {
	if n := w.p.Transactions(); n != 0 {
		w.broke(nil, "%d transactions are left", n)
	}
	if n := w.l.table.Len() + w.l.leases(); n != 0 {
		w.broke(nil, "%d sessions and %d leases are left", w.l.table.Len(), w.l.leases())
	}
	if len(w.l.obs.invites) != w.placing {
		w.broke(nil, "%d INVITEs came, %d were answered", w.placing, len(w.l.obs.invites))
	}
	w.p.used.Range(func(id, _ any) bool {
		if w.wires[id.(uint64)] == nil {
			w.broke(nil, "connection %v is remembered", id)
		}
		return true
	})
	for i := range w.next {
		t := w.talks["call"+strconv.Itoa(i)]
		if t == nil {
			continue
		}
		for _, g := range append([]*leg{t.client}, t.legs...) {
			if g.session == sessionUp && !g.dead {
				w.broke(t, "%s still has its session", g.box.name)
			}
		}
		if inv := t.client.invite; !t.client.dead && inv.final == nil && !t.hurt && !t.died {
			w.broke(t, "no final response to the INVITE")
		}
	}
}

// A boxKey finds a box by where messages to it go.
type boxKey struct {
	proto  transport.Proto
	remote netip.AddrPort
}

// tick is the proxy's clock. What is due at once is done in the order of the calls, so that a seed always makes the same run.
func (w *world) tick() {
	type due struct {
		s     *shard
		pr    *pair
		id    transaction.ID
		order string
	}
	var all []due
	w.p.txs.Tick(w.p.now(), func(s *shard, pr *pair) {
		all = append(all, due{s, pr, pr.ID, string(pr.Data.msg) + "|" + string(pr.Data.reply)})
	})
	sortBy(all, func(d due) string { return d.order })
	for _, d := range all {
		d.s.Lock()
		if d.pr.ID == d.id {
			w.emitted = w.emitted[:0]
			w.p.fire(d.s, d.pr)
		}
		d.s.Unlock()
	}
}
