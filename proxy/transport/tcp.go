package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"go.uber.org/zap"
)

// keepAlive makes the kernel probe a silent peer: a session's connection is
// idle for minutes (RFC 4028), and a BYE must not be what finds it dead.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: deadPeer, Interval: deadPeer / 3, Count: 3}

// pong answers a ping (RFC 5626 section 4.4.1).
var pong = []byte("\r\n")

func (s *Set) openTCP(l Listener) (socket, error) {
	lc := net.ListenConfig{Control: tuneTCP, KeepAliveConfig: keepAlive}
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(context.Background(), "tcp"+s.family(l), l.Addr.String())
	if err != nil {
		return socket{}, err
	}
	port := ln.Addr().(*net.TCPAddr).AddrPort().Port()
	return socket{tcp: ln.(*net.TCPListener), addr: netip.AddrPortFrom(l.Addr.Addr(), port)}, nil
}

// accept takes connections until the listener is closed. Running out of file
// descriptors does not end it.
func (s *Set) accept(ctx context.Context, local uint8, ln *net.TCPListener) {
	var pause time.Duration
	for {
		nc, err := ln.AcceptTCP()
		if err == nil {
			pause = 0
			s.accepted(local, nc)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		s.opt.Log.Warn("accept", zap.Stringer("socket", ln.Addr()), zap.Duration("pause", pause), zap.Error(err))
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

func (s *Set) accepted(local uint8, nc *net.TCPConn) {
	remote := unmap(nc.RemoteAddr().(*net.TCPAddr).AddrPort())
	c := s.newConn(Flow{Proto: TCP, Local: local, Remote: remote}, true)
	if !s.table.add(c, s.opt.MaxConns) {
		s.count.refused.Add(1)
		_ = nc.SetLinger(0)
		_ = nc.Close()
		return
	}
	s.count.accepted.Add(1)
	if err := c.open(nc); err != nil || !s.spawn(c.serve) {
		c.finish(ErrStopped)
	}
}

// serve reads an open connection to its end.
func (c *conn) serve() { c.finish(c.read()) }

// read hands messages to the Handler until the connection ends, and returns
// why.
func (c *conn) read() error {
	f := newFramer(c.set.opt.MaxHeader, c.set.opt.MaxBody)
	d := deadline{nc: c.nc, header: c.set.opt.HeaderTimeout, idle: c.set.opt.IdleTimeout}
	d.start()
	for {
		n, err := c.nc.Read(f.space())
		f.advance(n)
		messages, broken := c.handle(f)
		if broken != nil {
			return broken
		}
		switch {
		case err == nil:
			d.progress(messages > 0, f.partial())
		case errors.Is(err, os.ErrDeadlineExceeded):
			if err := d.expired(); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// handle takes from the framer what it has and counts the messages.
func (c *conn) handle(f *framer) (messages int, err error) {
	for {
		ev, msg := f.next()
		if ev == evNone {
			return messages, nil
		}
		if c.isDeaf() {
			return messages, io.ErrClosedPipe
		}
		switch ev {
		case evMessage:
			messages++
			c.set.count.streamIn.Add(1)
			c.set.opt.Handler.Receive(msg, c.flow)
		case evPing:
			_ = c.write(pong)
		case evBroken:
			c.set.count.malformed.Add(1)
			c.set.opt.Handler.Malformed(c.flow, f.reason)
			return messages, ErrMalformed
		}
	}
}

// deadline bounds how long a message may take to come in, from its first byte
// to its last, and how long nothing may come.
type deadline struct {
	nc           net.Conn
	header, idle time.Duration
	partial      bool // a message has begun: its deadline is set
	last         time.Time
}

func (d *deadline) start() {
	if d.idle > 0 {
		d.last = time.Now()
		_ = d.nc.SetReadDeadline(d.last.Add(d.idle))
	}
}

// progress says that bytes came: whether they completed a message, and whether
// one is incomplete now.
func (d *deadline) progress(completed, partial bool) {
	if d.idle > 0 {
		d.last = time.Now()
	}
	switch {
	case partial && (completed || !d.partial):
		_ = d.nc.SetReadDeadline(time.Now().Add(d.header))
	case !partial && d.partial && d.idle > 0:
		_ = d.nc.SetReadDeadline(d.last.Add(d.idle))
	case !partial && d.partial:
		_ = d.nc.SetReadDeadline(time.Time{})
	}
	d.partial = partial
}

// expired returns why the connection is to be closed, or nil: the idle deadline
// is not moved with every read.
func (d *deadline) expired() error {
	if d.partial {
		return ErrPartial
	}
	if time.Since(d.last) >= d.idle {
		return ErrIdle
	}
	_ = d.nc.SetReadDeadline(d.last.Add(d.idle))
	return nil
}
