package proxy

import (
	"strconv"
	"strings"
	"time"

	"mrcproxy/balancer"
	"mrcproxy/internal/session"
	"mrcproxy/proxy/message"
	"mrcproxy/proxy/transaction"
	"mrcproxy/proxy/transport"
)

// open makes the pair of a request and its server transaction; nil when the table is full, with the request refused.
func (p *Proxy) open(s *shard, key uint64, w *worker, from transport.Flow, k kind) *pair {
	m := &w.m
	pr := s.Open(key, k == relayed) // what belongs to a session, a BYE above all, has room when new calls have none
	if pr == nil {
		p.refuse(w, from, 503, "Retry-After: 5\r\n", DropOverload)
		return nil
	}
	pr.Server.Start(m.Method == message.Invite, from.Proto.Reliable())
	d := &pr.Data
	d.kind, d.method, d.from, d.replyPort = k, m.Method, from, replyPort(m, from)
	d.msg = s.Keep(m.Raw[:m.End])
	d.loop = p.loopHash(m, from.Remote.Addr())
	s.Arm(pr, p.now()+transaction.Lifetime) // whatever goes wrong from here on, it ends
	return pr
}

// invite takes an initial INVITE: a route names its cluster, and place finds the server.
func (p *Proxy) invite(w *worker, from transport.Flow, r *Routing, pops int) {
	m := &w.m
	key := p.serverKey(m, message.Invite)
	s := p.txs.Shard(key)
	s.Lock()
	defer s.Unlock()
	if pr := s.Find(key); pr != nil { // another reader was quicker
		p.absorb(pr)
		return
	}
	if p.refusing.Load() {
		p.turnAway(w, from)
		return
	}
	var o offer
	steps := r.draw()
	name, ask, ok := r.route(m, from.Remote.Addr(), &o)
	steps.routed()
	if !ok {
		i := Invite{CallID: string(m.Bytes(m.CallID.Value)), Code: r.Otherwise.Reject, Client: from.Remote, Steps: steps, Detail: r.Record.detail(m)}
		p.obs.Unroutable(&i, string(m.Bytes(m.UserAgent.Value)))
		p.obs.Dropped(DropNoRoute)
		if pr := p.open(s, key, w, from, rejected); pr != nil {
			p.answer(s, w, pr, r.Otherwise.Reject, warning(p.at(from).sentBy, "no route matches"))
			s.Drop(&pr.Data.msg) // nothing is made of it any more
			p.arm(s, pr)
		}
		return
	}
	pr := p.open(s, key, w, from, initial)
	if pr == nil {
		return
	}
	now := p.now()
	d := &pr.Data
	d.pops = uint8(pops)
	d.tryingAt = now + r.Failover.TryingAfter.Milliseconds()
	r.complete(&ask, m, from.Remote.Addr(), &o)
	c := &call{callID: string(m.Bytes(m.CallID.Value)), contact: message.AddrSpec(m.Raw, m.Contact.Value), route: name, ask: ask, start: time.Now(), deadline: now + r.Failover.Deadline.Milliseconds(), steps: steps}
	c.attempts, c.avoid = c.room[:0], c.roomToAvoid[:0]
	d.call = c
	switch {
	case !p.queues.busy(&c.ask):
		lease, waits := p.admit(pr, m, p.pick(c, now), now)
		if !waits && !p.place(w, pr, m, lease, now) {
			p.giveUp(s, w, pr)
		}
	case !p.queueUp(pr, now):
		p.giveUp(s, w, pr)
	}
	p.arm(s, pr)
}

// pick takes the lease for the next attempt; nil when no server can have it, or no attempt or no time is left.
func (p *Proxy) pick(c *call, now transaction.Time) *balancer.Lease {
	if len(c.attempts) >= min(p.routing.Load().Failover.MaxAttempts, maxAttempts) || now >= c.deadline {
		return nil
	}
	c.ask.Tried, c.ask.Now = c.avoid, time.Now()
	lease, refusal := p.bal.Pick(c.ask)
	c.refusal = refusal
	c.steps.picked(c.ask.Now)
	return lease
}

