package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
)

// dial starts a connection to f.Remote with b as the first to be written on it.
// When another is there already that one is returned, and dialled is false.
func (s *Set) dial(f Flow, b []byte) (c *conn, dialled bool, err error) {
	if len(b) > s.opt.MaxPending {
		return nil, false, ErrSlow
	}
	ctx := s.runContext()
	if ctx == nil {
		return nil, false, ErrStopped
	}
	f.Conn = 0
	c = s.newConn(f, false)
	ctx, c.cancel = context.WithTimeout(ctx, s.opt.ConnectTimeout)

	// Nobody writes to it, or ends it, before its goroutine is there to tell.
	c.mu.Lock()
	defer c.mu.Unlock()
	switch other := s.table.addOr(c, s.opt.MaxConns); other {
	case c:
	case nil:
		c.cancel()
		s.count.refused.Add(1)
		return nil, false, ErrConns
	default:
		c.cancel()
		return other, false, nil
	}
	if !c.appendLocked(b) {
		c.failLocked(ErrMemory)
		return nil, false, ErrMemory
	}
	if !s.spawn(func() { c.connect(ctx) }) {
		c.failLocked(ErrStopped)
		return nil, false, ErrStopped
	}
	s.count.streamOut.Add(1)
	return c, true, nil
}

// runContext returns the context of Run, nil when it does not run.
func (s *Set) runContext() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != running {
		return nil
	}
	return s.ctx
}

// connect makes the connection and reads it to its end.
func (c *conn) connect(ctx context.Context) {
	defer c.cancel()
	d := net.Dialer{KeepAliveConfig: keepAlive, Control: tuneDial}
	tcp, err := d.DialTCP(ctx, "tcp", c.set.source(c.flow), c.flow.Remote)
	if err != nil {
		te, ok := errors.AsType[net.Error](err)
		switch {
		case ctx.Err() == context.Canceled: // with CloseConn there is a reason already, which stays
			err = ErrStopped
		case ok && te.Timeout():
			err = ErrTimeout
		}
		c.set.count.dialFailed.Add(1)
		c.finish(err)
		return
	}
	if c.flow.Proto == TLS {
		c.connectTLS(ctx, tcp)
		return
	}
	c.set.count.dialled.Add(1)
	c.cancel()
	if err := c.open(tcp, tcp); err != nil {
		c.finish(err)
		return
	}
	c.serve()
}

// connectTLS goes on from a TCP connection.
func (c *conn) connectTLS(ctx context.Context, tcp *net.TCPConn) {
	socket := &tlsSocket{Conn: tcp, mem: &c.set.memory}
	nc := tls.Client(socket, c.set.clientTLS(c.flow.Remote))
	err := shake(ctx, nc)
	c.cancel()
	if err != nil {
		c.set.count.dialFailed.Add(1)
	} else {
		c.set.count.dialled.Add(1)
	}
	c.serveOver(socket, nc, tcp, err)
}

// source returns the address to dial from: the listener's, or any when that is
// a wildcard or of the other family.
func (s *Set) source(f Flow) netip.AddrPort {
	local, remote := s.socks[f.Local].addr.Addr(), f.Remote.Addr()
	if local.Is4() != remote.Is4() || local.IsUnspecified() {
		local = netip.IPv6Unspecified()
		if remote.Is4() {
			local = netip.IPv4Unspecified()
		}
	}
	return netip.AddrPortFrom(local, 0)
}
