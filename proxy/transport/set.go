package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Set is the sockets and connections of one proxy. All methods but Run may be
// called from many goroutines.
type Set struct {
	opt    Options
	socks  []socket
	table  table
	lastID atomic.Uint64
	count  counters
	memory ledger
	ready  chan struct{} // closed when Run serves
	tap    atomic.Pointer[Tap]

	successor atomic.Pointer[func(Flow, []byte) error] // where streams' messages go after Halt
	adopted   []Stream                                 // by Run

	mu    sync.Mutex // guards what follows; no other lock is taken under it
	phase phase
	ctx   context.Context // Run's, for dials
	stop  context.CancelFunc
	wg    sync.WaitGroup
}

// socket is one listener: udp or tcp is set.
type socket struct {
	Listener
	addr netip.AddrPort
	udp  []*udpSocket // one for each reader
	tcp  *net.TCPListener

	halted  *atomic.Bool    // its readers are to return
	readers *sync.WaitGroup // those who read, or accept
}

type phase uint8

const (
	listening phase = iota
	running
	stopped
)

type counters struct {
	pending                             atomic.Int64
	accepted, refused, refusedSource    atomic.Uint64
	notAdmitted, handshakeFailed        atomic.Uint64
	dialled, dialFailed                 atomic.Uint64
	slow, malformed, starved, streamOut atomic.Uint64
	streamIn, unreachable               atomic.Uint64
}

// Listen opens all sockets, so that whatever stands in the way is known before
// anything starts. Either all are open or none.
func Listen(o Options) (*Set, error) {
	o.defaults()
	if o.Handler == nil {
		return nil, fmt.Errorf("transport: no handler")
	}
	if len(o.Listeners) == 0 || len(o.Listeners) > 256 {
		return nil, fmt.Errorf("transport: %d listeners, want 1 to 256", len(o.Listeners))
	}
	s := &Set{opt: o, ready: make(chan struct{})}
	s.table.init()
	s.memory.limit = int64(o.MaxBuffered)
	// Ids begin at the clock, so that one which a peer remembers from an
	// earlier process names no connection of this one.
	s.lastID.Store(uint64(time.Now().UnixNano()))
	for i, l := range o.Listeners {
		sock, err := s.open(i, l)
		sock.halted, sock.readers = new(atomic.Bool), new(sync.WaitGroup)
		for _, u := range sock.udp {
			u.halted = sock.halted
		}
		if err != nil {
			s.closeSockets()
			return nil, fmt.Errorf("listen %s %s: %w", l.Proto, l.Addr, err)
		}
		s.socks = append(s.socks, sock)
	}
	return s, nil
}

func (s *Set) open(i int, l Listener) (socket, error) {
	l.Addr = unmap(l.Addr)
	if !l.Addr.Addr().IsValid() {
		return socket{}, ErrFlow
	}
	switch l.Proto {
	case UDP:
		return s.openUDP(uint8(i), l)
	case TCP, TLS:
		return s.openTCP(l)
	}
	return socket{}, fmt.Errorf("unknown protocol %d", l.Proto)
}

// family returns the suffix of the net package's network names: "4", "6" for
// IPv6 only, "" for both.
func (s *Set) family(l Listener) string {
	switch {
	case l.Addr.Addr().Is4():
		return "4"
	case !l.Addr.Addr().IsUnspecified():
		return "6"
	case l.Addr.Port() == 0: // it will have a port of its own
		return ""
	}
	for _, other := range s.opt.Listeners {
		if other.Proto.Reliable() == l.Proto.Reliable() && other.Addr.Port() == l.Addr.Port() && other.Addr.Addr().Unmap().Is4() {
			return "6"
		}
	}
	return ""
}

// Run reads all sockets until ctx is done, then closes them and every
// connection; it returns when all its goroutines have ended. It runs once.
func (s *Set) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	if s.phase != listening {
		s.mu.Unlock()
		return ErrStopped
	}
	s.phase, s.ctx, s.stop = running, ctx, cancel
	s.mu.Unlock()

	for i := range s.adopted {
		s.adopt(&s.adopted[i])
	}
	s.adopted = nil
	for i := range s.socks {
		s.read(uint8(i))
	}
	close(s.ready)
	<-ctx.Done()
	_ = s.Close()
	s.wg.Wait()
	return nil
}

