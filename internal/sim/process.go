package sim

import (
	"context"
	"net"
	"sync"
)

// process is a Server between Revive and Kill: everything that dies with a process.
// All fields are guarded by the Server's mu, but ep, ctx and wg.
type process struct {
	s      *Server
	ep     *endpoint // set before the Server's mu is released by Revive
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup   // the INVITEs being answered, the BYEs being sent, and MRCP
	mrcp   *net.TCPListener // nil without

	dead    bool
	serial  int                      // of the last dialog
	pending int                      // INVITEs that hold a place and have no final yet
	invites map[string]*inviteTx     // by txKey
	merged  map[string]string        // Call-ID, From tag, CSeq of an initial INVITE -> its txKey
	dialogs map[string]*dialog       // by dialogKey
	sent    *answers                 // finals to BYE
	byes    map[string]chan struct{} // BYEs being sent, by branch; closed by the final
	old     lingering

	controls map[*control]bool // MRCP connections
}

func newProcess(s *Server) *process {
	p := &process{
		s: s, invites: map[string]*inviteTx{}, merged: map[string]string{},
		dialogs: map[string]*dialog{}, byes: map[string]chan struct{}{},
		controls: map[*control]bool{}, sent: newAnswers(t1ToEnd * s.o.T1), old: lingering{keep: t1ToEnd * s.o.T1},
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// end closes everything; dead must have been set under mu before.
func (p *process) end() {
	p.cancel()
	p.ep.close()
	p.closeMRCP()
	p.wg.Wait()
}

// handle takes one message to its end; the endpoint calls it from the goroutine that read it.
func (p *process) handle(m *message, f flow) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	switch {
	case p.dead || p.s.fault.deafTo(f.network):
	case m.method == "":
		p.onResponse(m)
	case m.method == "INVITE":
		p.onInvite(m, f)
	case m.method == "ACK":
		p.onAck(m)
	case m.method == "CANCEL":
		p.onCancel(m, f)
	case m.method == "BYE":
		p.onBye(m, f)
	case m.method == "OPTIONS":
		p.onOptions(m, f)
	case m.method == "UPDATE":
		p.onUpdate(m, f)
	default:
		p.send(m, f, p.respond(m, f, 405, newTag()))
	}
}

// respond starts a response that names this server.
func (p *process) respond(req *message, f flow, code int, tag string) *message {
	m := respond(req, f, code, tag)
	if code == 200 && (req.method == "INVITE" || req.method == "OPTIONS" || req.method == "UPDATE") {
		m.add("Contact", p.contact())
	}
	m.add("User-Agent", "UniMRCP SofiaSIP 1.8.0")
	if code > 100 {
		if req.method == "INVITE" {
			m.add("Accept", "application/sdp")
		}
		m.add("Allow", allow)
		m.add("Supported", supported)
	}
	return m
}

// contact has no transport when both are bound, as UniMRCP's has none.
func (p *process) contact() string {
	uri := "sip:" + p.ep.addr.String()
	if n := p.s.o.Networks; len(n) == 1 {
		uri += ";transport=" + n[0]
	}
	return "<" + uri + ">"
}

// send answers req, unless the server is silent. A failed write is a lost message.
func (p *process) send(req *message, f flow, m *message) []byte {
	raw := m.bytes()
	p.sendRaw(answerFlow(req, f), raw)
	return raw
}

func (p *process) sendRaw(f flow, raw []byte) {
	if p.s.fault.kind() != Silent {
		_ = p.ep.answer(f, raw)
	}
}

func (p *process) onOptions(m *message, f flow) {
	p.s.count(&p.s.stats.Options, 1)
	if p.s.fault.kind() == Offline {
		p.send(m, f, p.respond(m, f, 503, newTag()))
		return
	}
	res := p.respond(m, f, 200, newTag())
	res.add("Content-Type", "application/sdp")
	res.body = optionsSDP(p.ep.addr.Addr())
	p.send(m, f, res)
	// UniMRCP takes OPTIONS inside a dialog for the end of it: 200, then BYE.
	if d := p.dialogs[dialogKey(m.get("Call-ID"), m.toTag(), m.fromTag())]; d != nil {
		p.hangUp(d)
	}
}

func (p *process) onCancel(m *message, f flow) {
	if k := p.s.fault.kind(); k == Zombie || k == Silent {
		return
	}
	tx := p.invites[m.txKey("INVITE")]
	if tx == nil || tx.ignored {
		p.send(m, f, p.respond(m, f, 481, newTag()))
		return
	}
	p.send(m, f, p.respond(m, f, 200, tx.tag))
	if tx.final == 0 { // RFC 3261 9.2: no effect once a final was sent
		p.s.count(&p.s.stats.Cancels, 1)
		p.finish(tx, p.respond(tx.req, tx.flow, 487, tx.tag))
	}
}
