package session

import (
	"sync"
	"sync/atomic"
	"time"

	"mrcproxy/balancer"
	"mrcproxy/internal/wheel"
)

const (
	shards  = 32
	second  = 1000 // milliseconds
	forever = int64(1) << 62

	// ackWait is how long an ACK to a 2xx is waited for, in milliseconds. The server sends its 2xx again for 32 s and then
	// ends the session with a BYE (RFC 3261 13.3.1.4), which is given time to be answered.
	ackWait = 40 * second
)

type shard struct {
	mu      sync.Mutex
	byKey   map[uint64]*Session
	wheel   *wheel.Wheel[*Session]
	ended   recent
	changed []*Session // since the last Changes
	_       [64]byte
}

// Options make a Table.
type Options struct {
	// Longest bounds a session's time; 0 does not.
	Longest time.Duration
	// OnEnd is called once for each session that ends, after its lease was given back, outside the table's locks.
	OnEnd func(*Session, Reason)
	// Adopt takes a lease for a session that is at a server already, by the server's identity and the resource asked for;
	// nil when there is no such server. Without Adopt no session is learned.
	Adopt func(server uint32, resource string) *balancer.Lease
	// Journaled says that somebody asks for Changes again and again.
	Journaled bool
}

// Table holds the sessions. All methods are safe for concurrent use.
type Table struct {
	shards [shards]shard
	opts   Options
	base   time.Time
	count  atomic.Int64
	max    atomic.Int64 // longest session, milliseconds
	kinds  kinds
}

// NewTable makes an empty table.
func NewTable(o Options) *Table {
	t := &Table{opts: o, base: time.Now()}
	for i := range t.shards {
		t.shards[i].byKey = map[uint64]*Session{}
		t.shards[i].wheel = wheel.New[*Session](1024, second, 0)
	}
	t.SetLongest(o.Longest)
	return t
}

// SetLongest changes the bound for sessions that are added from now on.
func (t *Table) SetLongest(d time.Duration) { t.max.Store(d.Milliseconds()) }

// Len is the number of sessions.
func (t *Table) Len() int { return int(t.count.Load()) }

// Add takes over s, which holds its lease, under key: its 2xx has come, the ACK has not. expires is the negotiated
// Session-Expires, 0 for none. false: a session of that key is there already; s is not taken and its lease is the caller's
// still.
func (t *Table) Add(key uint64, s *Session, expires time.Duration) bool {
	return t.add(key, s, expires, false)
}

// add is Add; unlessEnded: not when a session of that key has just ended.
func (t *Table) add(key uint64, s *Session, expires time.Duration, unlessEnded bool) bool {
	now := t.now()
	t.prepare(key, s, now)
	s.expires.Store(s.due(now, expires))
	h := t.shard(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	return !(unlessEnded && h.ended.has(key)) && t.insert(h, s, now)
}

// prepare fills in what the table owns of a session that began at start.
func (t *Table) prepare(key uint64, s *Session, start int64) {
	if s.Kind == nil {
		s.Kind = &Kind{}
	}
	s.table, s.key, s.limit = t, key, forever
	if m := t.max.Load(); m > 0 {
		s.limit = start + m
	}
	s.timer.Value = s
}

// due is when a session ends that was refreshed now with that Session-Expires.
func (s *Session) due(now int64, expires time.Duration) int64 {
	if ms := expires.Milliseconds(); ms > 0 {
		return min(s.limit, now+ms+grace(ms))
	}
	return s.limit
}

// grace is what a session may outlive its Session-Expires by, both in milliseconds: a refresh in flight, a slow BYE. It is as
// long as RFC 4028 10 has the side that does not refresh say BYE before the expiry.
func grace(expires int64) int64 { return min(32*second, expires/3) }

// insert puts s in, unless there is one of its key. h is locked.
func (t *Table) insert(h *shard, s *Session, now int64) bool {
	if h.byKey[s.key] != nil {
		return false
	}
	h.byKey[s.key] = s
	t.count.Add(1)
	t.arm(h, s, now)
	t.note(h, s)
	return true
}

// arm sets the timer to when something is due: the session's end, or before it the end of waiting for its ACK.
func (t *Table) arm(h *shard, s *Session, now int64) {
	at := s.expires.Load()
	if !s.is(acked) {
		at = min(at, now+ackWait)
	}
	h.wheel.Arm(&s.timer, at)
}

// Refresh is a successful re-INVITE or UPDATE that says Session-Expires (RFC 4028); 0 when it names none: the session
// then has no timer any more (section 7.2: refreshes without one turn it off). false: there is no such session.
func (t *Table) Refresh(key uint64, expires time.Duration) bool {
	h := t.shard(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.byKey[key]
	if s == nil {
		return false
	}
	now := t.now()
	s.set(acked)
	s.expires.Store(s.due(now, expires))
	t.arm(h, s, now)
	t.note(h, s)
	return true
}

// Confirm is the ACK to the session's 2xx. false: there is no such session.
func (t *Table) Confirm(key uint64) bool {
	h := t.shard(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.byKey[key]
	if s == nil {
		return false
	}
	s.set(acked) // the timer finds it
	return true
}

// Until tells when the session of that key ends unless it is refreshed, the zero time for never. false: there is none.
func (t *Table) Until(key uint64) (at time.Time, ok bool) {
	h := t.shard(key)
	h.mu.Lock()
	s := h.byKey[key]
	h.mu.Unlock()
	if s == nil {
		return at, false
	}
	return s.Expires(), true
}

// End ends the session of that key: its lease is given back and OnEnd called. It reports whether there was one.
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
	t.finish(s, why)
	return true
}

// EndAll ends the sessions of a server, and gives their number.
func (t *Table) EndAll(b *balancer.Backend, why Reason) (n int) {
	t.Each(func(s *Session) bool {
		if s.Backend() == b && t.End(s.key, why) {
			n++
		}
		return true
	})
	return n
}

// remove takes s out. h is locked.
func (t *Table) remove(h *shard, s *Session) {
	delete(h.byKey, s.key)
	h.wheel.Disarm(&s.timer)
	h.ended.add(s.key, t.now())
	s.set(over)
	t.note(h, s)
	t.count.Add(-1)
}

func (t *Table) finish(s *Session, why Reason) {
	s.Lease.Release()
	t.opts.OnEnd(s, why)
}

// Tick ends the sessions whose time has come. Call it about once a second.
func (t *Table) Tick() {
	now := t.now()
	type end struct {
		s   *Session
		why Reason
	}
	var ends []end
	for i := range t.shards {
		h := &t.shards[i]
		h.mu.Lock()
		h.wheel.Advance(now, func(s *Session) {
			why := NoAck
			switch {
			case now >= s.limit:
				why = TooLong
			case now >= s.expires.Load():
				why = Expired
			case s.is(acked):
				t.arm(h, s, now)
				return
			}
			t.remove(h, s)
			ends = append(ends, end{s, why})
		})
		h.mu.Unlock()
	}
	for _, e := range ends {
		t.finish(e.s, e.why)
	}
}

func (t *Table) shard(key uint64) *shard { return &t.shards[key>>32%shards] }

func (t *Table) now() int64 { return time.Since(t.base).Milliseconds() }

func (s *Session) is(bit uint32) bool { return s.state.Load()&bit != 0 }
func (s *Session) set(bit uint32)     { s.state.Or(bit) }
