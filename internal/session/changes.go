package session

// note puts s on the list of what is to be written down, once. h is locked.
func (t *Table) note(h *shard, s *Session) {
	if t.opts.Journaled && !s.is(dirty) {
		s.set(dirty)
		h.changed = append(h.changed, s)
	}
}

// Changes hands over what has changed since it was last called: the sessions to write down, new ones and those that end at
// another time now, and those to strike out. A session that began and ended since is in neither. all: put is every session.
func (t *Table) Changes(all bool) (put, gone []*Session) {
	for i := range t.shards {
		h := &t.shards[i]
		h.mu.Lock()
		if all {
			for _, s := range h.byKey {
				t.note(h, s)
			}
		}
		for j, s := range h.changed {
			h.changed[j] = nil
			s.state.And(^dirty)
			switch {
			case !s.is(over):
				s.set(stored)
				put = append(put, s)
			case s.is(stored):
				gone = append(gone, s)
			}
		}
		h.changed = h.changed[:0]
		h.mu.Unlock()
	}
	return put, gone
}
