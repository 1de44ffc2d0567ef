// Package session is the table of established sessions: what each one holds (its lease) and when it ends by itself. It
// exists for counting, expiry and the operator's eyes; routing never asks it. It owns the sessions and gives each lease
// back exactly once. It knows no SIP message and no socket, and starts no goroutine: its owner calls Tick.
package session

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"mrcproxy/balancer"
	"mrcproxy/internal/wheel"
)

// Reason says how a session ended.
type Reason uint8

// The reasons.
const (
	ByeClient     Reason = iota // the client said BYE
	ByeServer                   // the server said BYE
	ByeUnanswered               // a BYE that the other side did not answer in time
	Gone                        // an in-dialog request was answered 481 or 408 (RFC 3261 12.2.1.2)
	Expired                     // Session-Expires passed without a refresh (RFC 4028)
	TooLong                     // it reached the longest time a session may have
	reasons
)

var names = [reasons]string{"bye_client", "bye_server", "bye_unanswered", "gone", "expired", "max_session"}

// String is the reason as metrics and logs spell it.
func (r Reason) String() string { return names[r] }

// Reasons are all of them, in order.
func Reasons() []Reason { return []Reason{ByeClient, ByeServer, ByeUnanswered, Gone, Expired, TooLong} }

// Attempt is one server that the session's INVITE was sent to.
type Attempt struct {
	Backend *balancer.Backend
	Outcome string        // the code it answered, or why it was given up
	Took    time.Duration // from sending the INVITE to it
}

// Session is one established session. Its fields do not change once it is in a table, but for what the table owns.
type Session struct {
	CallID   string
	Route    string
	Cluster  string // that the route named; the backend's own may be a fallback
	Attempts []Attempt
	Start    time.Time     // the INVITE's arrival
	Setup    time.Duration // from there to its 2xx
	Lease    *balancer.Lease

	key   uint64
	limit int64 // when it ends whatever happens
	timer wheel.Timer[*Session]
}

// Backend is the server that has the session.
func (s *Session) Backend() *balancer.Backend { return s.Lease.Backend() }

const (
	shards = 32
	second = 1000
)

type shard struct {
	mu    sync.Mutex
	byKey map[uint64]*Session
	wheel *wheel.Wheel[*Session]
	_     [64]byte
}

// Table holds the sessions. onEnd is called once for each that ends, after its lease was given back, outside the table's
// locks.
type Table struct {
	shards [shards]shard
	base   time.Time
	count  atomic.Int64
	max    atomic.Int64 // longest session, milliseconds
	onEnd  func(*Session, Reason)
}

// NewTable makes an empty table; longest bounds a session's time, 0 does not.
func NewTable(longest time.Duration, onEnd func(*Session, Reason)) *Table {
	t := &Table{base: time.Now(), onEnd: onEnd}
	for i := range t.shards {
		t.shards[i].byKey = map[uint64]*Session{}
		t.shards[i].wheel = wheel.New[*Session](1024, second, 0)
	}
	t.SetLongest(longest)
	return t
}

// SetLongest changes the bound for sessions that are added from now on.
func (t *Table) SetLongest(d time.Duration) { t.max.Store(d.Milliseconds()) }

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

// Len is the number of sessions.
func (t *Table) Len() int { return int(t.count.Load()) }

// Add takes over s, which holds its lease, under key. expires is the negotiated Session-Expires, 0 for none. false: a
// session of that key is there already; s is not taken and its lease is the caller's still.
func (t *Table) Add(key uint64, s *Session, expires time.Duration) bool {
	now := t.now()
	s.key, s.limit = key, int64(1)<<62
	if m := t.max.Load(); m > 0 {
		s.limit = now + m
	}
	s.timer.Value = s
	h := t.shard(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byKey[key] != nil {
		return false
	}
	h.byKey[key] = s
	t.count.Add(1)
	t.arm(h, s, now, expires)
	return true
}

// Refresh is a successful re-INVITE or UPDATE that says Session-Expires (RFC 4028); 0 when it names none: the session
// then has no timer any more (section 7.2: refreshes without one turn it off).
func (t *Table) Refresh(key uint64, expires time.Duration) {
	h := t.shard(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.byKey[key]; s != nil {
		t.arm(h, s, t.now(), expires)
	}
}

// grace is what a session may outlive its Session-Expires by: a refresh in flight, a slow BYE.
const grace = 32 * second

func (t *Table) arm(h *shard, s *Session, now int64, expires time.Duration) {
	due := s.limit
	if expires > 0 {
		due = min(due, now+expires.Milliseconds()+grace)
	}
	h.wheel.Arm(&s.timer, due)
}

// End ends the session of that key: its lease is given back and onEnd called. It reports whether there was one.
func (t *Table) End(key uint64, why Reason) bool {
	h := t.shard(key)
	h.mu.Lock()
	s := h.byKey[key]
	if s == nil {
		h.mu.Unlock()
		return false
	}
	t.remove(h, s)
	h.mu.Unlock()
	t.ended(s, why)
	return true
}

func (t *Table) remove(h *shard, s *Session) {
	delete(h.byKey, s.key)
	h.wheel.Disarm(&s.timer)
	t.count.Add(-1)
}

func (t *Table) ended(s *Session, why Reason) {
	s.Lease.Release()
	t.onEnd(s, why)
}

// Tick ends the sessions whose time has come. Call it about once a second.
func (t *Table) Tick() {
	now := t.now()
	var due []*Session
	for i := range t.shards {
		h := &t.shards[i]
		h.mu.Lock()
		h.wheel.Advance(now, func(s *Session) {
			t.remove(h, s)
			due = append(due, s)
		})
		h.mu.Unlock()
	}
	for _, s := range due {
		why := Expired
		if now >= s.limit {
			why = TooLong
		}
		t.ended(s, why)
	}
}

func (t *Table) shard(key uint64) *shard { return &t.shards[key>>32%shards] }

func (t *Table) now() int64 { return time.Since(t.base).Milliseconds() }
