package transport

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestTCPOrder(t *testing.T) {
	s, r := start(t, Options{})
	c := connect(t, s.Addr(1))
	var all strings.Builder
	const n = 1000 // many of them arrive in one read
	for i := range n {
		all.WriteString(message(i))
	}
	write(t, c, all.String())
	var conn uint64
	for i := range n {
		got := await(t, r.got)
		if i == 0 {
			conn = got.from.Conn
		}
		if want := (Flow{TCP, 1, conn, localAddr(c)}); got.msg != message(i) || got.from != want || conn == 0 {
			t.Fatalf("message %d: %+v, want from %+v", i, got, want)
		}
	}
}

func TestTCPBytewise(t *testing.T) {
	s, r := start(t, Options{})
	c := connect(t, s.Addr(1))
	for i := range 3 {
		for _, b := range []byte(message(i)) {
			write(t, c, string(b))
		}
		if got := await(t, r.got); got.msg != message(i) {
			t.Fatalf("got %q", got.msg)
		}
	}
}

// RFC 5626 section 4.4.1: a double CRLF is answered with a single one, which
// itself is not answered.
func TestTCPKeepalive(t *testing.T) {
	s, r := start(t, Options{})
	c := connect(t, s.Addr(1))
	write(t, c, "\r\n\r\n")
	expect(t, c, "\r\n")
	write(t, c, message(1)+"\r\n"+message(2)+"\r\n\r\n")
	expect(t, c, "\r\n")
	for i := 1; i <= 2; i++ {
		if got := await(t, r.got); got.msg != message(i) {
			t.Errorf("got %q", got.msg)
		}
	}
	conn, ok := s.Find(TCP, localAddr(c))
	if _, err := s.Send(Flow{Proto: TCP, Conn: conn}, []byte("end")); err != nil || !ok {
		t.Fatal(ok, err)
	}
	expect(t, c, "end")
}

func TestTCPMalformed(t *testing.T) {
	s, r := start(t, Options{MaxBody: 100})
	for in, want := range map[string]string{
		"OPTIONS sip:a SIP/2.0\r\nl: 101\r\n\r\n":             "Content-Length too large",
		message(1) + "cd\r\n" + message(2):                    "no SIP start line",
		"OPTIONS sip:a SIP/2.0\r\nContent-Length: -1\r\n\r\n": "Content-Length is not a number",
	} {
		c := connect(t, s.Addr(1))
		write(t, c, in)
		if got := await(t, r.malformed); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
		if got := await(t, r.closed); !errors.Is(got.err, ErrMalformed) || got.remote != localAddr(c) {
			t.Errorf("%q: %+v", in, got)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q: still open: %v", in, err)
		}
	}
	if st := s.Stats(); st.Malformed != 3 || st.Open != 0 {
		t.Errorf("%+v", st)
	}
}

// A Content-Length larger than what comes is half a message: closed when the
// rest does not come, while a connection that says nothing stays.
func TestTCPHalfMessage(t *testing.T) {
	s, r := start(t, Options{HeaderTimeout: 100 * time.Millisecond})
	silent := connect(t, s.Addr(1))
	write(t, silent, message(1)+"\r\n")
	await(t, r.got)
	for _, half := range []string{"OPT", "OPTIONS sip:a SIP/2.0\r\nl: 9\r\n\r\nabc", message(2) + "S"} {
		c := connect(t, s.Addr(1))
		write(t, c, half)
		if got := await(t, r.closed); !errors.Is(got.err, ErrPartial) || got.remote != localAddr(c) {
			t.Errorf("%q: %+v", half, got)
		}
	}
	if got := await(t, r.got); got.msg != message(2) {
		t.Errorf("got %q", got.msg)
	}
	write(t, silent, message(3))
	if got := await(t, r.got); got.msg != message(3) {
		t.Errorf("got %q", got.msg)
	}
}

// Dripping bytes does not put the end off.
func TestTCPSlowloris(t *testing.T) {
	s, r := start(t, Options{HeaderTimeout: 200 * time.Millisecond})
	c := connect(t, s.Addr(1))
	for begun := time.Now(); time.Since(begun) < patience; time.Sleep(20 * time.Millisecond) {
		if _, err := c.Write([]byte("x")); err != nil {
			break
		}
	}
	if got := await(t, r.closed); !errors.Is(got.err, ErrPartial) {
		t.Errorf("%+v", got)
	}
}

func TestTCPIdle(t *testing.T) {
	const idle, pause = 600 * time.Millisecond, 150 * time.Millisecond
	s, r := start(t, Options{IdleTimeout: idle})
	c := connect(t, s.Addr(1))
	begun := time.Now()
	for range 5 {
		write(t, c, message(1)[:10])
		time.Sleep(pause)
		write(t, c, message(1)[10:])
		await(t, r.got)
	}
	none(t, r.closed)
	if got := await(t, r.closed); !errors.Is(got.err, ErrIdle) || time.Since(begun) < 4*pause+idle {
		t.Errorf("%+v after %v", got, time.Since(begun))
	}
}

