package transport

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// openUDP opens a listener's sockets, one for each reader.
func (s *Set) openUDP(i uint8, l Listener) (socket, error) {
	if len(l.Inherited) > 0 {
		return s.inheritUDP(i, l)
	}
	sock := socket{Listener: l}
	network := "udp" + s.family(l)
	for n := range max(l.Readers, 1) {
		u, err := s.openReader(i, network, l.Addr, n > 0)
		if err == nil && n == 0 && l.Readers > 1 {
			// The first is bound alone, and shares afterwards: so it finds out
			// whether another process has the address, sharing or not.
			err = control(u.raw, reusePort)
		}
		if u != nil {
			sock.udp = append(sock.udp, u)
			l.Addr = netip.AddrPortFrom(l.Addr.Addr(), u.pc.LocalAddr().(*net.UDPAddr).AddrPort().Port())
		}
		if err != nil {
			sock.close()
			return socket{}, err
		}
	}
	sock.udp[0].checkBuffer()
	sock.addr = l.Addr
	return sock, nil
}

func (s *Set) openReader(i uint8, network string, addr netip.AddrPort, share bool) (*udpSocket, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		if share {
			if err := control(c, reusePort); err != nil {
				return err
			}
		}
		return s.opt.tuneUDP(c)
	}}
	p, err := lc.ListenPacket(context.Background(), network, addr.String())
	if err != nil {
		return nil, err
	}
	return s.newUDP(i, p.(*net.UDPConn), !addr.Addr().Is4())
}

func (s *Set) newUDP(i uint8, pc *net.UDPConn, six bool) (*udpSocket, error) {
	u := &udpSocket{set: s, flow: Flow{Proto: UDP, Local: i}, pc: pc, six: six}
	var err error
	if u.raw, err = pc.SyscallConn(); err != nil {
		_ = pc.Close()
		return nil, err
	}
	u.sendFn = u.sendto
	u.errs.bind()
	return u, nil
}

func reusePort(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }

// pick returns which of n sockets a datagram leaves from: for one destination
// always the same one, so that the kernel keeps the order. ICMP errors come to
// the socket that the destination's own datagrams would come to, which may be
// another.
func pick(to netip.AddrPort, n int) int {
	if n == 1 {
		return 0
	}
	addr := to.Addr().As16()
	h := (binary.BigEndian.Uint32(addr[12:]) ^ uint32(to.Port())<<16) * 2654435769
	return int(uint64(h) * uint64(n) >> 32)
}

// checkBuffer says in the log when the kernel gave less than was asked for: a
// burst of calls then loses datagrams.
func (u *udpSocket) checkBuffer() {
	got := 0
	_ = u.raw.Control(func(fd uintptr) { got, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF) })
	if got /= 2; got < u.set.opt.ReadBuffer { // the kernel says twice what it grants
		u.set.opt.Log.Warn("UDP receive buffer is smaller than asked for; raise net.core.rmem_max",
			zap.Int("bytes", got), zap.Int("asked", u.set.opt.ReadBuffer))
	}
}
