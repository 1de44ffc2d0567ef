package transport

import (
	"net/netip"
	"sync"
)

// table knows the connections that can be sent on: open ones and those being
// dialled. Its lock may be taken while a connection's is held, never the other
// way round.
type table struct {
	mu      sync.RWMutex
	byID    map[uint64]*conn
	byPeer  map[netip.AddrPort]*conn // the first of those linked by conn.next
	inbound int
}

func (t *table) init() {
	t.byID = make(map[uint64]*conn)
	t.byPeer = make(map[netip.AddrPort]*conn)
}

func (t *table) get(id uint64) *conn {
	if id == 0 {
		return nil
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byID[id]
}

// find returns a connection with that remote address: an open one of that
// listener if there is, else any open one, else, unless open is asked for, one
// being dialled.
func (t *table) find(remote netip.AddrPort, local uint8, open bool) *conn {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.findLocked(remote, local, open)
}

func (t *table) findLocked(remote netip.AddrPort, local uint8, open bool) *conn {
	var best *conn
	rank := 0
	for c := t.byPeer[remote]; c != nil; c = c.next {
		r := 1
		switch {
		case c.up.Load() && c.flow.Local == local:
			return c
		case c.up.Load():
			r = 2
		case open:
			continue
		}
		if r > rank {
			best, rank = c, r
		}
	}
	return best
}

// add puts an accepted connection in, unless there are limit of them.
func (t *table) add(c *conn, limit int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.inbound >= limit {
		return false
	}
	t.addLocked(c)
	return true
}

// addOr puts a connection to be dialled in, unless there is one with that
// remote address, which is then returned, or there are limit of them, when nil
// is.
func (t *table) addOr(c *conn, limit int) *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if other := t.findLocked(c.flow.Remote, c.flow.Local, false); other != nil {
		return other
	}
	if len(t.byID)-t.inbound >= limit {
		return nil
	}
	t.addLocked(c)
	return c
}

func (t *table) addLocked(c *conn) {
	t.byID[c.flow.Conn] = c
	c.next = t.byPeer[c.flow.Remote]
	t.byPeer[c.flow.Remote] = c
	if c.inbound {
		t.inbound++
	}
}

// remove takes a connection out; it does nothing when it is not in.
func (t *table) remove(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byID[c.flow.Conn] != c {
		return
	}
	delete(t.byID, c.flow.Conn)
	if c.inbound {
		t.inbound--
	}
	first := t.byPeer[c.flow.Remote]
	switch {
	case first != c:
		for first.next != c {
			first = first.next
		}
		first.next = c.next
	case c.next != nil:
		t.byPeer[c.flow.Remote] = c.next
	default:
		delete(t.byPeer, c.flow.Remote)
	}
	c.next = nil
}

func (t *table) all() []*conn {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := make([]*conn, 0, len(t.byID))
	for _, c := range t.byID {
		all = append(all, c)
	}
	return all
}

func (t *table) open() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.byID)
}
