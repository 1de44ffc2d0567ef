package sim

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// inviteTx is an INVITE server transaction, from the INVITE until it has lingered. Guarded
// by the Server's mu.
type inviteTx struct {
	key     string
	req     *message
	flow    flow   // of the newest copy of the INVITE
	tag     string // our To tag
	ignored bool   // by Silent or Zombie: nothing was sent and no session kept
	holds   bool   // counts in process.pending
	last    []byte // the newest response, sent again for every copy of the INVITE
	final   int    // 0 before the final
	dlg     *dialog
	decided chan struct{} // closed when the final is sent
	acked   chan struct{} // closed by the ACK
	confirm bool          // acked is closed
}

func (tx *inviteTx) confirmed() {
	if !tx.confirm {
		tx.confirm = true
		close(tx.acked)
	}
}

func (p *process) onInvite(m *message, f flow) {
	k := p.s.fault.kind()
	ignore := k == Silent || k == Zombie
	tx := p.invites[m.txKey("INVITE")]
	if tx != nil {
		tx.flow = f
		p.s.count(&p.s.stats.Retransmits, 1)
		if tx.last != nil {
			p.sendRaw(answerFlow(tx.req, f), tx.last)
		}
		if !tx.ignored || ignore {
			return
		}
		tx.ignored = false // it woke up: as if this were the first copy
	} else {
		tx = &inviteTx{
			key: m.txKey("INVITE"), req: m, flow: f, tag: newTag(), ignored: ignore,
			decided: make(chan struct{}), acked: make(chan struct{}),
		}
		p.invites[tx.key] = tx
		if m.toTag() == "" {
			p.s.count(&p.s.stats.Invites, 1)
		}
		if ignore {
			p.old.add(func() { delete(p.invites, tx.key) })
			return
		}
	}
	if m.toTag() != "" {
		p.reInvite(tx)
		return
	}
	p.initial(tx)
}

// initial decides a new INVITE.
func (p *process) initial(tx *inviteTx) {
	fault := p.s.fault
	if code, extra := p.refusal(tx); code != 0 {
		p.refuse(tx, code, extra)
		return
	}
	if !p.s.o.NoTrying || fault.kind() == Slow {
		tx.last = p.send(tx.req, tx.flow, p.respond(tx.req, tx.flow, 100, ""))
	}
	if fault.kind() == Slow {
		return
	}
	p.pending++
	tx.holds = true
	after := max(p.s.o.AnswerAfter, fault.late())
	if after <= 0 {
		p.accept(tx)
		return
	}
	p.wg.Go(func() {
		select {
		case <-time.After(after):
		case <-tx.decided: // by CANCEL
			return
		case <-p.ctx.Done():
			return
		}
		p.s.mu.Lock()
		defer p.s.mu.Unlock()
		if !p.dead && tx.final == 0 {
			p.accept(tx)
		}
	})
}

// refusal is the code a new INVITE is refused with, 0 when it is taken, in UniMRCP's order.
func (p *process) refusal(tx *inviteTx) (code int, extra header) {
	m, fault := tx.req, p.s.fault
	id := m.get("Call-ID") + "|" + m.fromTag() + "|" + m.get("CSeq")
	if other, ok := p.merged[id]; ok && other != tx.key { // RFC 3261 8.2.2.2
		p.s.count(&p.s.stats.Merged, 1)
		return 482, header{}
	}
	p.merged[id] = tx.key
	p.old.add(func() { delete(p.merged, id) })
	switch fault.kind() {
	case Offline:
		return 503, header{}
	case refusing:
		if fault.retry() > 0 {
			extra = header{"Retry-After", strconv.Itoa(fault.retry())}
		}
		return fault.code(), extra
	}
	for _, r := range m.list("Require") {
		if !strings.EqualFold(r, "timer") && !strings.EqualFold(r, "100rel") {
			return 420, header{"Unsupported", r}
		}
	}
	offer, _ := parseSDP(m.body)
	wanted := resources(offer)
	if len(wanted) == 0 {
		return 400, header{}
	}
	for _, r := range wanted {
		if r == "" || p.s.o.Resource != "" && r != p.s.o.Resource {
			return 404, header{}
		}
	}
	if c := p.s.o.Capacity; c > 0 && p.pending+len(p.dialogs) >= c {
		return 406, header{}
	}
	return 0, header{}
}

func (p *process) refuse(tx *inviteTx, code int, extra header) {
	res := p.respond(tx.req, tx.flow, code, tx.tag)
	if extra.name != "" {
		res.add(extra.name, extra.value)
	}
	p.s.count(&p.s.stats.Refused, 1)
	p.finish(tx, res)
}

