package transport

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
)

func TestProto(t *testing.T) {
	if UDP.String() != "UDP" || TCP.String() != "TCP" || Proto(9).String() != "Proto(9)" {
		t.Error("String")
	}
	if UDP.Reliable() || !TCP.Reliable() {
		t.Error("Reliable")
	}
}

func TestListenSamePortForUDPAndTCP(t *testing.T) {
	first, _ := start(t, Options{Listeners: []Listener{{Proto: UDP, Addr: loopback(1)}}})
	port := first.Addr(0).Port()
	if port == 0 {
		t.Fatal("port 0 is not resolved")
	}
	addr := func(n byte) netip.AddrPort { return netip.AddrPortFrom(loopback(n).Addr(), port) }
	second, _ := start(t, Options{Listeners: []Listener{{Proto: UDP, Addr: addr(2)}, {Proto: TCP, Addr: addr(2)}, {Proto: TCP, Addr: addr(3)}}})
	for i, want := range []netip.AddrPort{addr(2), addr(2), addr(3)} {
		if got := second.Addr(i); got != want {
			t.Errorf("listener %d at %s, want %s", i, got, want)
		}
	}
}

func TestListenWildcardsOfBothFamilies(t *testing.T) {
	if c, err := net.Listen("tcp6", "[::1]:0"); err != nil {
		t.Skip("no IPv6")
	} else {
		_ = c.Close()
	}
	any4, any6 := netip.IPv4Unspecified(), netip.IPv6Unspecified()
	err := error(syscall.EADDRINUSE)
	for port := uint16(20000); errors.Is(err, syscall.EADDRINUSE) && port < 20100; port++ {
		var both *Set
		both, err = Listen(Options{Handler: newRecorder(), Listeners: []Listener{
			{Proto: UDP, Addr: netip.AddrPortFrom(any4, port)}, {Proto: UDP, Addr: netip.AddrPortFrom(any6, port)},
			{Proto: TCP, Addr: netip.AddrPortFrom(any4, port)}, {Proto: TCP, Addr: netip.AddrPortFrom(any6, port)},
		}})
		if err == nil {
			_ = both.Close()
		}
	}
	if err != nil {
		t.Fatal(err)
	}

	// Alone, [::] carries IPv4 too, and shows its addresses as such.
	s, r := start(t, Options{Listeners: []Listener{{Proto: UDP, Addr: netip.AddrPortFrom(any6, 0)}, {Proto: TCP, Addr: netip.AddrPortFrom(any6, 0)}}})
	peer, peerGot := start(t, Options{})
	for i, proto := range []Proto{UDP, TCP} {
		to := netip.AddrPortFrom(loopback(1).Addr(), s.Addr(i).Port())
		if _, err := peer.Send(Flow{Proto: proto, Local: uint8(i), Remote: to}, []byte(message(i))); err != nil {
			t.Fatal(err)
		}
		got := await(t, r.got)
		if !got.from.Remote.Addr().Is4() {
			t.Errorf("%s from %s", proto, got.from.Remote)
		}
		if _, err := s.Send(got.from, []byte(message(i+10))); err != nil {
			t.Fatal(err)
		}
		if got := await(t, peerGot.got); got.msg != message(i+10) {
			t.Errorf("%s: got %q", proto, got.msg)
		}
	}
	dead := deadPort(t)
	if _, err := s.Send(Flow{Proto: UDP, Remote: dead}, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if u := await(t, r.unreachable); u.to != dead {
		t.Errorf("unreachable %s, want %s", u.to, dead)
	}
}

func TestListenErrors(t *testing.T) {
	used, _ := start(t, Options{})
	for i, proto := range []Proto{UDP, TCP} {
		_, err := Listen(Options{Handler: newRecorder(), Listeners: []Listener{{Proto: UDP, Addr: loopback(2)}, {Proto: proto, Addr: used.Addr(i)}}})
		if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), used.Addr(i).String()) {
			t.Errorf("%s: %v", proto, err)
		}
	}
	for _, l := range [][]Listener{nil, {{Proto: Proto(7), Addr: loopback(1)}}, {{Proto: UDP, Addr: netip.AddrPort{}}}, make([]Listener, 257)} {
		if _, err := Listen(Options{Handler: newRecorder(), Listeners: l}); err == nil {
			t.Errorf("%d listeners: no error", len(l))
		}
	}
	if _, err := Listen(Options{Listeners: []Listener{{Proto: UDP, Addr: loopback(1)}}}); err == nil {
		t.Error("no handler: no error")
	}
}

func TestSendBadFlow(t *testing.T) {
	s, _ := start(t, Options{})
	live := s.Addr(1)
	for name, c := range map[string]struct {
		flow Flow
		want error
	}{
		"zero":                     {Flow{}, ErrFlow},
		"no such listener":         {Flow{Proto: UDP, Local: 2, Remote: live}, ErrFlow},
		"UDP from a TCP listener":  {Flow{Proto: UDP, Local: 1, Remote: live}, ErrFlow},
		"UDP to nowhere":           {Flow{Proto: UDP}, ErrFlow},
		"TCP to nowhere":           {Flow{Proto: TCP, Local: 1}, ErrGone},
		"TCP on a conn that is no": {Flow{Proto: TCP, Local: 1, Conn: 77}, ErrGone},
		"IPv6 from IPv4":           {Flow{Proto: UDP, Remote: netip.MustParseAddrPort("[::1]:5060")}, syscall.EAFNOSUPPORT},
	} {
		if _, err := s.Send(c.flow, []byte("x")); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestStopped(t *testing.T) {
	r := newRecorder()
	s, err := Listen(Options{Handler: r, Listeners: []Listener{{Proto: UDP, Addr: loopback(1)}, {Proto: TCP, Addr: loopback(1)}}})
	if err != nil {
		t.Fatal(err)
	}
	to := Flow{Proto: TCP, Local: 1, Remote: s.Addr(1)}
	if _, err := s.Send(to, []byte("x")); !errors.Is(err, ErrStopped) {
		t.Errorf("before Run: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(context.Background()); !errors.Is(err, ErrStopped) {
		t.Errorf("Run after Close: %v", err)
	}
	if _, err := s.Send(to, []byte("x")); !errors.Is(err, ErrStopped) {
		t.Errorf("TCP after Close: %v", err)
	}
	if _, err := s.Send(Flow{Proto: UDP, Remote: loopback(1)}, []byte("x")); !errors.Is(err, ErrStopped) {
		t.Errorf("UDP after Close: %v", err)
	}
	none(t, r.closed)
}

// Stopping ends every connection, tells each end once, and lets Run return.
func TestShutdown(t *testing.T) {
	r := newRecorder()
	s, err := Listen(Options{Handler: r, Listeners: []Listener{{Proto: TCP, Addr: loopback(1)}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	ids := map[uint64]bool{}
	for i := range 20 {
		c := connect(t, s.Addr(0))
		write(t, c, message(i))
		ids[await(t, r.got).from.Conn] = true
	}
	cancel()
	if err := await(t, done); err != nil {
		t.Fatal(err)
	}
	if len(r.closed) != 20 {
		t.Fatalf("%d ends told, want 20", len(r.closed))
	}
	for range 20 {
		c := <-r.closed
		if !ids[c.conn] || !errors.Is(c.err, ErrStopped) {
			t.Errorf("closed %+v", c)
		}
		delete(ids, c.conn)
	}
	if st := s.Stats(); st.Open != 0 || st.Pending != 0 || st.Accepted != 20 {
		t.Errorf("%+v", st)
	}
}
