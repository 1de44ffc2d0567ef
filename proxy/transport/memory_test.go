package transport

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// buffered waits until so many bytes are counted.
func buffered(t testing.TB, s *Set, want int64) {
	t.Helper()
	for begun := time.Now(); s.Stats().Buffered != want; time.Sleep(time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatalf("%d bytes counted, want %d", s.Stats().Buffered, want)
		}
	}
}

// A connection whose message would take more than is left is closed, and gives
// back what it had; the others go on.
func TestMemoryRead(t *testing.T) {
	s, r := start(t, Options{MaxBuffered: 40 << 10})
	good := connect(t, s.Addr(1))
	write(t, good, message(1))
	await(t, r.got)
	half := startLine + "Content-Length: 15000\r\n\r\n" + strings.Repeat("x", 12000)
	first := connect(t, s.Addr(1))
	write(t, first, half)
	size := int64(len(half) + 3000) // what the header section says
	buffered(t, s, minBuffer+size)
	second := connect(t, s.Addr(1))
	write(t, second, half)
	buffered(t, s, minBuffer+2*size)
	third := connect(t, s.Addr(1))
	write(t, third, half)
	if got := await(t, r.closed); got.remote != localAddr(third) || !errors.Is(got.err, ErrMemory) {
		t.Errorf("%+v", got)
	}
	buffered(t, s, minBuffer+2*size)
	write(t, good, message(2))
	await(t, r.got)
	write(t, first, strings.Repeat("x", 3000))
	if got := await(t, r.got); len(got.msg) != len(half)+3000 {
		t.Errorf("%d bytes", len(got.msg))
	}
	if st := s.Stats(); st.Starved != 1 || st.Open != 3 {
		t.Errorf("%+v", st)
	}
	for _, c := range []io.Closer{good, first, second} {
		_ = c.Close()
		await(t, r.closed)
	}
	buffered(t, s, 0)
}

// Connections for which there is not even a first buffer do not come in.
func TestMemoryAccept(t *testing.T) {
	s, r := start(t, Options{MaxBuffered: 2*minBuffer + 100})
	for i := range 2 {
		write(t, connect(t, s.Addr(1)), message(i))
		await(t, r.got)
	}
	refused(t, connectFrom(t, loopback(2), s.Addr(1)))
	if got := await(t, r.closed); got.remote.Addr() != loopback(2).Addr() || !errors.Is(got.err, ErrMemory) {
		t.Errorf("%+v", got)
	}
}

// What is queued for a peer that does not read counts.
func TestMemoryWrite(t *testing.T) {
	ca := newAuthority(t, "ca")
	const limit = 256 << 10
	s, r := start(t, Options{MaxBuffered: limit, MaxPending: 64 << 20,
		Listeners: []Listener{{Proto: TCP, Addr: loopback(1)}, ca.listen(t, loopback(1))}})
	big := []byte(strings.Repeat("x", 10000))
	for _, proto := range []Proto{TCP, TLS} {
		if proto == TCP {
			write(t, connect(t, s.Addr(0)), message(1))
		} else {
			write(t, ca.connectTLS(t, s.Addr(1)), message(1))
		}
		flow := await(t, r.got).from
		var err error
		for n := 0; err == nil; n++ {
			if n > 10000 {
				t.Fatal("no end")
			}
			_, err = s.Send(flow, big)
			if b := s.Stats().Buffered; b > limit {
				t.Fatalf("%d bytes counted", b)
			}
		}
		if !errors.Is(err, ErrMemory) {
			t.Errorf("%s: %v", flow.Proto, err)
		}
		if got := await(t, r.closed); got.conn != flow.Conn || !errors.Is(got.err, ErrMemory) {
			t.Errorf("%s: %+v", flow.Proto, got)
		}
		settle(t, s)
		buffered(t, s, 0)
	}
	if st := s.Stats(); st.Starved != 2 || st.Slow != 0 {
		t.Errorf("%+v", st)
	}
}

// So does what waits for a connection to be made.
func TestMemoryDial(t *testing.T) {
	hole := blackhole(t)
	s, r := start(t, Options{MaxBuffered: 10 << 10, ConnectTimeout: patience})
	to := Flow{Proto: TCP, Local: 1, Remote: hole}
	if _, err := s.Send(to, make([]byte, 20000)); !errors.Is(err, ErrMemory) {
		t.Errorf("the first message: %v", err)
	}
	none(t, r.closed)
	id, err := s.Send(to, make([]byte, 5000))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Send(to, make([]byte, 9000)); !errors.Is(err, ErrMemory) {
		t.Errorf("the next: %v", err)
	}
	if got := await(t, r.closed); got.conn != id || !errors.Is(got.err, ErrMemory) {
		t.Errorf("%+v", got)
	}
	buffered(t, s, 0)
}

// The bytes of a TLS connection are counted too, and given back.
func TestMemoryTLS(t *testing.T) {
	ca := newAuthority(t, "ca")
	s, r := ca.startTLS(t, Options{})
	c := ca.connectTLS(t, s.Addr(0))
	write(t, c, message(1)+strings.Repeat(message(2), 1000))
	for range 1001 {
		await(t, r.got)
	}
	if n := s.Stats().Buffered; n < 16<<10 || n > 100<<10 {
		t.Errorf("%d bytes counted for a connection with large records", n)
	}
	_ = c.Close()
	await(t, r.closed)
	buffered(t, s, 0)

	small, smallGot := ca.startTLS(t, Options{MaxBuffered: 1 << 10})
	connect(t, small.Addr(0)) // stays in its handshake
	d := connect(t, small.Addr(0))
	write(t, d, "\x16\x03\x01\x3f\x00"+strings.Repeat("x", 0x3f00))
	if got := await(t, smallGot.closed); !errors.Is(got.err, ErrHandshake) || !errors.Is(got.err, ErrMemory) {
		t.Errorf("%+v", got)
	}
}
