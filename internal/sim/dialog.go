package sim

import (
	"crypto/rand"
	"encoding/hex"
	"net/netip"
	"strconv"
	"time"
)

// dialog is one established session of a Server. Guarded by the Server's mu.
type dialog struct {
	key     string
	serial  int       // order of establishment
	tx      *inviteTx // the newest INVITE
	channel string    // the MRCP channel's identifier, without @resource
	engine  *engine   // of a server with MRCP
	expiry  *time.Timer

	// For the BYE, from the first INVITE.
	network  string   // the transport it came by
	target   string   // Request-URI
	routes   []string // Record-Route as it came: the order for this side (RFC 3261 12.1.1)
	from, to string
	callID   string
}

func dialogKey(callID, ours, theirs string) string { return callID + "|" + ours + "|" + theirs }

// newDialog is the session an INVITE makes. Without a Contact, as from FreeSWITCH, the
// From URI is taken for the client's address, as UniMRCP does.
func newDialog(serial int, tx *inviteTx) *dialog {
	m := tx.req
	target := m.get("Contact")
	if target == "" {
		target = m.get("From")
	}
	id := make([]byte, 8)
	_, _ = rand.Read(id) // never fails
	return &dialog{
		key:    dialogKey(m.get("Call-ID"), tx.tag, m.fromTag()),
		serial: serial, tx: tx, channel: hex.EncodeToString(id),
		network: tx.flow.network, target: uriOf(target), routes: m.list("Record-Route"),
		from: m.get("To") + ";tag=" + tx.tag, to: m.get("From"), callID: m.get("Call-ID"),
	}
}

// dialogOf is the session a request from the client belongs to, nil when there is none.
func (p *process) dialogOf(m *message) *dialog {
	return p.dialogs[dialogKey(m.get("Call-ID"), m.toTag(), m.fromTag())]
}

// overtaken reports whether a later INVITE of the client's has come before this one.
func (d *dialog) overtaken(m *message) bool {
	n, _ := m.cseq()
	last, _ := d.tx.req.cseq()
	return n < last
}

// drop forgets a session; its 200 is not repeated any more.
func (p *process) drop(d *dialog) {
	delete(p.dialogs, d.key)
	d.engine.close()
	if d.expiry != nil {
		d.expiry.Stop()
	}
	d.tx.confirmed()
	p.s.count(&p.s.stats.Sessions, -1)
}

// onAck takes the ACK of a failure, which has its INVITE's branch, and of a 2xx, which is
// found by its dialog and CSeq (RFC 3261 17.1.1.3, 13.2.2.4).
func (p *process) onAck(m *message) {
	if tx := p.invites[m.txKey("INVITE")]; tx != nil && tx.final >= 300 {
		tx.confirmed()
		return
	}
	d := p.dialogOf(m)
	if d == nil || d.tx.confirm {
		return
	}
	acked, _ := m.cseq()
	if sent, _ := d.tx.req.cseq(); acked == sent {
		if d.tx.req.toTag() == "" {
			p.s.count(&p.s.stats.Acks, 1)
		}
		d.tx.confirmed()
	}
}

func (p *process) onBye(m *message, f flow) {
	key := m.txKey("BYE")
	if raw := p.sent.sent[key]; raw != nil {
		p.sendRaw(answerFlow(m, f), raw)
		return
	}
	if p.s.fault.kind() == Silent {
		return
	}
	d, code := p.dialogOf(m), 200
	if d == nil {
		code = 481
		p.s.count(&p.s.stats.UnknownByes, 1)
	} else {
		p.s.count(&p.s.stats.Byes, 1)
		p.drop(d)
	}
	p.sent.put(key, p.send(m, f, p.respond(m, f, code, newTag())))
}

func (p *process) onUpdate(m *message, f flow) {
	code, d := 481, p.dialogOf(m)
	if d != nil {
		code = 200
		p.s.count(&p.s.stats.Refreshes, 1)
	}
	res := p.respond(m, f, code, newTag())
	if d != nil {
		p.addTimer(res, m, d)
	}
	p.send(m, f, res)
}

// hangUp forgets the session and sends its BYE.
func (p *process) hangUp(d *dialog) {
	p.drop(d)
	if p.s.fault.kind() == Silent {
		return
	}
	p.s.count(&p.s.stats.HangUps, 1)
	branch, answered := newBranch(), make(chan struct{})
	p.byes[branch] = answered
	p.wg.Go(func() { p.bye(d, branch, answered) })
}

func (p *process) onResponse(m *message) {
	if answered := p.byes[m.branch()]; answered != nil && m.code >= 200 {
		delete(p.byes, m.branch())
		p.s.count(&p.s.stats.HangUpsDone, 1)
		close(answered)
	}
}

// bye sends d's BYE by its route set and, over UDP, repeats it until it is answered
// (Timers E and F).
func (p *process) bye(d *dialog, branch string, answered chan struct{}) {
	defer func() {
		p.s.mu.Lock()
		defer p.s.mu.Unlock()
		delete(p.byes, branch)
	}()
	next := d.target
	if len(d.routes) > 0 {
		next = uriOf(d.routes[0])
	}
	network, to, err := locate(next, d.network)
	if err != nil {
		return
	}
	raw := p.byeRequest(d, branch, network).bytes()
	end := time.NewTimer(t1ToEnd * p.s.o.T1)
	defer end.Stop()
	for wait := p.s.o.T1; ; wait = min(2*wait, t1ToT2*p.s.o.T1) {
		if !p.sendBye(network, to, raw) {
			return
		}
		var again <-chan time.Time
		if network == "udp" {
			again = time.After(wait)
		}
		select {
		case <-again:
		case <-answered:
			return
		case <-end.C:
			return
		case <-p.ctx.Done():
			return
		}
	}
}

// sendBye is false when it could not be sent. A server gone silent sends nothing.
func (p *process) sendBye(network string, to netip.AddrPort, raw []byte) bool {
	p.s.mu.Lock()
	silent := p.s.fault.kind() == Silent
	p.s.mu.Unlock()
	return silent || p.ep.send(network, to, raw) == nil
}

func (p *process) byeRequest(d *dialog, branch, network string) *message {
	m := &message{method: "BYE", uri: d.target}
	m.add("Via", viaOf(network, p.ep.addr, branch))
	for _, r := range d.routes {
		m.add("Route", r)
	}
	m.add("Max-Forwards", "70")
	m.add("From", d.from)
	m.add("To", d.to)
	m.add("Call-ID", d.callID)
	m.add("CSeq", strconv.Itoa(123093000+d.serial)+" BYE")
	m.add("User-Agent", "UniMRCP SofiaSIP 1.8.0")
	m.add("Allow", allow)
	m.add("Supported", supported)
	return m
}

// viaOf is a Via as sofia-sip writes it: rport is asked for over UDP only.
func viaOf(network string, from netip.AddrPort, branch string) string {
	if network == "tcp" {
		return "SIP/2.0/TCP " + from.String() + ";branch=" + branch
	}
	return "SIP/2.0/UDP " + from.String() + ";rport;branch=" + branch
}
