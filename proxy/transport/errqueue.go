package transport

import (
	"errors"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// drainAtMost is how many errors are taken from a queue before datagrams are
// read again. What is left makes the next read fail, which brings us back.
const drainAtMost = 64

// errorQueue reads a UDP socket's queue of ICMP errors (ip(7), IP_RECVERR).
type errorQueue struct {
	head [2048]byte // the payload of the datagram that was refused
	oob  [512]byte
	fn   func(fd uintptr) // recvmsg, bound once

	n, oobn int
	from    unix.Sockaddr
	err     error
}

func (q *errorQueue) bind() { q.fn = q.recvmsg }

func (q *errorQueue) recvmsg(fd uintptr) {
	for {
		q.n, q.oobn, _, q.from, q.err = unix.Recvmsg(int(fd), q.head[:], q.oob[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if !errors.Is(q.err, unix.EINTR) {
			return
		}
	}
}

// next takes one error from the queue: what was sent, to whom, and why it did
// not arrive. ok is false when there is none.
func (q *errorQueue) next(raw syscall.RawConn) (head []byte, to netip.AddrPort, why syscall.Errno, ok bool) {
	if raw.Control(q.fn) != nil || q.err != nil {
		return nil, netip.AddrPort{}, 0, false
	}
	return q.head[:q.n], addrPort(q.from), extendedError(q.oob[:q.oobn]), true
}

// extendedError returns the error number in the control message that comes with
// an error, 0 when there is none or it is to be ignored.
func extendedError(oob []byte) syscall.Errno {
	for len(oob) > 0 {
		hdr, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return 0
		}
		recverr := hdr.Level == unix.IPPROTO_IP && hdr.Type == unix.IP_RECVERR ||
			hdr.Level == unix.IPPROTO_IPV6 && hdr.Type == unix.IPV6_RECVERR
		if recverr && len(data) >= int(unsafe.Sizeof(unix.SockExtendedErr{})) {
			return meaning((*unix.SockExtendedErr)(unsafe.Pointer(&data[0])))
		}
		oob = rest
	}
	return 0
}

// meaning returns an error's number, 0 for ICMP's "time exceeded": a routing loop
// that mends itself is not the peer's fault (RFC 3261 section 18.4).
func meaning(e *unix.SockExtendedErr) syscall.Errno {
	const timeExceeded, timeExceeded6 = 11, 3
	if e.Origin == unix.SO_EE_ORIGIN_ICMP && e.Type == timeExceeded || e.Origin == unix.SO_EE_ORIGIN_ICMP6 && e.Type == timeExceeded6 {
		return 0
	}
	return syscall.Errno(e.Errno)
}

// drain hands the errors that wait to the Handler, and says whether there were
// any.
func (u *udpSocket) drain() bool {
	for i := range drainAtMost {
		head, to, why, ok := u.errs.next(u.raw)
		if !ok {
			return i > 0
		}
		// EMSGSIZE tells the path's MTU, which the kernel now heeds: the
		// message's next transmission arrives.
		if why == 0 || why == unix.EMSGSIZE || !to.IsValid() {
			continue
		}
		u.set.count.unreachable.Add(1)
		u.set.opt.Handler.Unreachable(head, to, why)
	}
	return true
}
