package transport

import (
	"net/netip"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// deadPeer is after how long a TCP peer that acknowledges nothing, or takes
// nothing in, is given up.
const deadPeer = 30 * time.Second

// control runs f on the socket before it is bound or connected.
func control(c syscall.RawConn, f func(fd int) error) error {
	var err error
	if e := c.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil {
		return e
	}
	return err
}

// tuneUDP asks for ICMP errors, for datagrams that routers may fragment and for
// buffers. Buffers over net.core.*mem_max are given only to the privileged;
// what is not given is done without.
func (o *Options) tuneUDP(c syscall.RawConn) error {
	return control(c, func(fd int) error {
		domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
		if err != nil {
			return err
		}
		if domain == unix.AF_INET6 {
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1); err != nil {
				return err
			}
			// IPv6 routers never fragment, so the MTU of a path has to be
			// learned; what is known to be too large is fragmented here.
			_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_WANT)
		}
		// On an IPv6 socket these are for the IPv4 datagrams it also carries.
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1)
		if err != nil && domain == unix.AF_INET {
			return err
		}
		// Without this a large INVITE is lost, not fragmented, where a tunnel
		// on the way has a smaller MTU.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
		setBuffer(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, o.ReadBuffer)
		setBuffer(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, o.WriteBuffer)
		return nil
	})
}

func setBuffer(fd, force, plain, size int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, size) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, plain, size)
	}
}

// tuneTCP bounds how long a dead peer goes unnoticed; what a listener has, the
// connections accepted from it have too.
func tuneTCP(_, _ string, c syscall.RawConn) error {
	return control(c, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadPeer.Milliseconds()))
	})
}

// tuneDial is tuneTCP, and lets connections to different peers share a local
// port: binding the source address takes none yet.
func tuneDial(network, address string, c syscall.RawConn) error {
	_ = control(c, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
	return tuneTCP(network, address, c)
}

// socketDrops returns how many datagrams the kernel dropped on a socket
// (SO_MEMINFO, SK_MEMINFO_DROPS), 0 when it does not say.
func socketDrops(fd int) uint32 {
	const drops = 8
	var info [drops + 1]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0
	}
	return info[drops]
}

// addrPort returns the address the kernel gave, unmapped.
func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}
