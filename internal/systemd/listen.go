package systemd

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Socket is a socket that the manager opened for the service.
type Socket struct {
	Name   string         // the unit's FileDescriptorName=, by default the name of the socket unit
	Stream bool           // TCP, else UDP
	Addr   netip.AddrPort // that it is bound to
	File   *os.File
}

// String names the socket in a log.
func (s Socket) String() string {
	network := "udp"
	if s.Stream {
		network = "tcp"
	}
	return fmt.Sprintf("%s (%s://%s)", s.Name, network, s.Addr)
}

// first is the number of the first descriptor that is passed (SD_LISTEN_FDS_START).
const first = 3

// Sockets are the sockets that were passed to this process (sd_listen_fds(3)); none where there is no manager. Calling it
// again gives none. It is an error when one is no UDP socket and no TCP listener: the unit is not made for this service.
func Sockets() ([]Socket, error) {
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	for _, key := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(key) // they are not for our children
	}
	n, err := strconv.Atoi(count)
	if pid != strconv.Itoa(os.Getpid()) || err != nil || n <= 0 {
		return nil, nil
	}
	var l []Socket
	for i, fd := 0, first; fd < first+n; i, fd = i+1, fd+1 {
		unix.CloseOnExec(fd)
		name := "unknown"
		if all := strings.Split(names, ":"); i < len(all) && all[i] != "" {
			name = all[i]
		}
		s, err := inspect(fd)
		if err != nil {
			return nil, fmt.Errorf("inherited socket %s (descriptor %d): %w", name, fd, err)
		}
		s.Name, s.File = name, os.NewFile(uintptr(fd), name)
		l = append(l, s)
	}
	return l, nil
}

// inspect finds out what a descriptor is.
func inspect(fd int) (s Socket, err error) {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return s, err
	}
	proto, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil {
		return s, err
	}
	listens, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return s, err
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		s.Addr = netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		s.Addr = netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	default:
		return s, errors.New("no IP socket")
	}
	s.Stream = kind == unix.SOCK_STREAM
	switch {
	case !s.Stream && proto == unix.IPPROTO_UDP:
	case listens == 1 && (proto == unix.IPPROTO_TCP || proto == unix.IPPROTO_MPTCP):
	default:
		return s, errors.New("neither a UDP socket nor a TCP listener")
	}
	return s, nil
}
