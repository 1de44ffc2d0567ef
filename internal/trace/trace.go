// Package trace shows SIP messages as they come and go to those who watch: some, or all. It owns who watches, and what waits for
// them. While nobody does, messages are not even looked at. It never makes who shows a message wait: what a watcher does not
// take in time is dropped, and counted.
package trace

import (
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mrcproxy/proxy/message"
	"mrcproxy/proxy/transport"
)

// Packet says of a message where it comes from and goes to.
type Packet = transport.Packet

// Message is one that was received or sent. It is not changed any more.
type Message struct {
	At       time.Time
	Proto    transport.Proto
	Src, Dst netip.AddrPort
	Sent     bool   // by us
	CallID   string // "" where the message has none that can be read
	Text     []byte // all of it
}

// Filter says which messages are wanted; the zero Filter wants all.
type Filter struct {
	CallID string // is in the Call-ID
	// Peers are who the other side is, one of them. On a stream the port does not count: it is an ephemeral one where the peer has
	// made the connection.
	Peers []netip.AddrPort
}

func (f *Filter) peer(p *Packet) bool {
	if len(f.Peers) == 0 {
		return true
	}
	for _, a := range f.Peers {
		if a == p.Remote || p.Proto.Reliable() && a.Addr() == p.Remote.Addr() {
			return true
		}
	}
	return false
}

// Hub gives messages to watchers. Its methods are safe for concurrent use.
type Hub struct {
	onOff func(on bool)
	now   func() time.Time
	all   atomic.Pointer[[]*Watcher]
	views sync.Pool // of *message.Message

	mu sync.Mutex // held while all is changed
}

// New makes a Hub. onOff says whether anybody watches, each time that this changes: messages need be shown only then.
func New(onOff func(on bool)) *Hub {
	h := &Hub{onOff: onOff, now: time.Now}
	h.all.Store(new([]*Watcher))
	h.views.New = func() any { return new(message.Message) }
	return h
}

// Watch gives a Watcher the messages from now on that f wants, until Close. What it does not take in time is kept up to a number of
// messages and of bytes.
func (h *Hub) Watch(f Filter, messages int, bytes int64) *Watcher {
	w := &Watcher{hub: h, filter: f, room: bytes, queue: make(chan *Message, messages)}
	h.change(func(l []*Watcher) []*Watcher { return append(l, w) })
	return w
}

func (h *Hub) change(f func([]*Watcher) []*Watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := *h.all.Load()
	next := f(append([]*Watcher(nil), before...))
	h.all.Store(&next)
	if on := len(next) > 0; on != (len(before) > 0) {
		h.onOff(on)
	}
}

// Show gives a message to who wants it (transport.Tap).
func (h *Hub) Show(p Packet, text []byte) {
	var m *Message // made for the first who wants it
	id, read := "", false
	for _, w := range *h.all.Load() {
		if !w.filter.peer(&p) {
			continue
		}
		if !read {
			id, read = h.callID(text), true
		}
		if !strings.Contains(id, w.filter.CallID) {
			continue
		}
		if !w.reserve(int64(len(text))) {
			continue
		}
		if m == nil {
			m = &Message{At: h.now(), Proto: p.Proto, Src: p.Remote, Dst: p.Local, Sent: p.Sent, CallID: id, Text: append([]byte(nil), text...)}
			if p.Sent {
				m.Src, m.Dst = m.Dst, m.Src
			}
		}
		w.put(m)
	}
}

func (h *Hub) callID(text []byte) string {
	m := h.views.Get().(*message.Message)
	defer h.views.Put(m)
	_ = m.Scan(text) // what is wrong with it may come after its Call-ID
	id := string(m.Bytes(m.CallID.Value))
	m.Raw = nil
	return id
}

// Watcher is one who watches.
type Watcher struct {
	hub     *Hub
	filter  Filter
	room    int64 // bytes that may wait
	waiting atomic.Int64
	queue   chan *Message
	dropped atomic.Uint64
}

// reserve keeps room for a message of n bytes, or counts it as dropped.
func (w *Watcher) reserve(n int64) bool {
	if w.waiting.Add(n) <= w.room {
		return true
	}
	w.waiting.Add(-n)
	w.dropped.Add(1)
	return false
}

func (w *Watcher) put(m *Message) {
	select {
	case w.queue <- m:
	default:
		w.waiting.Add(-int64(len(m.Text)))
		w.dropped.Add(1)
	}
}

// C gives the messages. Each is to be said to be Taken.
func (w *Watcher) C() <-chan *Message { return w.queue }

// Taken makes room for others.
func (w *Watcher) Taken(m *Message) { w.waiting.Add(-int64(len(m.Text))) }

// Dropped is how many messages there was no room for.
func (w *Watcher) Dropped() uint64 { return w.dropped.Load() }

// Close ends the watch; what waits can still be taken. It is called once.
func (w *Watcher) Close() {
	w.hub.change(func(l []*Watcher) []*Watcher {
		kept := l[:0]
		for _, other := range l {
			if other != w {
				kept = append(kept, other)
			}
		}
		return kept
	})
}
