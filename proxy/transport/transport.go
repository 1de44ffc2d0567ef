// Package transport owns the sockets SIP messages come and go by: UDP
// datagrams and TCP streams (RFC 3261 section 18). It frames streams into
// messages, reuses connections, bounds what is queued, and says when a peer
// cannot be reached.
//
// One goroutine reads each UDP socket and each connection, and calls the
// Handler itself: messages of one source are handled in the order they came.
// Sending never waits for the network: a datagram that the kernel has no room
// for is dropped (its sender repeats it), bytes for a slow stream are queued up
// to a limit.
//
// It owns every socket, connection and goroutine of the SIP side. It never
// looks into a message beyond what framing needs (start line, Content-Length),
// never resolves a name, never decides where a message goes, and never calls
// the Handler from within Send, Find or CloseConn.
package transport

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// Proto is a transport protocol.
type Proto uint8

// The protocols. The zero Proto is none.
const (
	UDP Proto = 1
	TCP Proto = 2
)

// String returns the name as a Via header writes it: "UDP", "TCP".
func (p Proto) String() string {
	switch p {
	case UDP:
		return "UDP"
	case TCP:
		return "TCP"
	}
	return "Proto(" + strconv.Itoa(int(p)) + ")"
}

// Reliable says whether the transport itself repeats what is lost, so that SIP
// need not (RFC 3261 section 17).
func (p Proto) Reliable() bool { return p == TCP }

// Flow says where a message came from or is to go. It is comparable; the zero
// Flow is nowhere.
type Flow struct {
	Proto  Proto
	Local  uint8          // index of the listener it came in on, or is to leave from
	Conn   uint64         // TCP: the connection's id, never reused in a process; 0: none named
	Remote netip.AddrPort // the peer; never an IPv4 address in IPv6 form
}

// Handler takes what arrives. Its methods are called from many goroutines, but
// for one UDP socket or one connection from one at a time and in order; while a
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
	// once for each connection, after the last Receive from it. err is io.EOF
	// when the peer closed it in order, else one of this package's errors or
	// the operating system's.
	Closed(conn uint64, remote netip.AddrPort, err error)

	// Malformed says that a stream's framing is lost (RFC 3261 section 18.3);
	// the connection is closed when the call returns.
	Malformed(from Flow, reason string)
}

// Listener is one socket to open.
type Listener struct {
	Proto Proto
	// Addr is what to bind; port 0 lets the kernel choose. [::] takes IPv4 as
	// well, unless another listener of the protocol has an IPv4 address with
	// the same port.
	Addr netip.AddrPort
}

// Options say what Listen opens and which limits hold. A zero value takes the
// default.
type Options struct {
	Listeners []Listener  // at most 256
	Handler   Handler     // must not be nil
	Log       *zap.Logger // nil: silent

	ConnectTimeout time.Duration // how long a dial may take; 2 s
	HeaderTimeout  time.Duration // from the first byte of a message on a stream to its last; 10 s
	IdleTimeout    time.Duration // a connection from which nothing came for so long is closed; 0: never

	MaxHeader  int // bytes of a message on a stream up to its body; 64 KiB
	MaxBody    int // bytes of a body on a stream; 64 KiB
	MaxPending int // bytes queued on one connection; 1 MiB
	MaxConns   int // accepted connections open at once, and likewise dialled ones; 16384

	ReadBuffer  int // bytes of a UDP socket's receive buffer (SO_RCVBUF); 4 MiB
	WriteBuffer int // bytes of a UDP socket's send buffer (SO_SNDBUF); 4 MiB
}

func (o *Options) defaults() {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&o.MaxHeader, 64<<10)
	def(&o.MaxBody, 64<<10)
	def(&o.MaxPending, 1<<20)
	def(&o.MaxConns, 16384)
	def(&o.ReadBuffer, 4<<20)
	def(&o.WriteBuffer, 4<<20)
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = 2 * time.Second
	}
	if o.HeaderTimeout <= 0 {
		o.HeaderTimeout = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
}

// Errors of Send and Handler.Closed; compare with errors.Is.
var (
	ErrGone      = errors.New("transport: connection is gone")
	ErrSlow      = errors.New("transport: peer does not read, its queue is full")
	ErrStopped   = errors.New("transport: not running")
	ErrFlow      = errors.New("transport: flow names no listener or no address")
	ErrConns     = errors.New("transport: too many connections")
	ErrTimeout   = errors.New("transport: connection not made in time")
	ErrTooLarge  = fmt.Errorf("transport: message does not fit a datagram: %w", syscall.EMSGSIZE)
	ErrBusy      = errors.New("transport: no room in the socket's send buffer")
	ErrMalformed = errors.New("transport: stream framing lost")
	ErrPartial   = errors.New("transport: message not completed in time")
	ErrIdle      = errors.New("transport: connection idle for too long")
	ErrHungUp    = errors.New("transport: connection closed on request")
)

// Stats are counts since Listen, but for Open and Pending, which are now.
type Stats struct {
	Open       int64  // connections up or being dialled
	Pending    int64  // bytes queued on connections
	Accepted   uint64 // connections
	Refused    uint64 // connections over MaxConns, accepted or to be dialled
	Dialled    uint64 // connections that came up
	DialFailed uint64
	Slow       uint64 // connections closed with ErrSlow
	Malformed  uint64 // connections closed with ErrMalformed

	DatagramsIn  uint64 // without keepalives
	DatagramsOut uint64
	SendDrops    uint64 // datagrams dropped for lack of room in the send buffer
	ReceiveDrops uint64 // datagrams the kernel dropped, mostly for lack of room in the receive buffer
	Unreachable  uint64 // ICMP errors handed to the Handler

	StreamIn  uint64 // messages from connections
	StreamOut uint64 // messages written to or queued on connections
}
