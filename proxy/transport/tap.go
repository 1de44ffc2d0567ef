package transport

import "net/netip"

// Packet says of a message where it comes from and goes to.
type Packet struct {
	Proto    Proto
	Listener uint8          // index of the one it came in on, or leaves from
	Local    netip.AddrPort // our address; that of a UDP listener is the one it is bound to
	Remote   netip.AddrPort
	Sent     bool // by us
}

// Tap sees each SIP message that is received, before the Handler does, and each
// that is sent, when it is given to the kernel, which may still lose it. What
// waits for a connection is seen when that is there. It is called from many
// goroutines, under locks of this package: it must not wait, nor call the Set.
// The bytes are valid only during the call.
type Tap func(p Packet, msg []byte)

// SetTap has t see all messages from now on, in place of the one before; nil:
// nobody does.
func (s *Set) SetTap(t Tap) {
	if t == nil {
		s.tap.Store(nil)
		return
	}
	s.tap.Store(&t)
}

// tapped shows a datagram.
func (u *udpSocket) tapped(remote netip.AddrPort, sent bool, msg []byte) {
	if t := u.set.tap.Load(); t != nil {
		f := u.flow
		(*t)(Packet{Proto: UDP, Listener: f.Local, Local: u.set.socks[f.Local].addr, Remote: remote, Sent: sent}, msg)
	}
}

// tapped shows a message of an open connection.
func (c *conn) tapped(sent bool, msg []byte) {
	if t := c.set.tap.Load(); t != nil {
		(*t)(Packet{Proto: c.flow.Proto, Listener: c.flow.Local, Local: c.local, Remote: c.flow.Remote, Sent: sent}, msg)
	}
}

// tapQueueLocked shows what waited for the connection.
func (c *conn) tapQueueLocked() {
	if c.set.tap.Load() == nil {
		return
	}
	f := newFramer(len(c.queue), len(c.queue))
	f.buf, f.w = c.queue, len(c.queue)
	for ev, msg := f.next(); ev == evMessage; ev, msg = f.next() {
		c.tapped(true, msg)
	}
}
