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
	byPeer  map[peer]*conn // the first of those linked by conn.next
	inbound int
	sources map[netip.Addr]int // inbound ones of an address
}

// peer is what connections are found by.
type peer struct {
	proto Proto
	addr  netip.AddrPort
}

func (f Flow) peer() peer { return peer{f.Proto, f.Remote} }

// entry says what became of a connection that was to be put into the table.
type entry uint8

const (
	entered    entry = iota
	full             // there are too many
	fullSource       // there are too many with its address
)

func (t *table) init() {
	t.byID = make(map[uint64]*conn)
	t.byPeer = make(map[peer]*conn)
	t.sources = make(map[netip.Addr]int)
}

func (t *table) get(id uint64) *conn {
	if id == 0 {
		return nil
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byID[id]
}

// find returns a connection with that peer: an open one of that listener if
// there is, else any open one, else, unless open is asked for, one being
// dialled.
func (t *table) find(p peer, local uint8, open bool) *conn {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.findLocked(p, local, open)
}

func (t *table) findLocked(p peer, local uint8, open bool) *conn {
	var best *conn
	rank := 0
	for c := t.byPeer[p]; c != nil; c = c.next {
		r := 1
		switch {
		case c.up.Load() && c.flow.Local == local:
			return c
		case c.up.Load():
			r = 2
		case open || c.inbound:
			continue
		}
		if r > rank {
			best, rank = c, r
		}
	}
	return best
}

// add puts an accepted connection in, unless there are limit of them, or
// perSource with its address.
func (t *table) add(c *conn, limit, perSource int) entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.sources[c.flow.Remote.Addr()] >= perSource:
		return fullSource
	case t.inbound >= limit:
		return full
	}
	t.addLocked(c)
	return entered
}

// addOr puts a connection to be dialled in, unless there is one with that
// peer, which is then returned, or there are limit of them, when nil
// is.
func (t *table) addOr(c *conn, limit int) *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if other := t.findLocked(c.flow.peer(), c.flow.Local, false); other != nil {
		return other
	}
	if len(t.byID)-t.inbound >= limit {
		return nil
	}
	t.addLocked(c)
	return c
}

// put puts a connection in, however many there are.
func (t *table) put(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.addLocked(c)
}

func (t *table) addLocked(c *conn) {
	t.byID[c.flow.Conn] = c
	p := c.flow.peer()
	c.next = t.byPeer[p]
	t.byPeer[p] = c
	if c.inbound {
		t.inbound++
		t.sources[p.addr.Addr()]++
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
	p := c.flow.peer()
	if c.inbound {
		t.inbound--
		source := p.addr.Addr()
		if t.sources[source]--; t.sources[source] == 0 {
			delete(t.sources, source)
		}
	}
	first := t.byPeer[p]
	switch {
	case first != c:
		for first.next != c {
			first = first.next
		}
		first.next = c.next
	case c.next != nil:
		t.byPeer[p] = c.next
	default:
		delete(t.byPeer, p)
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
