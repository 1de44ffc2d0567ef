package proxy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"mrcproxy/proxy/transport"
)

// box is a machine of the model: a client or a server, at one address and over one transport.
type box struct {
	w       *world
	name    string
	proto   transport.Proto
	addr    netip.AddrPort // its UDP socket, or the port that it listens on
	client  bool
	down    bool          // its process is dead
	quiet   bool          // of a dead one: nobody says so, neither ICMP nor a reset
	last    time.Duration // when its connections were closed
	port    uint16        // the last ephemeral one
	wires   []*wire
	dialogs map[string]*leg // by Call-ID
}

// wire is a TCP connection between a box and the proxy.
type wire struct {
	id      uint64
	box     *box
	remote  netip.AddrPort // as the proxy sees the box
	open    bool           // as the box sees it
	reset   bool           // what is under way in it is lost in both directions
	known   bool           // the proxy takes it for open
	toBox   time.Duration  // when the last message arrives
	toProxy time.Duration
}

// The model's network, as package transport looks from the proxy.

func (w *world) Send(f transport.Flow, b []byte) (uint64, error) {
	if int(f.Local) >= len(w.p.listeners) || w.p.listeners[f.Local].proto != f.Proto || !f.Remote.IsValid() {
		return 0, errFlow
	}
	m := parse(w.l, string(b))
	m.flow = f
	t := w.talks[m.get("Call-ID")]
	if t == nil {
		w.broke(nil, "a message of no call:\n%s", m)
		return 0, nil
	}
	if f.Proto == transport.UDP {
		h := w.boxes[boxKey{f.Proto, f.Remote}]
		if h == nil {
			w.broke(t, "sent to %v, where nobody is:\n%s", f.Remote, m)
			return 0, nil
		}
		w.sent(t, h, m)
		w.datagram(t, h, m)
		return 0, nil
	}
	c := w.known(f)
	if c == nil {
		c = w.dial(f.Remote)
	}
	w.sent(t, c.box, m)
	c.toBox = max(c.toBox, w.now()+w.delay(t))
	w.at(c.toBox, func() {
		if !c.open {
			w.lostOn(t, c, m)
			return
		}
		w.arrive(t, c.box, m, c)
	})
	return c.id, nil
}

func (w *world) Find(proto transport.Proto, remote netip.AddrPort) (uint64, bool) {
	if proto != transport.UDP {
		if c := w.known(transport.Flow{Remote: remote}); c != nil {
			return c.id, true
		}
	}
	return 0, false
}

// known is the connection that a flow names, or one to its remote address.
func (w *world) known(f transport.Flow) *wire {
	if c := w.wires[f.Conn]; c != nil && c.known {
		return c
	}
	for id := w.lastWire; id > 0; id-- { // not by the map's order
		if c := w.wires[id]; c != nil && c.known && c.remote == f.Remote {
			return c
		}
	}
	return nil
}

// dial is the proxy's connecting to an address.
func (w *world) dial(to netip.AddrPort) *wire {
	h := w.boxes[boxKey{transport.TCP, to}]
	switch {
	case h == nil:
		h = w.nobody
	case !h.down:
		return w.wire(h, to)
	}
	c := w.wire(h, to)
	c.open = false
	wait := 2 * time.Millisecond
	if h.quiet {
		wait = 800 * time.Millisecond // the time limit of a connect
	}
	w.at(w.now()+wait, func() { w.gone(c, syscall.ECONNREFUSED) })
	return c
}

func (w *world) wire(h *box, remote netip.AddrPort) *wire {
	w.lastWire++
	c := &wire{id: w.lastWire, box: h, remote: remote, open: true, known: true}
	w.wires[c.id] = c
	h.wires = append(h.wires, c)
	return c
}

// close ends a box's connection; what is under way is lost, to the box always, from it when it resets.
func (w *world) close(c *wire, reset bool) {
	if !c.open {
		return
	}
	c.open, c.reset = false, reset
	at := w.now() + 5*time.Millisecond
	if !reset {
		at = max(at, c.toProxy)
	}
	w.at(at, func() { w.gone(c, errors.New("closed")) })
	for _, g := range c.box.legs() {
		g.disconnected(c)
	}
}

// gone is the proxy's noticing that a connection has ended.
func (w *world) gone(c *wire, err error) {
	if !c.known {
		return
	}
	c.known = false
	c.box.wires = slices.DeleteFunc(c.box.wires, func(o *wire) bool { return o == c })
	delete(w.wires, c.id)
	w.emitted = w.emitted[:0]
	w.p.Closed(c.id, c.remote, err)
}

