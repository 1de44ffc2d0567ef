package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

type received struct {
	msg  string
	from Flow
}

type unreachable struct {
	head string
	to   netip.AddrPort
	err  error
}

type closed struct {
	conn   uint64
	remote netip.AddrPort
	err    error
}

// recorder is a Handler that puts everything into channels.
type recorder struct {
	got         chan received
	unreachable chan unreachable
	closed      chan closed
	malformed   chan string
	hook        func(msg []byte, from Flow) // instead of got
}

func newRecorder() *recorder {
	return &recorder{
		got:         make(chan received, 10000),
		unreachable: make(chan unreachable, 10000),
		closed:      make(chan closed, 10000),
		malformed:   make(chan string, 100),
	}
}

func (r *recorder) Receive(msg []byte, from Flow) {
	if r.hook != nil {
		r.hook(msg, from)
		return
	}
	r.got <- received{string(msg), from}
}

func (r *recorder) Unreachable(head []byte, to netip.AddrPort, err error) {
	r.unreachable <- unreachable{string(head), to, err}
}

func (r *recorder) Closed(conn uint64, remote netip.AddrPort, err error) {
	r.closed <- closed{conn, remote, err}
}

func (r *recorder) Malformed(_ Flow, reason string) { r.malformed <- reason }

func await[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func none[T any](t testing.TB, ch <-chan T) {
	t.Helper()
	select {
	case v := <-ch:
		t.Errorf("unexpected: %+v", v)
	default:
	}
}

func loopback(n byte) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, n}), 0)
}

// start runs a Set until the test ends. Listener 0 is UDP, 1 is TCP unless the
// options say otherwise.
func start(t testing.TB, o Options) (*Set, *recorder) {
	t.Helper()
	r := newRecorder()
	if o.Handler == nil {
		o.Handler = r
	}
	if o.Listeners == nil {
		o.Listeners = []Listener{{UDP, loopback(1)}, {TCP, loopback(1)}}
	}
	s, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := await(t, done); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	for s.runContext() == nil {
		time.Sleep(time.Millisecond)
	}
	return s, r
}

func connect(t testing.TB, to netip.AddrPort) *net.TCPConn {
	t.Helper()
	c, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

func localAddr(c net.Conn) netip.AddrPort { return netip.MustParseAddrPort(c.LocalAddr().String()) }

func write(t testing.TB, c net.Conn, s string) {
	t.Helper()
	if _, err := c.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
}

func expect(t testing.TB, c net.Conn, want string) {
	t.Helper()
	buf := make([]byte, len(want))
	for n := 0; n < len(want); {
		m, err := c.Read(buf[n:])
		if err != nil {
			t.Fatalf("read %q, then %v; want %q", buf[:n], err, want)
		}
		n += m
	}
	if string(buf) != want {
		t.Fatalf("read %q, want %q", buf, want)
	}
}

// settle waits until nothing is counted as queued: bytes are until the writer
// has heard that they are gone, and the peer may be faster.
func settle(t testing.TB, s *Set) {
	t.Helper()
	for begun := time.Now(); s.Stats().Pending != 0; time.Sleep(time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatalf("%d bytes pending", s.Stats().Pending)
		}
	}
}

// message returns a small request that says i.
func message(i int) string {
	return fmt.Sprintf("OPTIONS sip:%d@h SIP/2.0\r\nContent-Length: 2\r\n\r\nab", i)
}

func TestProto(t *testing.T) {
	if UDP.String() != "UDP" || TCP.String() != "TCP" || Proto(9).String() != "Proto(9)" {
		t.Error("String")
	}
	if UDP.Reliable() || !TCP.Reliable() {
		t.Error("Reliable")
	}
}

func TestListenSamePortForUDPAndTCP(t *testing.T) {
	first, _ := start(t, Options{Listeners: []Listener{{UDP, loopback(1)}}})
	port := first.Addr(0).Port()
	if port == 0 {
		t.Fatal("port 0 is not resolved")
	}
	addr := func(n byte) netip.AddrPort { return netip.AddrPortFrom(loopback(n).Addr(), port) }
	second, _ := start(t, Options{Listeners: []Listener{{UDP, addr(2)}, {TCP, addr(2)}, {TCP, addr(3)}}})
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
			{UDP, netip.AddrPortFrom(any4, port)}, {UDP, netip.AddrPortFrom(any6, port)},
			{TCP, netip.AddrPortFrom(any4, port)}, {TCP, netip.AddrPortFrom(any6, port)},
		}})
		if err == nil {
			_ = both.Close()
		}
	}
	if err != nil {
		t.Fatal(err)
	}

	// Alone, [::] carries IPv4 too, and shows its addresses as such.
	s, r := start(t, Options{Listeners: []Listener{{UDP, netip.AddrPortFrom(any6, 0)}, {TCP, netip.AddrPortFrom(any6, 0)}}})
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
		_, err := Listen(Options{Handler: newRecorder(), Listeners: []Listener{{UDP, loopback(2)}, {proto, used.Addr(i)}}})
		if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), used.Addr(i).String()) {
			t.Errorf("%s: %v", proto, err)
		}
	}
	for _, l := range [][]Listener{nil, {{Proto(7), loopback(1)}}, {{UDP, netip.AddrPort{}}}, make([]Listener, 257)} {
		if _, err := Listen(Options{Handler: newRecorder(), Listeners: l}); err == nil {
			t.Errorf("%d listeners: no error", len(l))
		}
	}
	if _, err := Listen(Options{Listeners: []Listener{{UDP, loopback(1)}}}); err == nil {
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
	s, err := Listen(Options{Handler: r, Listeners: []Listener{{UDP, loopback(1)}, {TCP, loopback(1)}}})
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
	s, err := Listen(Options{Handler: r, Listeners: []Listener{{TCP, loopback(1)}}})
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
