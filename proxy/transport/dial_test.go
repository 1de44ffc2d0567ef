package transport

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestDial(t *testing.T) {
	s, r := start(t, Options{Listeners: []Listener{{Proto: TCP, Addr: loopback(1)}, {Proto: TCP, Addr: loopback(5)}}})
	peer, peerGot := start(t, Options{})
	to := Flow{Proto: TCP, Local: 1, Remote: peer.Addr(1)}
	var id uint64
	for i := range 50 { // the first ones wait for the connection
		conn, err := s.Send(to, []byte(message(i)))
		if err != nil || conn == 0 || id != 0 && conn != id {
			t.Fatalf("message %d: connection %d, %v", i, conn, err)
		}
		id = conn
	}
	var from Flow
	for i := range 50 {
		got := await(t, peerGot.got)
		if from = got.from; got.msg != message(i) {
			t.Fatalf("message %d: %q", i, got.msg)
		}
	}
	if from.Remote.Addr() != s.Addr(1).Addr() || from.Remote.Port() == s.Addr(1).Port() {
		t.Errorf("dialled from %s, want %s and a port of its own", from.Remote, s.Addr(1).Addr())
	}
	// Requests may come in on it.
	if _, err := peer.Send(from, []byte(message(99))); err != nil {
		t.Fatal(err)
	}
	if got := await(t, r.got); got.msg != message(99) || got.from != (Flow{TCP, 1, id, peer.Addr(1)}) {
		t.Errorf("got %+v", got)
	}
	if conn, ok := s.Find(TCP, peer.Addr(1)); !ok || conn != id {
		t.Errorf("Find: %d %v", conn, ok)
	}
	settle(t, s)
	if st := s.Stats(); st.Dialled != 1 || st.Open != 1 {
		t.Errorf("%+v", st)
	}
}