// lostOn notes a message that a closed connection has swallowed: TCP does not repeat it.
func (w *world) lostOn(t *talk, c *wire, m *msg) {
	t.hurt = true
	w.log(t, "lost with connection %d of %s: %s", c.id, c.box.name, brief(m))
}

// send is a box's sending to the proxy: over TCP on the connection given while that is open, else on its own, else on a
// new one.
func (h *box) send(t *talk, m *msg, on *wire) *wire {
	w := h.w
	if h.down {
		return nil
	}
	w.log(t, "%s sends %s", h.name, brief(m))
	raw := []byte(m.String())
	flow := transport.Flow{Proto: h.proto, Remote: h.addr}
	if h.proto == transport.UDP {
		w.fate(t, h.name+">"+kindOf(m), func(delay time.Duration) {
			w.at(w.now()+delay, func() { w.receive(t, h, m, raw, flow) })
		})
		return nil
	}
	c := on
	if c == nil || !c.open {
		c = h.connection()
	}
	flow.Local, flow.Conn, flow.Remote = 1, c.id, c.remote
	c.toProxy = max(c.toProxy, w.now()+w.delay(t))
	w.at(c.toProxy, func() {
		if c.reset {
			w.lostOn(t, c, m)
			return
		}
		w.receive(t, h, m, raw, flow)
	})
	return c
}

// connection is the box's open connection that it has had for longest, or a new one.
func (h *box) connection() *wire {
	for _, c := range h.wires {
		if c.open {
			return c
		}
	}
	return h.connect()
}

func (h *box) connect() *wire {
	h.port++
	return h.w.wire(h, netip.AddrPortFrom(h.addr.Addr(), h.port))
}

// datagram carries a message from the proxy to a box.
func (w *world) datagram(t *talk, h *box, m *msg) {
	w.fate(t, ">"+h.name+kindOf(m), func(delay time.Duration) {
		w.at(w.now()+delay, func() {
			if h.down && !h.quiet {
				w.emitted = w.emitted[:0]
				w.p.Unreachable([]byte(m.String()), h.addr, syscall.ECONNREFUSED)
			}
			w.arrive(t, h, m, nil)
		})
	})
}

// fate decides what becomes of a datagram: it is lost, or arrives once or twice, after a delay of its own each time. Of
// those of a kind in a call it loses two in a row at the most: retransmissions get through in the end.
func (w *world) fate(t *talk, kind string, deliver func(time.Duration)) {
	if t.dice.Float64() < t.loss && t.drops[kind] < 2 && t.budget > 0 {
		t.drops[kind]++
		t.budget--
		w.log(t, "lost: %s", kind)
		return
	}
	t.drops[kind] = 0
	deliver(w.delay(t))
	if t.dice.Float64() < t.dup {
		deliver(w.delay(t))
	}
}

func (w *world) delay(t *talk) time.Duration {
	return time.Duration(1 + t.dice.Int64N(int64(t.lag)))
}

// arrive gives a message to a box.
func (w *world) arrive(t *talk, h *box, m *msg, on *wire) {
	if h.down || h == w.nobody {
		return
	}
	w.log(t, "%s gets %s", h.name, brief(m))
	g := h.dialogs[t.id]
	if g == nil {
		if h.client || m.start[:4] == "SIP/" {
			return
		}
		g = h.answering(t, m, on)
	}
	if m.start[:4] == "SIP/" {
		g.response(m)
	} else {
		g.request(m, on)
	}
}

// die ends a box's process, with all that it knew.
func (h *box) die(quiet bool) {
	h.w.log(nil, "%s dies", h.name)
	h.quiet = quiet
	for _, c := range slices.Clone(h.wires) {
		h.w.close(c, true)
	}
	for _, g := range h.legs() {
		g.dead = true
		g.t.died = true
		if g.session == sessionUp {
			g.end("died")
		}
	}
	h.down, h.dialogs = true, map[string]*leg{}
}

// legs are the box's dialogs in the order of their calls.
func (h *box) legs() []*leg {
	var all []*leg
	for _, g := range h.dialogs {
		all = append(all, g)
	}
	slices.SortFunc(all, func(a, b *leg) int { return a.t.n - b.t.n })
	return all
}

// kindOf is what the losses of a message and its retransmissions are counted by.
func kindOf(m *msg) string { return m.start[:min(11, len(m.start))] + m.get("CSeq") }

func brief(m *msg) string {
	s := fmt.Sprintf("%.40s [%s] %.90s", m.start, m.get("CSeq"), m.get("Via"))
	if _, tag, ok := cutTag(m.get("To")); ok {
		s += " to-tag " + tag
	}
	return s
}
