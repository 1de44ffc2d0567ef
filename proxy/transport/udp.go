package transport

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// sendTries is how often a datagram is tried when errors of earlier ones, to
// other peers, come back instead.
const sendTries = 32

// Payload bytes of the largest datagrams (RFC 768, RFC 8200 section 4.5).
const (
	maxDatagram4 = 1<<16 - 1 - 20 - 8
	maxDatagram6 = 1<<16 - 1 - 8
)

// udpSocket is one socket of a UDP listener. Its reader goroutine alone reads it
// and its error queue.
type udpSocket struct {
	set  *Set
	flow Flow // of what it receives, but for Remote
	pc   *net.UDPConn
	raw  syscall.RawConn
	six  bool // an IPv6 socket: IPv4 addresses are mapped

	in, out, sendDrops atomic.Uint64

	halted *atomic.Bool // the reader is to return

	errs   errorQueue
	nudged atomic.Bool // the reader has been told to look at the error queue

	mu      sync.Mutex // guards what follows: the datagram being sent
	payload []byte
	to      unix.Sockaddr
	sa4     unix.SockaddrInet4
	sa6     unix.SockaddrInet6
	stolen  bool // an earlier datagram's error came back
	err     error
	sendFn  func(fd uintptr) bool // sendto, bound once
}

// read hands datagrams to the Handler until the socket is closed.
func (u *udpSocket) read() {
	buf := make([]byte, 64<<10)
	for failures := 0; ; {
		n, from, err := u.pc.ReadFromUDPAddrPort(buf)
		if err == nil {
			failures = 0
			if msg := trimKeepalive(buf[:n]); len(msg) > 0 {
				u.in.Add(1)
				flow := u.flow
				flow.Remote = unmap(from)
				u.tapped(flow.Remote, false, msg)
				u.set.opt.Handler.Receive(msg, flow)
			}
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			// In this order: whoever finds nudged set has its error in the
			// queue already, whoever sets it again moves the deadline again.
			_ = u.pc.SetReadDeadline(time.Time{})
			u.nudged.Store(false)
			if u.halted.Load() {
				return
			}
		}
		if u.drain() {
			failures = 0
		} else if failures++; failures > 8 {
			u.set.opt.Log.Warn("read UDP", zap.Stringer("socket", u.pc.LocalAddr()), zap.Error(err))
			//nolint:forbidigo // the socket is broken, and this bounds the log; a stop waits for it no longer than that
			time.Sleep(min(time.Duration(failures)*time.Millisecond, 100*time.Millisecond))
		}
	}
}

// trimKeepalive returns the datagram without the line ends and NULs it begins
// with (RFC 3261 section 7.5): nothing is left of a keepalive.
func trimKeepalive(b []byte) []byte {
	for len(b) > 0 && (b[0] == '\r' || b[0] == '\n' || b[0] == 0) {
		b = b[1:]
	}
	return b
}

// send sends one datagram, or drops it when the send buffer is full: waiting
// would let one dead neighbour, whose datagrams fill the buffer until its
// address resolution fails, hold up all others.
func (u *udpSocket) send(b []byte, to netip.AddrPort) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err = u.address(to, len(b)); u.err != nil {
		return u.err
	}
	u.tapped(to, true, b)
	u.payload, u.stolen = b, false
	if err := u.raw.Write(u.sendFn); err != nil {
		u.err = ErrStopped
	}
	u.payload = nil
	if u.stolen {
		u.nudge()
	}
	switch {
	case u.err == nil:
		u.out.Add(1)
	case errors.Is(u.err, ErrBusy):
		u.sendDrops.Add(1)
	case errors.Is(u.err, unix.EMSGSIZE):
		u.err = ErrTooLarge
	}
	return u.err
}

// address says where n bytes go.
func (u *udpSocket) address(to netip.AddrPort, n int) error {
	if n > maxDatagram6 || n > maxDatagram4 && to.Addr().Is4() {
		return ErrTooLarge
	}
	switch addr := to.Addr(); {
	case !u.six && addr.Is4():
		u.sa4.Port, u.sa4.Addr = int(to.Port()), addr.As4()
		u.to = &u.sa4
	case u.six:
		u.sa6.Port, u.sa6.Addr, u.sa6.ZoneId = int(to.Port()), addr.As16(), zoneID(addr.Zone())
		u.to = &u.sa6
	default:
		return syscall.EAFNOSUPPORT
	}
	return nil
}

func zoneID(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if ifi, err := net.InterfaceByName(zone); err == nil {
		return uint32(ifi.Index)
	}
	n, _ := strconv.ParseUint(zone, 10, 32)
	return uint32(n)
}

// sendto does the system call. With IP_RECVERR an ICMP error that waits on the
// socket makes the next sendto fail, whoever that is for, and nothing is sent:
// so it is tried again.
func (u *udpSocket) sendto(fd uintptr) bool {
	for range sendTries {
		err := unix.Sendto(int(fd), u.payload, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, u.to)
		switch err {
		case nil:
			u.err = nil
			return true
		case unix.EAGAIN, unix.ENOBUFS:
			u.err = ErrBusy
			return true
		case unix.EINTR:
			u.err = err
		case unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.ENOPROTOOPT, unix.EPROTO,
			unix.EACCES, unix.EMSGSIZE, unix.EHOSTDOWN, unix.ENONET, unix.EOPNOTSUPP:
			u.err = err
			u.stolen = true
		default:
			u.err = err
			return true
		}
	}
	return true
}

// nudge makes the reader look at the error queue: failing, sendto took the error
// mark off the socket that would have told it to.
func (u *udpSocket) nudge() {
	if u.nudged.CompareAndSwap(false, true) {
		_ = u.pc.SetReadDeadline(past)
	}
}

func (u *udpSocket) addTo(st *Stats) {
	st.DatagramsIn += u.in.Load()
	st.DatagramsOut += u.out.Load()
	st.SendDrops += u.sendDrops.Load()
	_ = u.raw.Control(func(fd uintptr) { st.ReceiveDrops += uint64(socketDrops(int(fd))) })
}
