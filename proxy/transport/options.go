package transport

import (
	"crypto/tls"
	"net/netip"
	"os"
	"time"

	"go.uber.org/zap"
)

// Listener is one address to listen on.
type Listener struct {
	Proto Proto
	// Addr is what to bind; port 0 lets the kernel choose. [::] takes IPv4 as
	// well, unless another listener of the protocol has an IPv4 address with
	// the same port.
	Addr netip.AddrPort
	// TLS is the server's side, for Proto TLS only. GetConfigForClient or
	// GetCertificate let certificates be changed while it is in use.
	TLS *tls.Config
	// Readers is how many sockets share a UDP address (SO_REUSEPORT), each read
	// by a goroutine of its own; 0 is 1. The kernel picks the socket by the
	// source's address and port, so that the datagrams of one source stay in
	// order. It is ignored on streams.
	Readers int
	// Inherited are open sockets of that address, in place of those that Listen
	// would open, for UDP as many as there are to be read whatever Readers
	// says. Listen closes the files.
	Inherited []*os.File
}

// Options say what Listen opens and which limits hold. A zero value takes the
// default.
type Options struct {
	Listeners []Listener  // at most 256
	Handler   Handler     // must not be nil
	Log       *zap.Logger // nil: silent

	// ClientTLS returns what to dial a TLS peer with. It is called for each
	// dial, from the connection's goroutine. Without ServerName the
	// certificate must name the peer's IP address. nil, or a nil answer: the
	// system's roots and the IP address as the name.
	ClientTLS func(remote netip.AddrPort) *tls.Config

	// Admit says whether connections are accepted from an address, which is
	// never an IPv4 one in IPv6 form and has no zone. Those that are not are
	// closed at once. It is called from the accepting goroutine and must not
	// wait. nil: all are.
	Admit func(netip.Addr) bool

	ConnectTimeout      time.Duration // how long a dial may take, its TLS handshake included; 2 s
	HandshakeTimeout    time.Duration // how long an accepted connection's TLS handshake may take; 5 s
	FirstMessageTimeout time.Duration // until the end of an accepted connection's first message; 30 s; negative: for ever
	HeaderTimeout       time.Duration // from the first byte of a message on a stream to its last; 10 s
	IdleTimeout         time.Duration // a connection from which nothing came for so long is closed; 0: never

	MaxHeader  int // bytes of a message on a stream up to its body; 64 KiB
	MaxBody    int // bytes of a body on a stream; 64 KiB
	MaxPending int // bytes queued on one connection; 1 MiB
	MaxConns   int // accepted connections open at once, and likewise dialled ones; 16384
	// MaxConnsPerSource is how many accepted connections one IP address may
	// have open; 256; negative: MaxConns. A SIP peer that reuses its
	// connections needs one for each of its profiles, one that does not, one
	// for each request in flight.
	MaxConnsPerSource int
	MaxBuffered       int // bytes that the buffers of all connections may take, see the package comment; 256 MiB

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
	def(&o.MaxBuffered, 256<<20)
	def(&o.ReadBuffer, 4<<20)
	def(&o.WriteBuffer, 4<<20)
	switch {
	case o.MaxConnsPerSource == 0:
		o.MaxConnsPerSource = 256
	case o.MaxConnsPerSource < 0:
		o.MaxConnsPerSource = o.MaxConns
	}
	defTime := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	if o.FirstMessageTimeout == 0 {
		o.FirstMessageTimeout = 30 * time.Second
	}
	defTime(&o.ConnectTimeout, 2*time.Second)
	defTime(&o.HandshakeTimeout, 5*time.Second)
	defTime(&o.HeaderTimeout, 10*time.Second)
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
}
