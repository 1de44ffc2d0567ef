package transport

import (
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Which ICMP errors are told (RFC 3261 section 18.4): what cannot be reached, and not
// what was too long on its way.
func TestExtendedError(t *testing.T) {
	for _, c := range []struct {
		name         string
		origin, kind uint8
		errno, want  syscall.Errno
	}{
		{"port unreachable", unix.SO_EE_ORIGIN_ICMP, 3, unix.ECONNREFUSED, unix.ECONNREFUSED},
		{"host unreachable", unix.SO_EE_ORIGIN_ICMP, 3, unix.EHOSTUNREACH, unix.EHOSTUNREACH},
		{"parameter problem", unix.SO_EE_ORIGIN_ICMP, 12, unix.EPROTO, unix.EPROTO},
		{"time exceeded", unix.SO_EE_ORIGIN_ICMP, 11, unix.EHOSTUNREACH, 0},
		{"IPv6 port unreachable", unix.SO_EE_ORIGIN_ICMP6, 1, unix.ECONNREFUSED, unix.ECONNREFUSED},
		{"IPv6 time exceeded", unix.SO_EE_ORIGIN_ICMP6, 3, unix.EHOSTUNREACH, 0},
		{"local", unix.SO_EE_ORIGIN_LOCAL, 0, unix.EHOSTUNREACH, unix.EHOSTUNREACH},
	} {
		level, kind := int32(unix.IPPROTO_IP), int32(unix.IP_RECVERR)
		if c.origin == unix.SO_EE_ORIGIN_ICMP6 {
			level, kind = unix.IPPROTO_IPV6, unix.IPV6_RECVERR
		}
		const size = int(unsafe.Sizeof(unix.SockExtendedErr{}))
		oob := make([]byte, unix.CmsgSpace(size))
		h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
		h.Level, h.Type = level, kind
		h.SetLen(unix.CmsgLen(size))
		*(*unix.SockExtendedErr)(unsafe.Pointer(&oob[unix.CmsgLen(0)])) = unix.SockExtendedErr{Errno: uint32(c.errno), Origin: c.origin, Type: c.kind}
		if got := extendedError(oob); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if got := extendedError(nil); got != 0 {
		t.Errorf("nothing: %v", got)
	}
}
