package transport

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// conn is one stream connection. A goroutine of its own makes it (when it is
// dialled), reads it and tells its end; another one writes while the peer does
// not take as fast as is sent.
type conn struct {
	set     *Set
	flow    Flow        // names it
	inbound bool        // accepted, not dialled
	next    *conn       // the table's
	up      atomic.Bool // open: not being dialled any more, and not ended

	mu     sync.Mutex         // guards what follows; never held while waiting
	nc     net.Conn           // nil while dialled
	cancel context.CancelFunc // of the dial
	ended  error              // why; nil while it can be sent on
	deaf   bool               // nothing more is to be received

	queue   []byte // to be written after what flush writes now
	spare   []byte // an empty queue
	queued  int    // bytes in queue and in flush's hands
	writing bool   // flush runs

	raw     syscall.RawConn // for writing at once; nil: everything is queued
	out     []byte          // what is written at once
	wrote   int
	err     error
	writeFn func(fd uintptr) bool // writeOnce, bound once
}

func (s *Set) newConn(f Flow, inbound bool) *conn {
	f.Conn = s.lastID.Add(1)
	c := &conn{set: s, flow: f, inbound: inbound}
	c.writeFn = c.writeOnce
	return c
}

func (c *conn) id() uint64 {
	if c == nil {
		return 0
	}
	return c.flow.Conn
}

// open gives a connection its socket and starts to write what waits for it. It
// fails when the connection was given up meanwhile.
func (c *conn) open(nc *net.TCPConn) error {
	raw, err := nc.SyscallConn()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.failLocked(err)
	}
	if c.ended != nil {
		_ = nc.Close()
		return c.ended
	}
	c.nc, c.raw = nc, raw
	c.up.Store(true)
	if c.queued > 0 {
		c.startLocked()
	}
	return c.ended
}

// write writes b, or what of it the socket does not take now is queued.
// ErrGone means that the connection has ended and b may be sent another way.
func (c *conn) write(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != nil {
		return ErrGone
	}
	n := 0
	if c.raw != nil && c.queued == 0 {
		var err error
		if n, err = c.writeNow(b); err != nil {
			c.failLocked(err)
			return ErrGone
		}
	}
	if n < len(b) {
		if err := c.enqueueLocked(b[n:]); err != nil {
			return err
		}
	}
	c.set.count.streamOut.Add(1)
	return nil
}

// writeNow writes what the socket takes without waiting.
func (c *conn) writeNow(b []byte) (int, error) {
	c.out, c.wrote, c.err = b, 0, nil
	err := c.raw.Write(c.writeFn)
	c.out = nil
	if err == nil {
		err = c.err
	}
	return c.wrote, err
}

func (c *conn) writeOnce(fd uintptr) bool {
	for {
		n, err := unix.Write(int(fd), c.out)
		switch err {
		case nil:
			c.wrote = n
		case unix.EINTR:
			continue
		case unix.EAGAIN:
		default:
			c.err = err
		}
		return true
	}
}

func (c *conn) enqueueLocked(b []byte) error {
	if c.queued+len(b) > c.set.opt.MaxPending {
		c.set.count.slow.Add(1)
		c.failLocked(ErrSlow)
		return ErrSlow
	}
	c.queue = append(c.queue, b...)
	c.addQueued(len(b))
	if c.nc != nil {
		c.startLocked()
	}
	return c.ended
}

func (c *conn) addQueued(n int) {
	c.queued += n
	c.set.count.pending.Add(int64(n))
}

// startLocked sees to it that flush runs.
func (c *conn) startLocked() {
	if c.writing {
		return
	}
	if c.writing = c.set.spawn(c.flush); !c.writing {
		c.failLocked(ErrStopped)
	}
}

// flush writes until nothing is queued.
func (c *conn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) > 0 && c.ended == nil {
		b := c.queue
		c.queue, c.spare = c.spare, nil
		c.mu.Unlock()
		_, err := c.nc.Write(b)
		c.mu.Lock()
		c.addQueued(-len(b))
		if cap(b) <= keepBuffer {
			c.spare = b[:0]
		}
		if err != nil {
			c.failLocked(err)
		}
	}
	c.writing = false
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
	c.addQueued(-len(c.queue))
	c.queue, c.spare = nil, nil
	if c.cancel != nil {
		c.cancel()
	}
	if c.nc == nil {
		return
	}
	switch why {
	case ErrHungUp, ErrStopped, ErrSlow:
		c.deaf = true
		if tc, ok := c.nc.(*net.TCPConn); ok && why == ErrSlow {
			_ = tc.SetLinger(0) // what the peer does not take is not kept for it
		}
		_ = c.nc.Close()
	default:
		// The peer may have sent requests before it closed: they are read to
		// the end, a BYE may be among them.
		if tc, ok := c.nc.(*net.TCPConn); ok {
			_ = tc.CloseRead()
		}
	}
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
	if c.nc != nil {
		_ = c.nc.Close()
	}
	err = c.ended
	c.mu.Unlock()
	c.set.opt.Handler.Closed(c.flow.Conn, c.flow.Remote, err)
}
