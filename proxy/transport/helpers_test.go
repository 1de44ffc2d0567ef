package transport

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if to := os.Getenv(holdEnv); to != "" {
		hold(to)
		return
	}
	goleak.VerifyTestMain(m)
}

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
// options say otherwise. Without a word on how long connections and handshakes
// may take, they may take as long as a busy machine needs.
func start(t testing.TB, o Options) (*Set, *recorder) {
	t.Helper()
	r := newRecorder()
	if o.Handler == nil {
		o.Handler = r
	}
	if o.Listeners == nil {
		o.Listeners = []Listener{{Proto: UDP, Addr: loopback(1)}, {Proto: TCP, Addr: loopback(1)}}
	}
	o.ConnectTimeout = cmp.Or(o.ConnectTimeout, patience)
	o.HandshakeTimeout = cmp.Or(o.HandshakeTimeout, patience)
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
