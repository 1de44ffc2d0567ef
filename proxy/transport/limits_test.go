package transport

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

// connectFrom connects from an address; nil when that is refused at once.
func connectFrom(t testing.TB, from netip.AddrPort, to netip.AddrPort) *net.TCPConn {
	t.Helper()
	c, err := net.DialTCP("tcp", net.TCPAddrFromAddrPort(from), net.TCPAddrFromAddrPort(to))
	if err != nil { // the reset may come before the dial has returned
		return nil
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// refused says that a connection is closed from the other side.
func refused(t testing.TB, c *net.TCPConn) {
	t.Helper()
	if c == nil {
		return
	}
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("not refused: %v", err)
	}
}

func TestTCPMaxConns(t *testing.T) {
	s, r := start(t, Options{MaxConns: 2})
	first := connect(t, s.Addr(1))
	write(t, first, message(1))
	await(t, r.got)
	write(t, connect(t, s.Addr(1)), message(1))
	await(t, r.got)
	// The reset may come before the dial has returned.
	if third, err := net.Dial("tcp", s.Addr(1).String()); err == nil {
		_ = third.SetDeadline(time.Now().Add(patience))
		if _, err := third.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a third is taken: %v", err)
		}
		_ = third.Close()
	}
	_ = first.Close()
	await(t, r.closed)
	write(t, connect(t, s.Addr(1)), message(4))
	if got := await(t, r.got); got.msg != message(4) {
		t.Errorf("got %q", got.msg)
	}
	if st := s.Stats(); st.Refused != 1 || st.Accepted != 3 {
		t.Errorf("%+v", st)
	}
}

// One address cannot take what others need.
func TestMaxConnsPerSource(t *testing.T) {
	s, r := start(t, Options{MaxConnsPerSource: 2})
	from := func(n byte, i int) {
		t.Helper()
		write(t, connectFrom(t, loopback(n), s.Addr(1)), message(i))
		if got := await(t, r.got); got.msg != message(i) {
			t.Fatalf("got %q", got.msg)
		}
	}
	first := connectFrom(t, loopback(2), s.Addr(1))
	write(t, first, message(1))
	await(t, r.got)
	from(2, 2)
	for range 3 {
		refused(t, connectFrom(t, loopback(2), s.Addr(1)))
	}
	from(3, 3)
	_ = first.Close()
	await(t, r.closed)
	from(2, 4)
	refused(t, connectFrom(t, loopback(2), s.Addr(1)))
	if st := s.Stats(); st.RefusedSource != 4 || st.Refused != 0 || st.Accepted != 4 || st.Open != 3 {
		t.Errorf("%+v", st)
	}
	none(t, r.closed) // what never came in does not end
}

func TestMaxConnsPerSourceDefaults(t *testing.T) {
	for given, want := range map[int]int{0: 256, -1: 16384, 7: 7} {
		o := Options{MaxConnsPerSource: given}
		if o.defaults(); o.MaxConnsPerSource != want {
			t.Errorf("%d: %d, want %d", given, o.MaxConnsPerSource, want)
		}
	}
}

// Connections are admitted by their address, on TLS before the handshake; what
// is dialled is no question of that.
func TestAdmit(t *testing.T) {
	ca := newAuthority(t, "ca")
	admit := func(a netip.Addr) bool { return a == loopback(2).Addr() }
	any6 := netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
	s, r := start(t, Options{Admit: admit, Listeners: []Listener{{Proto: TCP, Addr: any6}, ca.listen(t, loopback(1))}})
	to := netip.AddrPortFrom(loopback(1).Addr(), s.Addr(0).Port())
	refused(t, connectFrom(t, loopback(3), to))
	refused(t, connectFrom(t, loopback(3), s.Addr(1)))
	write(t, connectFrom(t, loopback(2), to), message(1))
	if got := await(t, r.got); got.msg != message(1) {
		t.Errorf("got %q", got.msg)
	}
	peer, peerGot := start(t, Options{})
	if _, err := s.Send(Flow{Proto: TCP, Remote: peer.Addr(1)}, []byte(message(2))); err != nil {
		t.Fatal(err)
	}
	await(t, peerGot.got)
	if st := s.Stats(); st.NotAdmitted != 2 || st.Accepted != 1 || st.Dialled != 1 {
		t.Errorf("%+v", st)
	}
	none(t, r.closed)
}

// A connection that says nothing, or only keeps itself alive, does not stay.
func TestFirstMessageTimeout(t *testing.T) {
	ca := newAuthority(t, "ca")
	s, r := start(t, Options{FirstMessageTimeout: 300 * time.Millisecond,
		Listeners: []Listener{{Proto: TCP, Addr: loopback(1)}, ca.listen(t, loopback(1))}})
	spoken := connect(t, s.Addr(0))
	write(t, spoken, message(1))
	await(t, r.got)
	silent, half, secure := connect(t, s.Addr(0)), connect(t, s.Addr(0)), ca.connectTLS(t, s.Addr(1))
	write(t, half, message(1)[:20])
	pinging := connect(t, s.Addr(0))
	go func() {
		for range 100 {
			if _, err := pinging.Write([]byte("\r\n\r\n")); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	ended := map[netip.AddrPort]error{}
	for range 4 {
		got := await(t, r.closed)
		ended[got.remote] = got.err
	}
	for name, c := range map[string]net.Conn{"silent": silent, "half": half, "TLS": secure, "pinging": pinging} {
		if err := ended[localAddr(c)]; !errors.Is(err, ErrMute) {
			t.Errorf("%s: %v", name, err)
		}
	}
	write(t, spoken, message(2))
	await(t, r.got)
}

// What we dial may be silent for as long as it likes: a server answers when it
// is asked.
func TestFirstMessageTimeoutNotDialled(t *testing.T) {
	s, r := start(t, Options{FirstMessageTimeout: 50 * time.Millisecond})
	peer, peerGot := start(t, Options{})
	if _, err := s.Send(Flow{Proto: TCP, Local: 1, Remote: peer.Addr(1)}, []byte(message(1))); err != nil {
		t.Fatal(err)
	}
	from := await(t, peerGot.got).from
	write(t, connect(t, s.Addr(1)), message(1)[:5])
	await(t, r.closed) // its time has passed
	if _, err := peer.Send(from, []byte(message(2))); err != nil {
		t.Fatal(err)
	}
	if got := await(t, r.got); got.msg != message(2) {
		t.Errorf("got %q", got.msg)
	}
}
