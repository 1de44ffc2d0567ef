package session

import (
	"cmp"
	"maps"
	"slices"
	"sync/atomic"
)

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

// List gives at most limit of the sessions that match (nil: all do), the oldest first, after the first offset of them; and how
// many match in all.
func (t *Table) List(match func(*Session) bool, offset, limit int) (page []*Session, total int) {
	var all []*Session
	t.Each(func(s *Session) bool {
		if match == nil || match(s) {
			all = append(all, s)
		}
		return true
	})
	slices.SortFunc(all, func(a, b *Session) int {
		if c := a.Start.Compare(b.Start); c != 0 {
			return c
		}
		return cmp.Compare(a.key, b.key)
	})
	from := min(max(offset, 0), len(all))
	return slices.Clone(all[from:min(from+max(limit, 0), len(all))]), len(all)
}

// kinds finds the Kind that was made for the same strings before, without a lock. There are few: each comes of the
// configuration, but for the resource, which is one of those that RFC 6787 names.
type kinds struct {
	all atomic.Pointer[map[Kind]*Kind]
}

// Kind is the one Kind with these strings, for all sessions that have them.
func (t *Table) Kind(k Kind) *Kind {
	if all := t.kinds.all.Load(); all != nil {
		if there := (*all)[k]; there != nil {
			return there
		}
	}
	made := k
	return t.kinds.add(&made)
}

func (l *kinds) add(k *Kind) *Kind {
	for {
		old := l.all.Load()
		next := map[Kind]*Kind{*k: k}
		if old != nil {
			if there := (*old)[*k]; there != nil {
				return there
			}
			maps.Copy(next, *old)
		}
		if l.all.CompareAndSwap(old, &next) {
			return k
		}
	}
}
