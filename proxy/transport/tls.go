package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

const (
	// maxUnread is how many bytes may come in without one of a message: in a
	// handshake, or in what may follow it.
	maxUnread = 64 << 10
	// goodbye is how long a peer has to take the end of a TLS connection.
	goodbye = time.Second
)

var errUnread = fmt.Errorf("%w: too many bytes in TLS without data", ErrMalformed)

// tlsSocket is what crypto/tls reads and writes. It counts what crypto/tls holds
// of what it read: its record buffer, whose free part each Read is given, and
// the handshake messages beside it.
type tlsSocket struct {
	net.Conn
	mem    *ledger
	record int // bytes counted for the record buffer
	unread int // bytes read since something came of it
}

func (t *tlsSocket) Read(b []byte) (int, error) {
	if n := len(b) - t.record; n > 0 {
		if !t.mem.take(n) {
			return 0, ErrMemory
		}
		t.record += n
	}
	n, err := t.Conn.Read(b)
	if t.unread+n > maxUnread {
		return 0, errUnread
	}
	if !t.mem.take(n) {
		return 0, ErrMemory
	}
	t.unread += n
	return n, err
}

// used says that what was read has been given out.
func (t *tlsSocket) used() {
	t.mem.give(t.unread)
	t.unread = 0
}

// release says that nothing is held any more.
func (t *tlsSocket) release() {
	t.mem.give(t.record + t.unread)
	t.record, t.unread = 0, 0
}

// SetWriteDeadline is what crypto/tls calls to bound its goodbye.
func (t *tlsSocket) SetWriteDeadline(at time.Time) error {
	if latest := time.Now().Add(goodbye); at.After(latest) {
		at = latest
	}
	return t.Conn.SetWriteDeadline(at)
}

// serveTLS does an accepted connection's handshake and reads the connection to
// its end.
func (c *conn) serveTLS(ctx context.Context, config *tls.Config, tcp *net.TCPConn) {
	ctx, cancel := context.WithTimeout(ctx, c.set.opt.HandshakeTimeout)
	if err := c.making(cancel); err != nil {
		cancel()
		_ = tcp.Close()
		c.finish(err)
		return
	}
	socket := &tlsSocket{Conn: tcp, mem: &c.set.memory}
	nc := tls.Server(socket, config)
	err := shake(ctx, nc)
	cancel()
	if err != nil {
		c.set.count.handshakeFailed.Add(1)
	}
	c.serveOver(socket, nc, tcp, err)
}

// serveOver reads a TLS connection whose handshake ended with err.
func (c *conn) serveOver(socket *tlsSocket, nc *tls.Conn, tcp *net.TCPConn, err error) {
	if err == nil {
		socket.used()
		err = c.open(nc, tcp)
	}
	if err == nil {
		err = c.read(socket)
	} else {
		_ = tcp.Close()
	}
	socket.release()
	c.finish(err)
}

// shake does the handshake and says what is wrong with it.
func shake(ctx context.Context, nc *tls.Conn) error {
	err := nc.HandshakeContext(ctx)
	switch {
	case err == nil:
		return nil
	case ctx.Err() == context.Canceled: // with CloseConn there is a reason already, which stays
		return ErrStopped
	case ctx.Err() != nil:
		err = ErrTimeout
	}
	return fmt.Errorf("%w: %w", ErrHandshake, err)
}

// refusedTLS returns err, as a failed handshake if it is one: in TLS 1.3 the
// side that dials is told after its own handshake that its certificate does not
// do.
func refusedTLS(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		return fmt.Errorf("%w: %w", ErrHandshake, err)
	}
	return err
}

// clientTLS returns what to dial a peer with.
func (s *Set) clientTLS(remote netip.AddrPort) *tls.Config {
	var config *tls.Config
	if s.opt.ClientTLS != nil {
		config = s.opt.ClientTLS(remote)
	}
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName = remote.Addr().WithZone("").String()
	}
	return config
}
