package transport

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestTLSBothWays(t *testing.T) {
	ca := newAuthority(t, "ca")
	s, r := ca.startTLS(t, Options{})
	peer, peerGot := ca.startTLS(t, Options{})
	to := Flow{Proto: TLS, Remote: peer.Addr(0)}
	var id uint64
	for i := range 50 { // the first ones wait for the handshake
		conn, err := s.Send(to, []byte(message(i)))
		if err != nil || conn == 0 || id != 0 && conn != id {
			t.Fatalf("message %d: connection %d, %v", i, conn, err)
		}
		id = conn
	}
	var from Flow
	for i := range 50 {
		got := await(t, peerGot.got)
		if from = got.from; got.msg != message(i) || from.Proto != TLS {
			t.Fatalf("message %d: %+v", i, got)
		}
	}
	for i := range 50 {
		if conn, err := peer.Send(from, []byte(message(i))); err != nil || conn != from.Conn {
			t.Fatal(conn, err)
		}
	}
	for i := range 50 {
		if got := await(t, r.got); got.msg != message(i) || got.from != (Flow{TLS, 0, id, peer.Addr(0)}) {
			t.Fatalf("message %d: %+v", i, got)
		}
	}
	if conn, ok := s.Find(TLS, peer.Addr(0)); !ok || conn != id {
		t.Errorf("Find: %d %v", conn, ok)
	}
	settle(t, s)
	if st := s.Stats(); st.Dialled != 1 || st.Open != 1 || st.StreamOut != 50 || st.StreamIn != 50 {
		t.Errorf("%+v", st)
	}
}

// Large messages take many records, small ones share one.
func TestTLSOrderAndSizes(t *testing.T) {
	ca := newAuthority(t, "ca")
	s, r := ca.startTLS(t, Options{})
	c := ca.connectTLS(t, s.Addr(0))
	var all strings.Builder
	var want []string
	for i := range 200 {
		body := strings.Repeat("x", i*300)
		want = append(want, startLine+"Content-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"+body)
		all.WriteString(want[i])
	}
	go func() { _, _ = io.WriteString(c, all.String()) }()
	for i := range want {
		if got := await(t, r.got); got.msg != want[i] {
			t.Fatalf("message %d: %d bytes, want %d", i, len(got.msg), len(want[i]))
		}
	}
	write(t, c, "\r\n\r\n")
	expect(t, c, "\r\n")
}

// A connection that is closed from this side says so: the peer can tell the end
// from a cut (RFC 8446 section 6.1).
func TestTLSCloseConn(t *testing.T) {
	ca := newAuthority(t, "ca")
	s, r := ca.startTLS(t, Options{})
	tap := &tap{Conn: connect(t, s.Addr(0))}
	c := tls.Client(tap, &tls.Config{RootCAs: ca.pool, ServerName: "127.0.0.1", MaxVersion: tls.VersionTLS12})
	write(t, c, message(1))
	from := await(t, r.got).from
	if _, err := s.Send(from, []byte("last words")); err != nil {
		t.Fatal(err)
	}
	expect(t, c, "last words")
	settle(t, s)
	s.CloseConn(from.Conn)
	if got := await(t, r.closed); got.conn != from.Conn || !errors.Is(got.err, ErrHungUp) {
		t.Errorf("%+v", got)
	}
	tap.seen = nil
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("peer: %v", err)
	}
	const alert = 21
	if len(tap.seen) == 0 || tap.seen[0] != alert {
		t.Errorf("no goodbye, but %x", tap.seen)
	}
	none(t, r.closed)
}

// tap keeps what is read.
type tap struct {
	net.Conn
	seen []byte
}

func (p *tap) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	p.seen = append(p.seen, b[:n]...)
	return n, err
}

func TestTLSPeerCloses(t *testing.T) {
	ca := newAuthority(t, "ca")
	s, r := ca.startTLS(t, Options{})
	for _, goodbye := range []bool{true, false} { // many peers close without one
		c := ca.connectTLS(t, s.Addr(0))
		write(t, c, message(1)+message(2))
		from := await(t, r.got).from
		await(t, r.got)
		if goodbye {
			_ = c.Close()
		} else {
			_ = c.NetConn().Close()
		}
		if got := await(t, r.closed); got.conn != from.Conn || got.err != io.EOF {
			t.Errorf("goodbye %v: %+v", goodbye, got)
		}
	}
	if n := s.Stats().Buffered; n != 0 {
		t.Errorf("%d bytes still counted", n)
	}
}

