package transport

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// errMoved ends a connection that another process has now. Nobody is told.
var errMoved = errors.New("connection handed over")

// past is a deadline that wakes whoever reads.
var past = time.Unix(1, 0)

// Socket is a listener, to be given to another process.
type Socket struct {
	Proto Proto
	Addr  netip.AddrPort // as bound
	raw   []syscall.RawConn
}

// Stream is a TCP connection between two messages, on its way from one process
// to another.
type Stream struct {
	Flow    Flow // its Conn is the same in both
	Inbound bool // accepted, not dialled
	Read    []byte
	File    *os.File // at the receiving side: the socket

	raw  syscall.RawConn
	conn *conn
	park *parking
}

// parking is where the reader of a connection waits while it is undecided who
// reads on.
type parking struct {
	at     chan []byte // gets what was read of an incomplete message; closed when the connection ends
	decide chan error  // nil: read on
}

// Files gives duplicates of the sockets, the caller's to close with
// unix.Close. They are no *os.File, whose Fd would make the sockets block.
func (s *Socket) Files() ([]int, error) { return Duplicates(s.raw...) }

// Duplicate gives a duplicate of the connection's socket, as Files does.
func (s *Stream) Duplicate() ([]int, error) { return Duplicates(s.raw) }

// Duplicates gives duplicates of sockets, the caller's to close with
// unix.Close.
func Duplicates(raw ...syscall.RawConn) (fds []int, err error) {
	for _, r := range raw {
		err := control(r, func(fd int) error {
			n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
			if err == nil {
				fds = append(fds, n)
			}
			return err
		})
		if err != nil {
			for _, fd := range fds {
				_ = unix.Close(fd)
			}
			return nil, err
		}
	}
	return fds, nil
}

// Sockets are the listeners, in the order of Options.
func (s *Set) Sockets() []Socket {
	l := make([]Socket, len(s.socks))
	for i := range s.socks {
		sock := &s.socks[i]
		l[i] = Socket{Proto: sock.Proto, Addr: sock.addr}
		for _, u := range sock.udp {
			l[i].raw = append(l[i].raw, u.raw)
		}
		if sock.tcp != nil {
			if raw, err := sock.tcp.SyscallConn(); err == nil {
				l[i].raw = append(l[i].raw, raw)
			}
		}
	}
	return l
}

// Halt stops reading the listeners that taken names, and accepting on them, and
// gives their TCP connections, each between two messages; every Receive has
// returned. What arrives from now on waits in the kernel. A connection whose
// peer does not take what was sent, TLS connections and those that are being
// dialled go on here.
//
// From now on what is to be sent from those listeners on a connection that is not
// open here goes to send, which must not wait. Datagrams leave from the sockets as ever. Resume or
// Leave must follow.
func (s *Set) Halt(taken []bool, send func(Flow, []byte) error) []Stream {
	s.successor.Store(&send)
	for i := range s.socks {
		if taken[i] {
			s.socks[i].halt()
		}
	}
	for i := range s.socks {
		if taken[i] {
			s.socks[i].readers.Wait()
		}
	}
	var l []Stream
	for _, c := range s.table.all() {
		if c.flow.Proto == TCP && taken[c.flow.Local] {
			if p := c.halt(); p != nil {
				l = append(l, Stream{Flow: c.flow, Inbound: c.inbound, conn: c, park: p})
			}
		}
	}
	moving := l[:0]
	for _, st := range l {
		read, ok := <-st.park.at
		if !ok {
			continue // it ended meanwhile
		}
		if !st.conn.move() {
			st.park.decide <- nil
			continue
		}
		st.Read, st.raw = read, st.conn.raw
		moving = append(moving, st)
	}
	return moving
}

// Resume undoes Halt, whose result it is given: nobody took over.
func (s *Set) Resume(taken []bool, l []Stream) {
	s.successor.Store(nil)
	for _, st := range l {
		st.conn.moveBack()
		st.park.decide <- nil
	}
	for i := range s.socks {
		if taken[i] {
			s.read(uint8(i))
		}
	}
}

// Leave ends Halt, whose result it is given: another process reads now. The
// listeners that were halted do not listen here any more, but datagrams still
// leave from them.
func (s *Set) Leave(l []Stream) {
	for _, st := range l {
		st.park.decide <- errMoved
	}
	for i := range s.socks {
		if sock := &s.socks[i]; sock.tcp != nil && sock.halted.Load() {
			_ = sock.tcp.Close()
		}
	}
}

// CloseStreams closes the connections that are left, wherever in a message they
// are.
func (s *Set) CloseStreams() {
	for _, c := range s.table.all() {
		c.fail(ErrHungUp)
	}
}

// Adopt takes connections from another process; Run reads them. It is called
// before Run.
func (s *Set) Adopt(l []Stream) { s.adopted = l }

// adopt opens a connection that came from another process.
func (s *Set) adopt(st *Stream) {
	nc, err := net.FileConn(st.File)
	_ = st.File.Close()
	if err != nil {
		return
	}
	tcp := nc.(*net.TCPConn)
	c := s.newConn(st.Flow, st.Inbound)
	c.flow.Conn, c.adopted, c.early = st.Flow.Conn, true, st.Read
	s.table.put(c)
	if c.open(tcp, tcp) != nil || !s.spawn(c.serve) {
		c.finish(ErrStopped)
	}
}

// halt makes the listener's readers return.
func (sock *socket) halt() {
	sock.halted.Store(true)
	for _, u := range sock.udp {
		_ = u.pc.SetReadDeadline(past)
	}
	if sock.tcp != nil {
		_ = sock.tcp.SetDeadline(past)
	}
}

// halt makes the connection's reader wait when it has handled what came; nil
// when the connection is ending, or is not open yet.
func (c *conn) halt() *parking {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != nil || c.nc == nil {
		return nil
	}
	p := &parking{at: make(chan []byte, 1), decide: make(chan error, 1)}
	c.park.Store(p)
	_ = c.nc.SetReadDeadline(past)
	return p
}

// parked waits for what becomes of a connection that is halted.
func (c *conn) parked(p *parking, f *framer, d *deadline) error {
	p.at <- f.buf[f.r:f.w]
	err := <-p.decide
	c.park.CompareAndSwap(p, nil) // another may be there already
	if err == nil {
		_ = c.nc.SetReadDeadline(time.Time{})
		d.set = time.Time{}
		d.apply()
	}
	return err
}

// move takes the connection out of use without touching its socket. It fails
// when something waits to be written.
func (c *conn) move() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != nil || c.queued > 0 || c.writing {
		return false
	}
	c.ended = errMoved
	c.up.Store(false)
	c.set.table.remove(c)
	return true
}

func (c *conn) moveBack() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = nil
	c.up.Store(true)
	c.set.table.put(c)
}