// accept answers 200 and makes the session.
func (p *process) accept(tx *inviteTx) {
	var e *engine
	if p.mrcp != nil {
		var err error
		if e, err = p.newEngine(parseSDP(tx.req.body)); err != nil {
			p.refuse(tx, 500, header{})
			return
		}
	}
	p.serial++
	tx.dlg = newDialog(p.serial, tx)
	tx.dlg.engine = e
	p.dialogs[tx.dlg.key] = tx.dlg
	p.s.count(&p.s.stats.Answered, 1)
	p.s.count(&p.s.stats.Sessions, 1)
	p.finish(tx, p.okInvite(tx))
}

// reInvite answers a refresh as the first INVITE was answered.
func (p *process) reInvite(tx *inviteTx) {
	d := p.dialogOf(tx.req)
	switch {
	case d == nil:
		p.refuse(tx, 481, header{})
	case p.s.fault.kind() == Offline:
		p.refuse(tx, 503, header{})
	case d.overtaken(tx.req): // RFC 3261 12.2.2
		p.refuse(tx, 500, header{})
	default:
		tx.dlg, d.tx = d, tx
		p.s.count(&p.s.stats.Refreshes, 1)
		p.finish(tx, p.okInvite(tx))
	}
}

func (p *process) okInvite(tx *inviteTx) *message {
	res := p.respond(tx.req, tx.flow, 200, tx.tag)
	p.addTimer(res, tx.req, tx.dlg)
	res.add("Content-Type", "application/sdp")
	res.add("Content-Disposition", "session")
	offer, _ := parseSDP(tx.req.body)
	audio := 0
	if e := tx.dlg.engine; e != nil {
		audio = e.port()
	}
	res.body = answerSDP(offer, p.ep.addr.Addr(), p.mrcpPort(), audio, tx.dlg.channel)
	return res
}

// addTimer accepts session timers (RFC 4028 9), the client being the refresher; a shorter
// interval asked for is taken. The session's time begins anew.
func (p *process) addTimer(res, req *message, d *dialog) {
	if !strings.Contains(strings.Join(req.list("Supported"), ","), "timer") {
		return
	}
	secs := int(p.s.o.SessionExpires / time.Second)
	asked, _, _ := strings.Cut(req.get("Session-Expires"), ";")
	if n, err := strconv.Atoi(strings.TrimSpace(asked)); err == nil && n > 0 && n < secs {
		secs = n
	}
	res.add("Require", "timer")
	res.add("Session-Expires", fmt.Sprintf("%d;refresher=uac", secs))
	if p.s.o.Expire {
		p.expireIn(d, time.Duration(secs)*time.Second)
	}
}

// expireIn ends the session with a BYE when the interval has passed but for the third that RFC 4028 10 recommends, at most
// 32 s, and nobody has refreshed it.
func (p *process) expireIn(d *dialog, interval time.Duration) {
	if d.expiry != nil {
		d.expiry.Stop()
	}
	var t *time.Timer
	t = time.AfterFunc(interval-min(32*time.Second, interval/3), func() {
		p.s.mu.Lock()
		defer p.s.mu.Unlock()
		if p.dead || d.expiry != t || p.dialogs[d.key] != d { // or it has been refreshed just now
			return
		}
		p.s.count(&p.s.stats.Expired, 1)
		p.hangUp(d)
	})
	d.expiry = t
}

// finish sends the final and repeats it until the ACK.
func (p *process) finish(tx *inviteTx, res *message) {
	if tx.holds {
		p.pending--
		tx.holds = false
	}
	tx.final = res.code
	tx.last = p.send(tx.req, tx.flow, res)
	close(tx.decided)
	p.old.add(func() { delete(p.invites, tx.key) })
	p.wg.Go(func() { p.untilAck(tx) })
}

// untilAck sends the final again over UDP, after T1 doubling to T2 (RFC 3261 13.3.1.4 and
// Timer G). A 200 without ACK ends its session with BYE after 64*T1.
func (p *process) untilAck(tx *inviteTx) {
	t1 := p.s.o.T1
	again, wait := time.NewTimer(t1), t1
	defer again.Stop()
	end := time.NewTimer(t1ToEnd * t1)
	defer end.Stop()
	for {
		select {
		case <-tx.acked:
			return
		case <-p.ctx.Done():
			return
		case <-again.C:
			p.s.mu.Lock()
			if tx.flow.network == "udp" && !p.dead {
				p.sendRaw(answerFlow(tx.req, tx.flow), tx.last)
			}
			p.s.mu.Unlock()
			wait = min(2*wait, t1ToT2*t1)
			again.Reset(wait)
		case <-end.C:
			p.s.mu.Lock()
			defer p.s.mu.Unlock()
			d := tx.dlg
			if d != nil && p.dialogs[d.key] == d && d.tx == tx && !p.dead { // or a refresh behind it was ACKed
				p.hangUp(d)
			}
			return
		}
	}
}
