package session

import "time"

// recentFor is how long at least the key of an ended session is remembered, in milliseconds: as long as a message of it may
// be on its way (RFC 3261 17: 64*T1).
const recentFor = 32 * second

// recent remembers the keys of sessions that have ended, for recentFor to twice as long: what still comes of one must not
// bring it back.
type recent struct {
	now, before map[uint64]struct{}
	turned      int64
}

func (r *recent) add(key uint64, now int64) {
	if r.now == nil || now-r.turned >= recentFor {
		r.before = r.now
		if now-r.turned >= 2*recentFor {
			r.before = nil
		}
		r.now, r.turned = make(map[uint64]struct{}, len(r.before)), now
	}
	r.now[key] = struct{}{}
}

func (r *recent) has(key uint64) bool {
	_, now := r.now[key]
	_, before := r.before[key]
	return now || before
}

// Learn takes in a session that is alive at the server of that identity, as a request in it has shown, and that the table
// does not have: it was set up by a process whose journal lost it, or by another instance. s comes without a lease: one is
// adopted. false: it is in the table, it has just ended, or there is no such server.
func (t *Table) Learn(key uint64, server uint32, s *Session, expires time.Duration) bool {
	if t.opts.Adopt == nil || t.hasOrHad(key) {
		return false
	}
	if s.Kind == nil {
		s.Kind = &Kind{}
	}
	if s.Lease = t.opts.Adopt(server, s.Resource); s.Lease == nil {
		return false
	}
	s.Learned = true
	s.set(acked)
	if !t.add(key, s, expires, true) {
		s.Lease.Release()
		return false
	}
	return true
}

// EndUnknown counts the end of a session that the table does not have, unless it has just ended: a BYE in it was answered.
// s comes without a lease.
func (t *Table) EndUnknown(key uint64, server uint32, s *Session) {
	if t.Learn(key, server, s, 0) {
		t.End(key, ByeUnknown)
	}
}

func (t *Table) hasOrHad(key uint64) bool {
	h := t.shard(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.byKey[key] != nil || h.ended.has(key)
}

// Restore takes in a session that was written down, with its lease, to end at expires (zero: as late as may be). When that
// has passed the next Tick ends it. false: it is in the table already, or has just ended; its lease is the caller's still.
func (t *Table) Restore(key uint64, s *Session, expires time.Time) bool {
	now := t.now()
	t.prepare(key, s, s.Start.Sub(t.base).Milliseconds())
	at := s.limit
	if !expires.IsZero() {
		at = min(at, expires.Sub(t.base).Milliseconds())
	}
	s.expires.Store(at)
	s.set(acked | stored) // had there been no ACK, the server would have ended it
	h := t.shard(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.ended.has(key) && t.insert(h, s, now)
}
