package transport

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
)

var loopback6 = netip.AddrPortFrom(netip.IPv6Loopback(), 0)

func needIPv6(t testing.TB) {
	t.Helper()
	c, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	_ = c.Close()
}

// Each protocol, there and back.
func TestIPv6(t *testing.T) {
	needIPv6(t)
	ca := newAuthority(t, "ca")
	open := func() (*Set, *recorder) {
		return start(t, Options{ClientTLS: ca.trust(), Listeners: []Listener{
			{Proto: UDP, Addr: loopback6, Readers: 2}, {Proto: TCP, Addr: loopback6}, ca.listen(t, loopback6)}})
	}
	s, r := open()
	peer, peerGot := open()
	for i, proto := range []Proto{UDP, TCP, TLS} {
		to := Flow{Proto: proto, Local: uint8(i), Remote: peer.Addr(i)}
		if _, err := s.Send(to, []byte(message(i))); err != nil {
			t.Fatal(err)
		}
		got := await(t, peerGot.got)
		if got.msg != message(i) || got.from.Remote.Addr() != loopback6.Addr() || got.from.Local != uint8(i) || got.from.Proto != proto {
			t.Errorf("%s: %+v", proto, got)
		}
		if _, err := peer.Send(got.from, []byte(message(i+10))); err != nil {
			t.Fatal(err)
		}
		if got := await(t, r.got); got.msg != message(i+10) || got.from.Remote != peer.Addr(i) {
			t.Errorf("%s: %+v", proto, got)
		}
	}
}

// ICMPv6 errors come with the address and the datagram they are about, also
// when several sockets share the port.
func TestIPv6Unreachable(t *testing.T) {
	needIPv6(t)
	for _, readers := range []int{1, 3} {
		s, r := start(t, Options{Listeners: []Listener{{Proto: UDP, Addr: loopback6, Readers: readers}}})
		live, liveGot := start(t, Options{Listeners: []Listener{{Proto: UDP, Addr: loopback6}}})
		for i := range 20 {
			c, err := net.ListenUDP("udp6", net.UDPAddrFromAddrPort(loopback6))
			if err != nil {
				t.Fatal(err)
			}
			dead := localAddr(c)
			_ = c.Close()
			for _, to := range []netip.AddrPort{dead, live.Addr(0)} {
				if _, err := s.Send(Flow{Proto: UDP, Remote: to}, []byte(message(i))); err != nil {
					t.Fatal(err)
				}
			}
			u := await(t, r.unreachable)
			if u.to != dead || !errors.Is(u.err, syscall.ECONNREFUSED) || !strings.HasPrefix(message(i), u.head) || u.head == "" {
				t.Errorf("%d readers: %+v, want %s", readers, u, dead)
			}
			await(t, liveGot.got)
		}
		none(t, r.unreachable)
	}
}

// An address of the other family is an error of this one datagram.
func TestIPv6OnlySocket(t *testing.T) {
	needIPv6(t)
	s, r := start(t, Options{Listeners: []Listener{{Proto: UDP, Addr: loopback6}}})
	if _, err := s.Send(Flow{Proto: UDP, Remote: loopback(1)}, []byte("x")); err == nil {
		t.Error("sent to IPv4 from [::1]")
	}
	if _, err := s.Send(Flow{Proto: UDP, Remote: s.Addr(0)}, []byte(message(1))); err != nil {
		t.Fatal(err)
	}
	if got := await(t, r.got); got.from.Remote != s.Addr(0) {
		t.Errorf("from %s", got.from.Remote)
	}
}