func TestTCPPeerCloses(t *testing.T) {
	s, r := start(t, Options{})
	c := connect(t, s.Addr(1))
	write(t, c, message(1))
	from := await(t, r.got).from
	_ = c.Close()
	if got := await(t, r.closed); got != (closed{from.Conn, from.Remote, io.EOF}) {
		t.Errorf("%+v", got)
	}
	if _, err := s.Send(Flow{Proto: TCP, Conn: from.Conn}, []byte("x")); !errors.Is(err, ErrGone) {
		t.Errorf("send: %v", err)
	}
	if _, ok := s.Find(TCP, from.Remote); ok {
		t.Error("still found")
	}
	none(t, r.closed)
}

// A peer that sends its last requests and resets: all that came is handled.
func TestTCPRequestsBeforeReset(t *testing.T) {
	h := newRecorder()
	begin := make(chan struct{})
	h.hook = func(msg []byte, from Flow) {
		<-begin
		h.got <- received{string(msg), from}
	}
	s, _ := start(t, Options{Handler: h})
	c := connect(t, s.Addr(1))
	write(t, c, message(0))
	id, _ := s.Find(TCP, localAddr(c))
	for ; id == 0; id, _ = s.Find(TCP, localAddr(c)) {
		time.Sleep(time.Millisecond)
	}
	write(t, c, message(1))
	_ = c.Close()
	// Our writes meet a reset while message 1 is unread.
	for {
		if _, err := s.Send(Flow{Proto: TCP, Conn: id}, []byte("x")); err != nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	close(begin)
	for i := range 2 {
		if got := await(t, h.got); got.msg != message(i) {
			t.Errorf("got %q", got.msg)
		}
	}
	if got := await(t, h.closed); got.conn != id || got.err == nil {
		t.Errorf("%+v", got)
	}
}

func TestTCPReuseInbound(t *testing.T) {
	s, r := start(t, Options{})
	c := connect(t, s.Addr(1))
	write(t, c, message(1))
	from := await(t, r.got).from
	for i, f := range []Flow{
		from,
		{Proto: TCP, Local: 1, Remote: from.Remote},
		{Proto: TCP, Local: 0, Remote: from.Remote},
		{Proto: TCP, Local: 1, Conn: 12345, Remote: from.Remote},
	} {
		conn, err := s.Send(f, []byte(message(i)))
		if err != nil || conn != from.Conn {
			t.Errorf("flow %d: conn %d, %v; want %d", i, conn, err, from.Conn)
		}
		expect(t, c, message(i))
	}
	if got, ok := s.Find(TCP, from.Remote); !ok || got != from.Conn {
		t.Errorf("Find: %d %v", got, ok)
	}
	if _, ok := s.Find(UDP, from.Remote); ok {
		t.Error("Find of UDP")
	}
	if _, ok := s.Find(TCP, s.Addr(1)); ok {
		t.Error("Find of a stranger")
	}
	if st := s.Stats(); st.Open != 1 || st.Accepted != 1 || st.Dialled != 0 || st.StreamOut != 4 || st.StreamIn != 1 {
		t.Errorf("%+v", st)
	}
}

func TestTCPCloseConn(t *testing.T) {
	h := newRecorder()
	s, _ := start(t, Options{Handler: h})
	h.hook = func(msg []byte, from Flow) {
		h.got <- received{string(msg), from}
		s.CloseConn(from.Conn)
	}
	c := connect(t, s.Addr(1))
	write(t, c, message(1)+message(2))
	await(t, h.got)
	if got := await(t, h.closed); !errors.Is(got.err, ErrHungUp) {
		t.Errorf("%+v", got)
	}
	none(t, h.got)
	s.CloseConn(1)
}

// Accepted and dialled connections have what finds a dead peer.
func TestTCPSocketOptions(t *testing.T) {
	s, r := start(t, Options{})
	peer, peerGot := start(t, Options{})
	id, err := s.Send(Flow{Proto: TCP, Local: 1, Remote: peer.Addr(1)}, []byte(message(1)))
	if err != nil {
		t.Fatal(err)
	}
	from := await(t, peerGot.got).from
	if _, err := peer.Send(from, []byte(message(2))); err != nil {
		t.Fatal(err)
	}
	await(t, r.got)
	for name, c := range map[string]*conn{"dialled": s.table.get(id), "accepted": peer.table.get(from.Conn)} {
		_ = c.raw.Control(func(fd uintptr) {
			for _, o := range []struct{ level, opt, want int }{
				{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
				{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 30},
				{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
				{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 30000},
			} {
				if got, _ := unix.GetsockoptInt(int(fd), o.level, o.opt); got != o.want {
					t.Errorf("%s: option %d/%d is %d, want %d", name, o.level, o.opt, got, o.want)
				}
			}
		})
	}
}
