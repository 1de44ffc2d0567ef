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

func (s *Set) openTCP(l Listener) (socket, error) {
	if l.Proto == TLS && l.TLS == nil {
		return socket{}, errors.New("no TLS configuration")
	}
	ln, err := s.listenTCP(l)
	if err != nil {
		return socket{}, err
	}
	port := ln.Addr().(*net.TCPAddr).AddrPort().Port()
	return socket{Listener: l, tcp: ln.(*net.TCPListener), addr: netip.AddrPortFrom(l.Addr.Addr(), port)}, nil
}

func (s *Set) listenTCP(l Listener) (net.Listener, error) {
	if len(l.Inherited) > 0 {
		return inheritTCP(l.Inherited)
	}
	lc := net.ListenConfig{Control: tuneTCP, KeepAliveConfig: keepAlive}
	lc.SetMultipathTCP(false)
	return lc.Listen(context.Background(), "tcp"+s.family(l), l.Addr.String())
}

// accept takes connections until the listener is closed. Running out of file
// descriptors does not end it.
func (s *Set) accept(ctx context.Context, local uint8) {
	var pause time.Duration
	ln := s.socks[local].tcp
	for {
		nc, err := ln.AcceptTCP()
		if err == nil {
			pause = 0
			s.accepted(ctx, local, nc)
			continue
		}
		if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) { // halted
			return
		}
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		s.opt.Log.Warn("accept", zap.Stringer("socket", ln.Addr()), zap.Duration("pause", pause), zap.Error(err))
		select {
		case <-ctx.Done():
		case <-time.After(pause): //nolint:forbidigo // a second at most
		}
	}
}

// accepted starts a connection's goroutine; it waits for nothing.
func (s *Set) accepted(ctx context.Context, local uint8, nc *net.TCPConn) {
	sock := &s.socks[local]
	if len(sock.Inherited) > 0 { // which net.ListenConfig sees to otherwise
		_ = nc.SetKeepAliveConfig(keepAlive)
	}
	remote := unmap(nc.RemoteAddr().(*net.TCPAddr).AddrPort())
	c := s.newConn(Flow{Proto: sock.Proto, Local: local, Remote: remote}, true)
	if !s.enter(c) {
		_ = nc.SetLinger(0)
		_ = nc.Close()
		return
	}
	s.count.accepted.Add(1)
	if sock.Proto == TLS {
		if !s.spawn(func() { c.serveTLS(ctx, sock.TLS, nc) }) {
			_ = nc.Close()
			c.finish(ErrStopped)
		}
		return
	}
	if err := c.open(nc, nc); err != nil || !s.spawn(c.serve) {
		c.finish(ErrStopped)
	}
}

// enter puts an accepted connection into the table if it may come in.
func (s *Set) enter(c *conn) bool {
	if s.opt.Admit != nil && !s.opt.Admit(c.flow.Remote.Addr().WithZone("")) {
		s.count.notAdmitted.Add(1)
		return false
	}
	switch s.table.add(c, s.opt.MaxConns, s.opt.MaxConnsPerSource) {
	case full:
		s.count.refused.Add(1)
		return false
	case fullSource:
		s.count.refusedSource.Add(1)
		return false
	}
	return true
}

// serve reads an open TCP connection to its end.
func (c *conn) serve() { c.finish(c.read(nil)) }

// read hands messages to the Handler until the connection ends, and returns
// why. On TLS the connection is over socket.
func (c *conn) read(socket *tlsSocket) error {
	opt := &c.set.opt
	f := newFramer(opt.MaxHeader, opt.MaxBody)
	f.more = c.set.memory.take
	defer func() { c.set.memory.give(len(f.buf)) }()
	d := deadline{nc: c.nc, header: opt.HeaderTimeout, idle: opt.IdleTimeout}
	if c.inbound && !c.adopted {
		d.first = opt.FirstMessageTimeout
	}
	d.start()
	if !f.put(c.early) {
		return ErrMemory
	}
	c.early = nil
	for {
		for p := c.park.Load(); p != nil; p = c.park.Load() {
			if err := c.parked(p, f, &d); err != nil {
				return err
			}
		}
		room := f.space()
		if len(room) == 0 {
			return ErrMemory
		}
		n, err := c.nc.Read(room)
		if n > 0 && socket != nil {
			socket.used()
		}
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
		case socket != nil && !d.spoken:
			return refusedTLS(err)
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
			c.tapped(false, msg)
			c.set.opt.Handler.Receive(msg, c.flow)
		case evPing:
			c.pong()
		case evBroken:
			c.set.count.malformed.Add(1)
			c.set.opt.Handler.Malformed(c.flow, f.reason)
			return messages, ErrMalformed
		}
	}
}