// place sends the INVITE m to the server of an admitted lease, and to the next when it cannot be sent. false: no server is
// left.
func (p *Proxy) place(w *worker, pr *pair, m *message.Message, lease *balancer.Lease, now transaction.Time) bool {
	d := &pr.Data
	c := d.call
	f := &p.routing.Load().Failover
	for lease != nil {
		b := lease.Backend()
		if !d.cur.Done() {
			d.old = append(d.old, d.cur)
		}
		c.lease = lease
		c.avoid = append(c.avoid, b.Addr())
		c.attempts = append(c.attempts, session.Attempt{Backend: b})
		c.steps.sent()
		flow, fits := p.towards(b.Network(), b.Addr(), d.from.Local)
		d.cur = branch{attempt: uint8(len(c.attempts)), flow: flow, sent: now, backend: b}
		if fits {
			w.out = p.appendRequest(w.out[:0], w, m, pr, &d.cur)
			if f.TCPAbove > 0 && len(w.out) > f.TCPAbove && p.byTCP(&d.cur.flow) {
				w.out = p.appendRequest(w.out[:0], w, m, pr, &d.cur)
			}
			d.cur.Start(true, d.cur.flow.Proto.Reliable(), f.T1.Milliseconds(), f.FirstResponse.Milliseconds(), now)
			if p.sendBranch(&d.cur, w.out) {
				return true
			}
			d.cur.Fail()
		}
		why := whySend
		if d.cur.tooLarge {
			why = whyTooLarge
		}
		c.failing = ended{why: why}
		p.finish(c, c.failing, 0)
		var waits bool
		if lease, waits = p.admit(pr, m, p.pick(c, now), now); waits {
			return true
		}
		if lease != nil {
			p.obs.FailedOver(c.ask.Cluster, why)
		}
	}
	return false
}

// byTCP makes a UDP flow one over TCP, for a request that is large (RFC 3261 18.1.1); false when it is none, or there is no
// listener for it. The cookie then keeps the dialog on TCP.
func (p *Proxy) byTCP(f *transport.Flow) bool {
	t := transport.Flow{Proto: transport.TCP, Local: f.Local, Remote: f.Remote}
	if f.Proto != transport.UDP || !p.fit(&t) {
		return false
	}
	*f = t
	return true
}

// failover is the end of the current attempt without success. definite: nothing better can come on its branch. One that is
// merely silent is given up only for a server that can take the call, or at the deadline.
func (p *Proxy) failover(s *shard, w *worker, pr *pair, e ended, definite bool) {
	d := &pr.Data
	c := d.call
	now := p.now()
	c.failing = e
	if definite {
		p.finish(c, e, now-d.cur.sent)
	}
	if c.next != nil {
		if now < c.deadline {
			return // the next server is asked for already
		}
		c.drop()
	}
	var lease *balancer.Lease
	if !c.cancelled {
		lease = p.pick(c, now)
	}
	if lease != nil {
		var waits bool
		if lease, waits = p.admit(pr, p.kept(w, pr), lease, now); waits {
			return
		}
	}
	p.moveOn(s, w, pr, lease, now)
}

// moveOn takes the call from the current attempt, if there is one that has not failed for good, to the lease's server. nil:
// there is no other.
func (p *Proxy) moveOn(s *shard, w *worker, pr *pair, lease *balancer.Lease, now transaction.Time) {
	d := &pr.Data
	c := d.call
	if c.lease != nil {
		if lease == nil && !c.cancelled && now < c.deadline && !c.lease.Panic() { // who is believed dead is not waited for
			d.cur.TimeoutAt = c.deadline
			return
		}
		p.abandon(w, pr, now)
		p.finish(c, c.failing, now-d.cur.sent)
	}
	if lease != nil {
		p.queues.leave(c, now)
		if len(c.attempts) > 0 {
			p.obs.FailedOver(c.ask.Cluster, c.failing.why)
		}
		if p.place(w, pr, p.kept(w, pr), lease, now) {
			return
		}
	}
	p.giveUp(s, w, pr)
}

// abandon stops waiting on the current branch. What may still arrive on it is dealt with for as long as it can.
func (p *Proxy) abandon(w *worker, pr *pair, now transaction.Time) {
	if pr.Data.cur.Abandon(now).Has(transaction.SendCancel) {
		p.sendCancel(w, pr, &pr.Data.cur)
	}
}

// giveUp is the final response when no attempt succeeded (RFC 3261 16.7 step 6): 487 to who has cancelled, the best that a
// server said, else that no server can take it, with the reason. Where nothing but a limit was in the way, the call may wait for a place first.
func (p *Proxy) giveUp(s *shard, w *worker, pr *pair) {
	c := pr.Data.call
	if !c.cancelled && !c.closed && (c.refusal.Full() || c.passed > 0) && p.queueUp(pr, p.now()) {
		c.forgive()
		return
	}
	p.queues.leave(c, p.now())
	f := &p.routing.Load().Failover
	code, why := f.Reject, ""
	switch {
	case c.cancelled:
		code = 487
		p.answer(s, w, pr, code, "")
	case c.best != nil:
		code = c.bestCode
		p.respond(s, pr, code, c.best, p.now())
	case c.tooLarge():
		code, why = 513, c.explain()
		p.answer(s, w, pr, code, warning(p.at(pr.Data.from).sentBy, why))
	default:
		why = c.explain()
		retry := max(f.RetryAfter, c.retry)
		p.answer(s, w, pr, code, "Retry-After: "+strconv.Itoa(int(retry/time.Second))+"\r\nReason: SIP;cause="+strconv.Itoa(code)+";text=\""+why+"\"\r\n")
	}
	p.inviteDone(w, pr, code, why)
}

