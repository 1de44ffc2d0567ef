package proxy

import (
	"encoding/binary"
	"encoding/hex"
	"hash/maphash"
	"net/netip"

	"mrcproxy/proxy/message"
	"mrcproxy/proxy/transaction"
)

// Our branch parameter is the magic cookie of RFC 3261 8.1.1.7, a mark and hexadecimal fields of fixed width:
//
//	z9hG4bKmq epoch(8) id(16) attempt(2) loop(8)
//
// The epoch is random for each process, so that a response to a predecessor finds nothing; id names the pair; attempt
// the branch within it; loop hashes what routing depends on (16.6 step 8), so that a request which comes round unchanged
// is told from a spiral.
const (
	magic     = "z9hG4bK"
	mark      = magic + "mq"
	branchLen = len(mark) + 8 + 16 + 2 + 8
)

type branchID struct {
	id      transaction.ID
	attempt uint8
}

// appendBranch appends the branch parameter's value.
func (p *Proxy) appendBranch(dst []byte, b branchID, loop uint32) []byte {
	var raw [17]byte
	binary.BigEndian.PutUint32(raw[0:], p.epoch)
	binary.BigEndian.PutUint64(raw[4:], uint64(b.id))
	raw[12] = b.attempt
	binary.BigEndian.PutUint32(raw[13:], loop)
	return hex.AppendEncode(append(dst, mark...), raw[:])
}

// parseBranch reads a branch of this process's.
func (p *Proxy) parseBranch(text []byte) (b branchID, loop uint32, ok bool) {
	if len(text) != branchLen || string(text[:len(mark)]) != mark {
		return b, 0, false
	}
	var raw [17]byte
	if _, err := hex.Decode(raw[:], text[len(mark):]); err != nil || binary.BigEndian.Uint32(raw[0:]) != p.epoch {
		return b, 0, false
	}
	b.id = transaction.ID(binary.BigEndian.Uint64(raw[4:]))
	b.attempt = raw[12]
	return b, binary.BigEndian.Uint32(raw[13:]), true
}

// epochOf is the epoch of a branch that some process of ours wrote.
func epochOf(text []byte) (epoch uint32, ok bool) {
	if len(text) != branchLen || string(text[:len(mark)]) != mark {
		return 0, false
	}
	var raw [4]byte
	_, err := hex.Decode(raw[:], text[len(mark):len(mark)+8])
	return binary.BigEndian.Uint32(raw[:]), err == nil
}

// loopHash covers what our routing reads of a request (RFC 5393 4.2.1), and Call-ID, tags and CSeq.
func (p *Proxy) loopHash(m *message.Message, src netip.Addr) uint32 {
	var h maphash.Hash
	h.SetSeed(p.seed)
	for _, s := range [...]message.Span{m.URI, m.FromTag, m.ToTag, m.CallID.Value} {
		_, _ = h.Write(m.Bytes(s))
		_ = h.WriteByte(0)
	}
	var cseq [4]byte // without the method
	binary.BigEndian.PutUint32(cseq[:], m.CSeqNumber)
	_, _ = h.Write(cseq[:])
	if m.HasRoute() { // a request in a dialog that spirals through here differs in its topmost Route alone
		var spans [8]message.Span
		if routes, _ := m.Routes(spans[:0]); len(routes) > 0 {
			_, _ = h.Write(m.Bytes(routes[0]))
		}
	}
	if !m.InDialog() {
		p.routing.Load().hash(&h, m, src)
	}
	return uint32(h.Sum64())
}

// hash writes what the routes look at, but for the Request-URI.
func (r *Routing) hash(h *maphash.Hash, m *message.Message, src netip.Addr) {
	_, _ = h.Write(m.Bytes(m.UserAgent.Value))
	_, _ = h.Write(m.BodyBytes())
	for i := range r.Routes {
		if len(r.Routes[i].Source) > 0 {
			a := src.As16()
			_, _ = h.Write(a[:])
		}
		for _, f := range r.Routes[i].Header {
			_, _ = h.Write(m.Field(f.Name))
		}
	}
}

// looped reports whether the request has been here, and nothing that matters has changed since (16.3 step 4).
func (p *Proxy) looped(m *message.Message, src netip.Addr) bool {
	loop := false
	ours := func(v *message.Via) bool {
		_, l, ok := p.parseBranch(m.Bytes(v.Branch))
		loop = ok && l == p.loopHash(m, src)
		return !loop
	}
	if ours(&m.Via) {
		m.EachVia(ours)
	}
	return loop
}

// serverKey identifies the server transaction that a request belongs to in this process.
func (p *Proxy) serverKey(m *message.Message, method message.Method) uint64 {
	return keyOf(p.keySeed, m, method)
}
