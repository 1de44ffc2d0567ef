package proxy

import (
	"context"
	"net/netip"
	"time"

	"github.com/cespare/xxhash/v2"

	"mrcproxy/proxy/message"
	"mrcproxy/proxy/transport"
)

// Generation is what the messages of one process's transactions are known by: its branches carry Epoch; Keys are those of
// its server transactions, hashed with Seed.
type Generation struct {
	Epoch uint32
	Seed  uint64
	Keys  []uint64
}

// Elder is the process that had our sockets before us and is still bringing its transactions to their end. What belongs to
// them it is given. Its methods are called on the path of a message and must not block.
type Elder interface {
	Receive(msg []byte, from transport.Flow)
	Unreachable(head []byte, to netip.AddrPort, err error)
	Closed(conn uint64, remote netip.AddrPort, err error)
}

// elder is an Elder with what is its own, and with what is its elder's: it passes that on.
type elder struct {
	Elder
	generations []generation
}

type generation struct {
	epoch uint32
	seed  uint64
	keys  map[uint64]struct{}
}

// Follow says who had the sockets before, and what belongs to it; nil: nobody is left. Until then the only messages of
// others' transactions are stray.
func (p *Proxy) Follow(e Elder, l []Generation) {
	if e == nil {
		p.elder.Store(nil)
		return
	}
	el := &elder{Elder: e}
	for _, g := range l {
		keys := make(map[uint64]struct{}, len(g.Keys))
		for _, k := range g.Keys {
			keys[k] = struct{}{}
		}
		el.generations = append(el.generations, generation{g.Epoch, g.Seed, keys})
	}
	p.elder.Store(el)
}

// Generations are what Follow wants to be told in a successor: ours and those that we follow. The sockets must be halted,
// so that no transaction is added.
func (p *Proxy) Generations() []Generation {
	own := Generation{Epoch: p.epoch, Seed: p.keySeed}
	p.txs.Each(func(_ *shard, pr *pair) {
		if k := pr.Key(); k != 0 {
			own.Keys = append(own.Keys, k)
		}
	})
	l := []Generation{own}
	if e := p.elder.Load(); e != nil {
		for _, g := range e.generations {
			old := Generation{Epoch: g.epoch, Seed: g.seed}
			for k := range g.keys {
				old.Keys = append(old.Keys, k)
			}
			l = append(l, old)
		}
	}
	return l
}

// asks reports whether a request belongs to a server transaction of the elder's: its retransmission, its CANCEL, or the ACK
// to its failure.
func (e *elder) asks(m *message.Message) bool {
	method := m.Method
	if method == message.Ack || method == message.Cancel {
		method = message.Invite
	}
	for i := range e.generations {
		g := &e.generations[i]
		if _, ok := g.keys[keyOf(g.seed, m, method)]; ok {
			return true
		}
	}
	return false
}

// sent reports whether the elder sent the request with that branch.
func (e *elder) sent(branch []byte) bool {
	epoch, ok := epochOf(branch)
	if !ok {
		return false
	}
	for i := range e.generations {
		if e.generations[i].epoch == epoch {
			return true
		}
	}
	return false
}

// Sockets are the listeners, in the order of Options.
func (p *Proxy) Sockets() []transport.Socket { return p.set.Sockets() }

// Adopt takes over the connections of a predecessor. It is called before Run.
func (p *Proxy) Adopt(l []transport.Stream) { p.set.Adopt(l) }

// Relay sends a message for a predecessor that has given its connections to us.
func (p *Proxy) Relay(f transport.Flow, b []byte) { p.send(f, b) }

// Halt stops reading what a successor takes, a listener each, as transport.Set.Halt does. Resume or Leave must follow. Sessions
// whose BYE is under way end now: whatever it is answered, the successor is not to count them.
func (p *Proxy) Halt(taken []bool, send func(transport.Flow, []byte) error) []transport.Stream {
	l := p.set.Halt(taken, send)
	p.txs.Each(func(_ *shard, pr *pair) {
		if d := &pr.Data; d.kind == relayed && d.method == message.Bye && !pr.Server.Final() {
			d.over = true
			p.ended(d, byeReason(d.toServer))
		}
	})
	return l
}

// Resume undoes Halt: there is no successor after all.
func (p *Proxy) Resume(taken []bool, l []transport.Stream) { p.set.Resume(taken, l) }

// hasLeft reports whether a successor has the sockets, and with them the sessions.
func (p *Proxy) hasLeft() bool {
	select {
	case <-p.left:
		return true
	default:
		return false
	}
}

// Leave gives the sockets up to the successor that reads them now: Run serves what is under way to its end, and returns.
func (p *Proxy) Leave(l []transport.Stream) {
	p.set.Leave(l)
	close(p.left)
}

// depart is the end of a process that has a successor. Its transactions live on, the absorbing ones too, since the successor
// passes on what belongs to them; connections that could not be given away are served until no request waits. ctx is a stop
// meanwhile.
func (p *Proxy) depart(serving, ctx context.Context) {
	t := time.NewTicker(tick)
	defer t.Stop()
	start := time.Now()
	limit := p.routing.Load().Drain.Timeout
	closed := false
	for quiet := start; ; {
		var now time.Time
		select {
		case <-serving.Done():
			return
		case <-ctx.Done():
			p.windDown(serving)
			return
		case now = <-t.C:
		}
		waiting, late := p.unanswered() > 0, now.Sub(start) > limit
		if waiting {
			quiet = now
		}
		if waiting && late {
			p.txs.Each(p.cutOff)
		}
		if !closed && (now.Sub(quiet) > stopSettle || late) {
			closed = true
			p.hangUpAll()
		}
		if closed && p.txs.Len() == 0 && p.elder.Load() == nil {
			return
		}
	}
}

// keyOf identifies the server transaction that a request belongs to (RFC 3261 17.2.3): branch, sent-by and method, ACK and
// CANCEL under their INVITE's; for a branch without the magic cookie what RFC 2543 compared. Another process with the same
// seed finds the same.
func keyOf(seed uint64, m *message.Message, method message.Method) uint64 {
	var h xxhash.Digest
	h.ResetWithSeed(seed)
	if branch := m.Bytes(m.Via.Branch); len(branch) > len(magic) && string(branch[:len(magic)]) == magic {
		_, _ = h.Write(branch)
		_, _ = h.Write(m.Bytes(m.Via.Host))
		_, _ = h.Write([]byte{byte(m.Via.Port >> 8), byte(m.Via.Port)})
	} else {
		for _, s := range [...]message.Span{m.URI, m.FromTag, m.CallID.Value, m.Via.Value} {
			_, _ = h.Write(m.Bytes(s))
			_, _ = h.Write([]byte{0})
		}
		n := m.CSeqNumber
		_, _ = h.Write([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	}
	if method == message.Other {
		_, _ = h.Write(m.Bytes(m.MethodText))
	} else {
		_, _ = h.Write([]byte{byte(method)})
	}
	return h.Sum64() | 1
}
