// Package session is the table of established sessions: what each one holds (its lease) and when it ends by itself. It
// exists for counting, expiry and the operator's eyes; routing never asks it. It owns the sessions and gives each lease
// back exactly once. It knows no SIP message, no socket and no file, and starts no goroutine: its owner calls Tick, and
// whoever writes sessions down asks for its Changes.
package session

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"

	"mrcproxy/balancer"
	"mrcproxy/internal/wheel"
)

// Attempt is one server that the session's INVITE was sent to.
type Attempt struct {
	Backend *balancer.Backend
	Outcome string        // the code it answered, or why it was given up
	Took    time.Duration // from sending the INVITE to it
}

// Detail is what a call's record has and nothing else needs; nil where no records are kept.
type Detail struct {
	Resource string   // that the INVITE's SDP asks for
	Channels []string // that the 2xx's SDP gives: id@resource (RFC 6787 4.2)
	Headers  []Header // of the INVITE, those that were asked for
}

// Header is one header field.
type Header struct{ Name, Value string }

// Kind is what many sessions have in common. Table.Kind gives all of them the same one.
type Kind struct {
	Route    string
	Cluster  string // that the route named; the backend's own may be a fallback
	Resource string // that the SDP asked for, such as speechrecog; "" where no route looked
}

// Session is one established session. Its fields do not change once it is in a table, but for what the table owns.
type Session struct {
	*Kind
	CallID   string
	Client   netip.AddrPort // where its INVITE came from
	Attempts []Attempt
	Start    time.Time     // the INVITE's arrival; of a learned one, when it was learned
	Setup    time.Duration // from there to its 2xx
	Lease    *balancer.Lease
	Dialog   string // what a BYE on its behalf needs, in the form of who made it; "" when that is not known
	Learned  bool   // it began at another process: Start and Setup are not those of its INVITE
	Detail   *Detail

	only    [1]Attempt // room for Attempts: most have one
	state   atomic.Uint32
	table   *Table
	key     uint64
	expires atomic.Int64 // when it ends by itself, in the table's milliseconds
	limit   int64        // when it ends whatever happens
	timer   wheel.Timer[*Session]
}

// The bits of a session's state. Written under its shard's lock.
const (
	acked  uint32 = 1 << iota // its 2xx was acknowledged, or it shows in another way that both sides have it
	dirty                     // in its shard's list of what is to be written down
	stored                    // written down
	over                      // ended
)

// Tried copies what was tried into Attempts.
func (s *Session) Tried(l []Attempt) { s.Attempts = append(s.only[:0], l...) }

// Backend is the server that has the session.
func (s *Session) Backend() *balancer.Backend { return s.Lease.Backend() }

// Key is that of Key, under which it is in the table.
func (s *Session) Key() uint64 { return s.key }

// Expires is when the session ends unless it is refreshed or ended before; the zero time when it has no end. It includes
// the grace behind Session-Expires.
func (s *Session) Expires() time.Time {
	if at := s.expires.Load(); at < forever {
		return s.table.base.Add(time.Duration(at) * time.Millisecond)
	}
	return time.Time{}
}

// Confirmed reports whether the client's ACK, or a later request in the session, has been seen.
func (s *Session) Confirmed() bool { return s.state.Load()&acked != 0 }

// Key identifies a session by its Call-ID, the tag of the side that opened it and the identity of its server: one that was
// given up may accept the call late, and what it says then is not about the session that the client has with another. It
// is the same in every process, so that what one wrote down another finds, and never 0. A cryptographic hash keeps a client
// from choosing Call-IDs that meet another's key.
func Key(callID, clientTag []byte, server uint32) uint64 {
	var room [128]byte
	in := append(binary.BigEndian.AppendUint32(room[:0], server), clientTag...)
	in = append(append(in, 0), callID...)
	sum := sha256.Sum256(in)
	return binary.BigEndian.Uint64(sum[:]) | 1
}