func TestTLSTimeouts(t *testing.T) {
	ca := newAuthority(t, "ca")
	s, r := ca.startTLS(t, Options{HeaderTimeout: 100 * time.Millisecond, IdleTimeout: 300 * time.Millisecond})
	for in, want := range map[string]error{message(1)[:20]: ErrPartial, "": ErrIdle} {
		c := ca.connectTLS(t, s.Addr(0))
		write(t, c, message(0)+in)
		await(t, r.got)
		if got := await(t, r.closed); got.err != want {
			t.Errorf("%q: %+v", in, got)
		}
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%q: peer: %v", in, err)
		}
	}
}

// A peer that reads nothing is closed when its queue is full, and delays no
// other, nor the sender.
func TestTLSSlowPeer(t *testing.T) {
	ca := newAuthority(t, "ca")
	s, r := ca.startTLS(t, Options{MaxPending: 256 << 10})
	slow, fast := ca.connectTLS(t, s.Addr(0)), ca.connectTLS(t, s.Addr(0))
	write(t, slow, message(1))
	slowFlow := await(t, r.got).from
	write(t, fast, message(2))
	fastFlow := await(t, r.got).from
	big := []byte(strings.Repeat("x", 10000))
	var err error
	for i := 0; err == nil; i++ {
		begun := time.Now()
		_, err = s.Send(slowFlow, big)
		if took := time.Since(begun); took > time.Second {
			t.Fatalf("send took %v", took)
		}
		if i%10 == 0 {
			if _, err := s.Send(fastFlow, []byte(message(i))); err != nil {
				t.Fatal(err)
			}
			expect(t, fast, message(i))
		}
	}
	if !errors.Is(err, ErrSlow) {
		t.Errorf("send: %v", err)
	}
	if got := await(t, r.closed); got.conn != slowFlow.Conn || !errors.Is(got.err, ErrSlow) {
		t.Errorf("%+v", got)
	}
	settle(t, s)
}

// One address that speaks both: a message for TLS never leaves on TCP, nor the
// other way round.
func TestTLSApartFromTCP(t *testing.T) {
	ca := newAuthority(t, "ca")
	s, _ := ca.startTLS(t, Options{})
	ln, err := net.Listen("tcp", loopback(4).String())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	to := Flow{Proto: TCP, Remote: netip.MustParseAddrPort(ln.Addr().String())}
	plainID, err := s.Send(to, []byte(message(1)))
	if err != nil {
		t.Fatal(err)
	}
	plain := accept(t, ln)
	expect(t, plain, message(1))
	if _, ok := s.Find(TLS, to.Remote); ok {
		t.Error("TCP found for TLS")
	}
	to.Proto, to.Conn = TLS, plainID
	secureID, err := s.Send(to, []byte(message(2)))
	if err != nil || secureID == plainID {
		t.Fatalf("TLS on connection %d, TCP on %d, %v", secureID, plainID, err)
	}
	secure := tls.Server(accept(t, ln), &tls.Config{Certificates: []tls.Certificate{ca.local(t)}})
	expect(t, secure, message(2))
	for proto, want := range map[Proto]uint64{TCP: plainID, TLS: secureID} {
		if id, ok := s.Find(proto, to.Remote); !ok || id != want {
			t.Errorf("Find %s: %d %v, want %d", proto, id, ok, want)
		}
		if id, err := s.Send(Flow{Proto: proto, Remote: to.Remote}, []byte("x")); err != nil || id != want {
			t.Errorf("Send %s: %d %v, want %d", proto, id, err, want)
		}
	}
	if _, err := s.Send(Flow{Proto: TCP, Conn: secureID}, []byte("x")); !errors.Is(err, ErrGone) {
		t.Errorf("TCP on a TLS connection: %v", err)
	}
}

func accept(t testing.TB, ln net.Listener) net.Conn {
	t.Helper()
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// A TLS listener without a certificate is refused before anything starts.
func TestTLSListenWithoutConfig(t *testing.T) {
	if _, err := Listen(Options{Handler: newRecorder(), Listeners: []Listener{{Proto: TLS, Addr: loopback(1)}}}); err == nil {
		t.Error("no error")
	}
}