// tooLarge reports whether the INVITE could go to no server for its size.
func (c *call) tooLarge() bool {
	for i := range c.attempts {
		if c.attempts[i].Outcome != whyTooLarge {
			return false
		}
	}
	return len(c.attempts) > 0
}

// explain says why nothing took the call, fit for a quoted string.
func (c *call) explain() string {
	var b strings.Builder
	for i := range c.attempts {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(c.attempts[i].Backend.URI() + " " + c.attempts[i].Outcome)
	}
	add := func(s string) {
		if b.Len() > 0 {
			b.WriteString("; ")
		}
		b.WriteString(s)
	}
	if c.passed > 0 {
		add(strconv.Itoa(c.passed) + " full over all instances")
	}
	if c.wait.note != "" {
		add(c.wait.note)
	} else if c.wait.waited > 0 {
		add("waited " + c.wait.waited.String())
	}
	if c.closed {
		add("the limits of all instances cannot be checked")
	} else if r := c.refusal.String(); r != "" {
		add(r)
	}
	return quotable.Replace(b.String())
}

var quotable = strings.NewReplacer(`"`, `'`, `\`, `/`)

// inviteDone is called once for each initial INVITE, when its final response has gone out. The pair lives on to absorb what
// still comes, without the call.
func (p *Proxy) inviteDone(w *worker, pr *pair, code int, why string) {
	c := pr.Data.call
	c.drop()
	p.queues.leave(c, p.now())
	pr.Data.call = nil
	i := &w.done // no new one each time
	*i = Invite{CallID: c.callID, Route: c.route, Cluster: c.ask.Cluster, Attempts: c.attempts, Code: code, Why: why, Took: time.Since(c.start), Queued: c.wait.waited,
		Client: pr.Data.from.Remote, Steps: c.steps}
	if n := len(c.attempts); n > 0 {
		i.Backend = c.attempts[n-1].Backend
	}
	if rec := &p.routing.Load().Record; rec.On && code >= 300 {
		i.Detail = rec.detail(p.kept(w, pr))
	}
	p.obs.InviteDone(i)
	*i = Invite{}
}

// established is the 2xx of an initial INVITE: the session owns the lease from here on.
func (p *Proxy) established(w *worker, pr *pair) {
	m := &w.m
	c := pr.Data.call
	a := &c.attempts[len(c.attempts)-1]
	a.Outcome, a.Took = codeText(m.Status), time.Duration(p.now()-pr.Data.cur.sent)*time.Millisecond
	c.steps.ended()
	p.bal.Report(a.Backend, Outcome{Kind: Answered, Took: max(a.Took, time.Millisecond/2)})
	p.inviteDone(w, pr, m.Status, "")
	ses := &session.Session{Kind: p.sessions.Kind(session.Kind{Route: c.route, Cluster: c.ask.Cluster, Resource: resourceOf(m)}), CallID: c.callID, Client: pr.Data.from.Remote,
		Start: c.start, Setup: time.Since(c.start), Lease: c.lease}
	ses.Tried(c.attempts)
	ses.Dialog = p.dialogueOf(w, pr.Data.msg[c.contact.Off:c.contact.End], c.lease.Backend().URI())
	if rec := &p.routing.Load().Record; rec.On {
		if ses.Detail = rec.detail(p.kept(w, pr)); ses.Detail != nil {
			ses.Detail.Channels = channelsOf(m)
		}
	}
	key := session.Key(m.Bytes(m.CallID.Value), m.Bytes(m.FromTag), c.lease.Backend().ID())
	if p.admitter != nil {
		p.admitter.Established(key)
	}
	if !p.sessions.Add(key, ses, sessionExpires(m)) {
		c.lease.Release() // a second INVITE with the Call-ID and From tag of a session that lives
	}
	c.lease = nil
	p.earlyOver(c)
}

// sessionExpires is the negotiated interval in a 2xx (RFC 4028 4); 0 for none.
func sessionExpires(m *message.Message) time.Duration {
	return seconds(m.Bytes(m.SessionExpires.Value))
}

// seconds reads the delta-seconds that a value begins with; 0 when it does not.
func seconds(v []byte) time.Duration {
	n := 0
	for _, ch := range v {
		if ch < '0' || ch > '9' || n > 1<<24 {
			break
		}
		n = n*10 + int(ch-'0')
	}
	return time.Duration(n) * time.Second
}

// codeText spells a status code, the usual one without allocation: it is kept with each session.
func codeText(code int) string {
	if code == 200 {
		return "200"
	}
	return strconv.Itoa(code)
}
