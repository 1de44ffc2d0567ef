package transport

import (
	"net/netip"
	"strconv"
)

// Proto is a transport protocol.
type Proto uint8

// The protocols. The zero Proto is none.
const (
	UDP Proto = 1
	TCP Proto = 2
	TLS Proto = 3 // over TCP
)

// String returns the name as a Via header writes it: "UDP", "TCP", "TLS".
func (p Proto) String() string {
	switch p {
	case UDP:
		return "UDP"
	case TCP:
		return "TCP"
	case TLS:
		return "TLS"
	}
	return "Proto(" + strconv.Itoa(int(p)) + ")"
}

// Reliable says whether the transport itself repeats what is lost, so that SIP
// need not (RFC 3261 section 17).
func (p Proto) Reliable() bool { return p == TCP || p == TLS }

// Flow says where a message came from or is to go. It is comparable; the zero
// Flow is nowhere.
type Flow struct {
	Proto  Proto
	Local  uint8          // index of the listener it came in on, or is to leave from
	Conn   uint64         // TCP, TLS: the connection's id, never reused in a process; 0: none named
	Remote netip.AddrPort // the peer; never an IPv4 address in IPv6 form
}

// Handler takes what arrives. Its methods are called from many goroutines, but
// for one UDP source or one connection from one at a time and in order; while a
// method runs, nothing more is read from that socket. No lock of this package
// is held during a call, so that every method may call Send.
type Handler interface {
	// Receive takes one SIP message. On a stream it is the message from its
	// start line to the end of its body; on UDP it is the whole datagram less
	// leading line ends, whatever its Content-Length says. The bytes are valid
	// only during the call.
	Receive(msg []byte, from Flow)

	// Unreachable says that a datagram sent to that address was refused (an
	// ICMP error). head is what the error carries of the datagram's payload,
	// from its first byte: often all of it or some 500 bytes, from some routers
	// none. It is valid only during the call. err is a syscall.Errno:
	// ECONNREFUSED (no socket on that port), EHOSTUNREACH, ENETUNREACH, ...
	Unreachable(head []byte, to netip.AddrPort, err error)

	// Closed says that a connection ended, or could not be made. It is called
	// once for each connection, after the last Receive from it; a connection
	// that was accepted and failed its TLS handshake is one. err is io.EOF when
	// the peer closed it in order, else one of this package's errors or the
	// operating system's. ErrHandshake wraps what was wrong.
	Closed(conn uint64, remote netip.AddrPort, err error)

	// Malformed says that a stream's framing is lost (RFC 3261 section 18.3);
	// the connection is closed when the call returns.
	Malformed(from Flow, reason string)
}
