package session

import (
	"maps"
	"slices"
)

// Key is that of Key, under which the session is in its table.
func (s *Session) Key() uint64 { return s.key }

// Each calls f with every session until it returns false, in no order and outside of the table's locks: a session may have
// ended meanwhile, and one that begins meanwhile may be missed.
func (t *Table) Each(f func(*Session) bool) {
	var some []*Session
	for i := range t.shards {
		h := &t.shards[i]
		h.mu.Lock()
		some = slices.AppendSeq(some[:0], maps.Values(h.byKey))
		h.mu.Unlock()
		for _, s := range some {
			if !f(s) {
				return
			}
		}
	}
}