// read starts the readers of a listener.
func (s *Set) read(local uint8) {
	sock := &s.socks[local]
	sock.halted.Store(false)
	start := func(read func()) {
		sock.readers.Add(1)
		if !s.spawn(func() { defer sock.readers.Done(); read() }) {
			sock.readers.Done()
		}
	}
	for _, u := range sock.udp {
		_ = u.pc.SetReadDeadline(time.Time{})
		start(u.read)
	}
	if sock.tcp != nil {
		_ = sock.tcp.SetDeadline(time.Time{})
		start(func() { s.accept(s.ctx, local) })
	}
}

// Ready is closed when Run serves: a TCP connection can be made only from then on.
func (s *Set) Ready() <-chan struct{} { return s.ready }

// Close closes the sockets of a Set, also of one that never ran. A Run that is
// under way returns; Close does not wait for it.
func (s *Set) Close() error {
	s.mu.Lock()
	s.phase = stopped
	if s.stop != nil {
		s.stop()
	}
	s.mu.Unlock()
	s.closeSockets()
	// Nothing is spawned any more: a connection not in the table yet sees that
	// and closes itself.
	for _, c := range s.table.all() {
		c.fail(ErrStopped)
	}
	return nil
}

func (s *Set) closeSockets() {
	for _, sock := range s.socks {
		sock.close()
	}
}

func (sock *socket) close() {
	for _, u := range sock.udp {
		_ = u.pc.Close()
	}
	if sock.tcp != nil {
		_ = sock.tcp.Close()
	}
}

// spawn starts a goroutine that Run waits for, unless the Set does not run.
func (s *Set) spawn(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != running {
		return false
	}
	s.wg.Go(f)
	return true
}

// Addr returns the address listener i is bound to, with the port the kernel
// chose where the option said 0.
func (s *Set) Addr(i int) netip.AddrPort { return s.socks[i].addr }

// Send sends one message; b may be reused when it returns. It never waits for
// the network and never calls the Handler.
//
// UDP: the datagram leaves from listener f.Local for f.Remote. One that is too
// large for the network on the way is fragmented.
//
// TCP, TLS: on connection f.Conn while that is open; else, if f.Remote is valid,
// on any connection of that protocol with that remote address, open or being
// dialled; else one is dialled, from the IP address of listener f.Local unless that is a wildcard,
// and b waits for it. conn is the connection taken. An error means that b was
// not sent; no error does not mean that it arrived: Handler.Closed tells when
// conn ends or cannot be made.
func (s *Set) Send(f Flow, b []byte) (conn uint64, err error) {
	f.Remote = unmap(f.Remote)
	if int(f.Local) >= len(s.socks) {
		return 0, ErrFlow
	}
	switch f.Proto {
	case UDP:
		readers := s.socks[f.Local].udp
		if len(readers) == 0 || !f.Remote.IsValid() {
			return 0, ErrFlow
		}
		return 0, readers[pick(f.Remote, len(readers))].send(b, f.Remote)
	case TCP, TLS:
		return s.sendStream(f, b)
	}
	return 0, ErrFlow
}

func (s *Set) sendStream(f Flow, b []byte) (uint64, error) {
	if c := s.table.get(f.Conn); c != nil && c.flow.Proto == f.Proto {
		if err := c.write(b); !errors.Is(err, ErrGone) {
			return c.flow.Conn, err
		}
	}
	if send := s.successor.Load(); send != nil && s.socks[f.Local].halted.Load() {
		return 0, (*send)(f, b)
	}
	if !f.Remote.IsValid() {
		return 0, ErrGone
	}
	// A connection may end between being found and being written to; that this
	// happens again and again means that the peer closes what we open.
	for range 3 {
		c := s.table.find(f.peer(), f.Local, false)
		if c == nil {
			var dialled bool
			var err error
			if c, dialled, err = s.dial(f, b); err != nil || dialled {
				return c.id(), err
			}
		}
		if err := c.write(b); !errors.Is(err, ErrGone) {
			return c.flow.Conn, err
		}
	}
	return 0, ErrGone
}

// Find returns an open connection of that protocol with that remote address,
// whichever side opened it.
func (s *Set) Find(proto Proto, remote netip.AddrPort) (conn uint64, ok bool) {
	c := s.table.find(peer{proto, unmap(remote)}, 0, true)
	return c.id(), c != nil
}

// CloseConn closes a connection, if it is open: nothing more is received from
// it, and Handler.Closed gets ErrHungUp.
func (s *Set) CloseConn(conn uint64) {
	if c := s.table.get(conn); c != nil {
		c.fail(ErrHungUp)
	}
}

func unmap(a netip.AddrPort) netip.AddrPort {
	if a.Addr().Is4In6() {
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	}
	return a
}