// Many at once make one connection.
func TestDialOnce(t *testing.T) {
	s, _ := start(t, Options{})
	peer, peerGot := start(t, Options{})
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			if _, err := s.Send(Flow{Proto: TCP, Local: 1, Remote: peer.Addr(1)}, []byte(message(i))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for range 50 {
		await(t, peerGot.got)
	}
	if st := s.Stats(); st.Dialled != 1 || st.StreamOut != 50 {
		t.Errorf("%+v", st)
	}
}

func TestDialRefused(t *testing.T) {
	s, r := start(t, Options{})
	to := Flow{Proto: TCP, Local: 1, Remote: deadPort(t)}
	ids := map[uint64]bool{}
	for range 3 { // each Send after the end dials anew
		id, err := s.Send(to, []byte("x"))
		if err != nil || ids[id] {
			t.Fatal(id, err)
		}
		ids[id] = true
		if got := await(t, r.closed); got.conn != id || got.remote != to.Remote || !errors.Is(got.err, syscall.ECONNREFUSED) {
			t.Errorf("%+v", got)
		}
	}
	if st := s.Stats(); st.DialFailed != 3 || st.Open != 0 || st.Pending != 0 {
		t.Errorf("%+v", st)
	}
}

// blackhole returns an address that answers no SYN: a listener whose queue is
// full.
func blackhole(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: loopback(9).Addr().As4()}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		c, err := net.DialTimeout("tcp", addrPort(sa).String(), 100*time.Millisecond)
		if te, ok := errors.AsType[net.Error](err); ok && te.Timeout() {
			return addrPort(sa)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Skip("the listener's queue does not fill")
	return netip.AddrPort{}
}

func TestDialTimeout(t *testing.T) {
	s, r := start(t, Options{ConnectTimeout: 100 * time.Millisecond})
	to := Flow{Proto: TCP, Local: 1, Remote: blackhole(t)}
	id, err := s.Send(to, []byte(message(1)))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Find(TCP, to.Remote); ok {
		t.Error("found, but it is not open")
	}
	// By its id as well as by its address it takes more meanwhile.
	for _, f := range []Flow{to, {Proto: TCP, Conn: id}} {
		if conn, err := s.Send(f, []byte(message(2))); err != nil || conn != id {
			t.Errorf("connection %d, %v", conn, err)
		}
	}
	if got := await(t, r.closed); got.conn != id || !errors.Is(got.err, ErrTimeout) {
		t.Errorf("%+v", got)
	}
	none(t, r.closed)
	if st := s.Stats(); st.Pending != 0 || st.Open != 0 || st.DialFailed != 1 {
		t.Errorf("%+v", st)
	}
}

// What waits for a connection is bounded.
func TestDialOverflow(t *testing.T) {
	s, r := start(t, Options{ConnectTimeout: patience, MaxPending: 10000})
	to := Flow{Proto: TCP, Local: 1, Remote: blackhole(t)}
	b := []byte(strings.Repeat("x", 3000))
	for i := range 4 {
		if _, err := s.Send(to, b); (i == 3) != errors.Is(err, ErrSlow) {
			t.Errorf("send %d: %v", i, err)
		}
	}
	if got := await(t, r.closed); !errors.Is(got.err, ErrSlow) {
		t.Errorf("%+v", got)
	}
	if _, err := s.Send(to, make([]byte, 20000)); !errors.Is(err, ErrSlow) {
		t.Errorf("a message over the limit: %v", err)
	}
	none(t, r.closed)
}

// Stopping does not wait for a dial.
func TestDialShutdown(t *testing.T) {
	hole := blackhole(t)
	s, r := start(t, Options{ConnectTimeout: time.Hour})
	if _, err := s.Send(Flow{Proto: TCP, Local: 1, Remote: hole}, []byte("x")); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	if got := await(t, r.closed); !errors.Is(got.err, ErrStopped) {
		t.Errorf("%+v", got)
	}
}

func TestDialMaxConns(t *testing.T) {
	s, r := start(t, Options{MaxConns: 1})
	hole := blackhole(t)
	if _, err := s.Send(Flow{Proto: TCP, Local: 1, Remote: hole}, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Send(Flow{Proto: TCP, Local: 1, Remote: deadPort(t)}, []byte("x")); !errors.Is(err, ErrConns) {
		t.Errorf("a second: %v", err)
	}
	// Clients cannot use up what servers need, nor servers what clients need.
	write(t, connect(t, s.Addr(1)), message(1))
	await(t, r.got)
}

// The peer closed its side a moment ago: a message to it goes out on a new
// connection.
func TestDialAnewAfterPeerClosed(t *testing.T) {
	s, r := start(t, Options{})
	ln, err := net.Listen("tcp", loopback(4).String())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	to := Flow{Proto: TCP, Local: 1, Remote: netip.MustParseAddrPort(ln.Addr().String())}
	last := uint64(0)
	for i := range 3 {
		id, err := s.Send(to, []byte(message(i)))
		if err != nil || id == last {
			t.Fatal(id, err)
		}
		last = id
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		expect(t, c, message(i))
		_ = c.Close()
		if got := await(t, r.closed); got.conn != id {
			t.Errorf("%+v", got)
		}
	}
}

// Every connection's end is told once, whatever ends it, and every id that Send
// gave belongs to one.
func TestDialClosedOnce(t *testing.T) {
	h := newRecorder()
	h.hook = func([]byte, Flow) {}
	s, _ := start(t, Options{Handler: h, MaxPending: 4 << 10})
	ln, err := net.Listen("tcp", loopback(4).String())
	if err != nil {
		t.Fatal(err)
	}
	var peers sync.WaitGroup
	peers.Go(func() {
		for i := 0; ; i++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if i%2 == 0 {
				_ = c.(*net.TCPConn).SetLinger(0)
			}
			_ = c.Close()
		}
	})
	to := Flow{Proto: TCP, Local: 1, Remote: netip.MustParseAddrPort(ln.Addr().String())}
	var mu sync.Mutex
	given := map[uint64]bool{}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for range 200 {
				id, err := s.Send(to, []byte(fmt.Sprint("OPTIONS ", g)))
				if id != 0 {
					mu.Lock()
					given[id] = true
					mu.Unlock()
				} else if err == nil {
					t.Error("no id, no error")
				}
				if g == 0 {
					s.CloseConn(id)
				}
			}
		})
	}
	wg.Wait()
	_ = ln.Close()
	peers.Wait()
	told := map[uint64]bool{}
	for len(given) > 0 {
		c := await(t, h.closed)
		if told[c.conn] {
			t.Fatalf("told twice: %+v", c)
		}
		told[c.conn] = true
		delete(given, c.conn)
	}
}
