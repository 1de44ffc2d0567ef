package transport

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// conn is one stream connection. A goroutine of its own makes it (when it is
// dialled, or has a TLS handshake to do), reads it and tells its end; another
// one writes while the peer does not take as fast as is sent, or on TLS.
type conn struct {
	set     *Set
	flow    Flow           // names it
	inbound bool           // accepted, not dialled
	local   netip.AddrPort // our end; set when it opens
	next    *conn          // the table's
	up      atomic.Bool    // open: not being made any more, and not ended
	adopted bool           // another process has read it before
	early   []byte         // and that of an incomplete message
	park    atomic.Pointer[parking]

	mu          sync.Mutex         // guards what follows; never held while waiting
	nc          net.Conn           // what is read and written; nil while it is being made
	tcp         *net.TCPConn       // under it, or it
	cancel      context.CancelFunc // of its making
	ended       error              // why; nil while it can be sent on
	writeFailed bool               // that is why
	deaf        bool               // nothing more is to be received

	queue   []byte // to be written after what flush writes now
	spare   []byte // an empty queue
	queued  int    // bytes in queue and in flush's hands
	writing bool   // flush runs

	raw     syscall.RawConn // for writing at once; nil: everything is queued
	out     []byte          // what is written at once
	wrote   int
	err     error
	writeFn func(fd uintptr) bool // writeOnce, bound once
	flushFn func()                // flush, bound once
}

func (s *Set) newConn(f Flow, inbound bool) *conn {
	f.Conn = s.lastID.Add(1)
	c := &conn{set: s, flow: f, inbound: inbound}
	c.writeFn = c.writeOnce
	c.flushFn = c.flush
	return c
}

func (c *conn) id() uint64 {
	if c == nil {
		return 0
	}
	return c.flow.Conn
}

// making gives a connection what ends its making. It fails when the connection
// was given up already.
func (c *conn) making(cancel context.CancelFunc) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancel = cancel
	return c.ended
}

// open gives a connection its socket, nc over tcp, and starts to write what
// waits for it. It fails when the connection was given up meanwhile.
func (c *conn) open(nc net.Conn, tcp *net.TCPConn) error {
	raw, err := tcp.SyscallConn()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.failLocked(err)
	}
	if c.ended != nil {
		_ = tcp.Close()
		return c.ended
	}
	c.nc, c.tcp = nc, tcp
	c.local = unmap(tcp.LocalAddr().(*net.TCPAddr).AddrPort())
	if c.flow.Proto == TCP {
		c.raw = raw
	}
	c.up.Store(true)
	if c.queued > 0 {
		c.tapQueueLocked()
		c.startLocked()
	}
	return c.ended
}

// fail ends the connection; its own goroutine then tells the Handler.
func (c *conn) fail(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failLocked(why)
}

func (c *conn) failLocked(why error) {
	if c.ended != nil {
		return
	}
	c.ended = why
	c.up.Store(false)
	c.set.table.remove(c)
	c.dropQueueLocked()
	if errors.Is(why, ErrMemory) {
		c.set.count.starved.Add(1)
	}
	if c.cancel != nil {
		c.cancel()
	}
	if c.nc == nil {
		return
	}
	switch {
	case errors.Is(why, ErrHungUp), errors.Is(why, ErrStopped), errors.Is(why, ErrSlow), errors.Is(why, ErrMemory):
		c.deaf = true
		c.hangUpLocked()
	default:
		// The peer may have sent requests before it closed: they are read to
		// the end, a BYE may be among them.
		_ = c.tcp.CloseRead()
	}
}

// hangUpLocked closes the socket, or wakes the reader to close it.
func (c *conn) hangUpLocked() {
	switch {
	case errors.Is(c.ended, ErrSlow), errors.Is(c.ended, ErrMemory):
		_ = c.tcp.SetLinger(0) // what the peer does not take is not kept for it
	case c.flow.Proto == TLS && !c.writing:
		// Saying goodbye (RFC 8446 section 6.1) may wait for the network: the
		// connection's own goroutine does it.
		_ = c.tcp.SetWriteDeadline(time.Now().Add(goodbye))
		_ = c.tcp.CloseRead()
		return
	}
	_ = c.tcp.Close()
}

// isDeaf says that the connection was closed from this side.
func (c *conn) isDeaf() bool {
	if c.up.Load() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.deaf
}

// finish closes a connection that is read no more, and tells its end.
func (c *conn) finish(err error) {
	c.mu.Lock()
	c.failLocked(err)
	if c.writeFailed && errors.Is(err, ErrHandshake) {
		c.ended = err // why the peer takes nothing
	}
	nc, why := c.nc, c.ended
	if p := c.park.Load(); p != nil {
		close(p.at)
	}
	c.mu.Unlock()
	if nc != nil {
		_ = nc.Close()
	}
	if errors.Is(why, errMoved) {
		return
	}
	c.set.opt.Handler.Closed(c.flow.Conn, c.flow.Remote, why)
}
