package transport

import "golang.org/x/sys/unix"

// minQueue is the size in bytes a queue begins with.
const minQueue = 2 << 10

// write writes a message, or what of it the socket does not take now is queued.
// ErrGone means that the connection has ended and it may be sent another way.
func (c *conn) write(msg []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != nil {
		return ErrGone
	}
	if c.nc != nil {
		c.tapped(true, msg)
	}
	if err := c.putLocked(msg); err != nil {
		return err
	}
	c.set.count.streamOut.Add(1)
	return nil
}

// pong answers a ping (RFC 5626 section 4.4.1). It is no message.
func (c *conn) pong() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		_ = c.putLocked(crlf) // the reader sees what has failed
	}
}

var crlf = []byte("\r\n")

func (c *conn) putLocked(b []byte) error {
	n := 0
	if c.raw != nil && c.queued == 0 {
		var err error
		if n, err = c.writeNow(b); err != nil {
			c.writeFailed = true
			c.failLocked(err)
			return ErrGone
		}
	}
	if n < len(b) {
		return c.enqueueLocked(b[n:])
	}
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
	if !c.appendLocked(b) {
		c.failLocked(ErrMemory)
		return ErrMemory
	}
	if c.nc != nil {
		c.startLocked()
	}
	return c.ended
}

// appendLocked puts b into the queue, unless there is no memory for it.
func (c *conn) appendLocked(b []byte) bool {
	if need := len(c.queue) + len(b); need > cap(c.queue) {
		size := max(need, min(2*cap(c.queue), c.set.opt.MaxPending), minQueue)
		if !c.set.memory.take(size - cap(c.queue)) {
			return false
		}
		c.queue = append(make([]byte, 0, size), c.queue...)
	}
	c.queue = append(c.queue, b...)
	c.addQueued(len(b))
	return true
}

func (c *conn) dropQueueLocked() {
	c.addQueued(-len(c.queue))
	c.set.memory.give(cap(c.queue) + cap(c.spare))
	c.queue, c.spare = nil, nil
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
	if c.writing = c.set.spawn(c.flushFn); !c.writing {
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
		if cap(b) <= keepBuffer && c.ended == nil {
			c.spare = b[:0]
		} else {
			c.set.memory.give(cap(b))
		}
		if err != nil {
			c.writeFailed = c.ended == nil
			c.failLocked(err)
		}
	}
	c.writing = false
}
