package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// Connections that stall in their handshake hold up no other, and are closed.
func TestTLSHandshakeStall(t *testing.T) {
	ca := newAuthority(t, "ca")
	s, r := ca.startTLS(t, Options{HandshakeTimeout: 2 * time.Second})
	const n = 100
	for i := range n {
		c := connect(t, s.Addr(0))
		if i%2 == 1 {
			write(t, c, "\x16\x03\x01\x02\x00\x01") // a ClientHello's beginning
		}
	}
	begun := time.Now()
	good := ca.connectTLS(t, s.Addr(0))
	for i := range 20 {
		write(t, good, message(i))
		from := await(t, r.got).from
		if _, err := s.Send(from, []byte(message(i))); err != nil {
			t.Fatal(err)
		}
		expect(t, good, message(i))
	}
	t.Logf("a handshake and 20 round trips beside %d stalled handshakes took %v", n, time.Since(begun))
	for range n {
		if got := await(t, r.closed); !errors.Is(got.err, ErrHandshake) || !errors.Is(got.err, ErrTimeout) {
			t.Errorf("%+v", got)
		}
	}
	write(t, good, message(99))
	await(t, r.got)
	if st := s.Stats(); st.HandshakeFailed != n || st.Open != 1 {
		t.Errorf("%+v", st)
	}
}

// Dripping bytes does not put the end of a handshake off.
func TestTLSHandshakeSlowloris(t *testing.T) {
	ca := newAuthority(t, "ca")
	s, r := ca.startTLS(t, Options{HandshakeTimeout: 300 * time.Millisecond})
	c := connect(t, s.Addr(0))
	write(t, c, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc")
	for begun := time.Now(); time.Since(begun) < patience; time.Sleep(20 * time.Millisecond) {
		if _, err := c.Write([]byte("x")); err != nil {
			break
		}
	}
	if got := await(t, r.closed); !errors.Is(got.err, ErrHandshake) || !errors.Is(got.err, ErrTimeout) {
		t.Errorf("%+v", got)
	}
}

// A handshake message that never ends takes no more memory than it may.
func TestTLSHandshakeTooLong(t *testing.T) {
	ca := newAuthority(t, "ca")
	s, r := ca.startTLS(t, Options{})
	c := connect(t, s.Addr(0))
	go func() {
		record := "\x16\x03\x01\x3f\x00" // of 16,128 bytes
		first := "\x01\x00\xff\xff"      // a ClientHello of 65,535 bytes
		_, _ = c.Write([]byte(record + first + strings.Repeat("x", 0x3f00-4)))
		for range 4 {
			_, _ = c.Write([]byte(record + strings.Repeat("x", 0x3f00)))
		}
	}()
	if got := await(t, r.closed); !errors.Is(got.err, ErrHandshake) {
		t.Errorf("%+v", got)
	}
	if n := s.Stats().Buffered; n != 0 {
		t.Errorf("%d bytes still counted", n)
	}
}

// A server that accepts and then says nothing costs no more than ConnectTimeout.
func TestTLSDialTimeout(t *testing.T) {
	s, r := start(t, Options{ConnectTimeout: 200 * time.Millisecond})
	ln, err := net.Listen("tcp", loopback(4).String())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	to := Flow{Proto: TLS, Local: 1, Remote: netip.MustParseAddrPort(ln.Addr().String())}
	id, err := s.Send(to, []byte(message(1)))
	if err != nil {
		t.Fatal(err)
	}
	accept(t, ln)
	if _, ok := s.Find(TLS, to.Remote); ok {
		t.Error("found, but it is not open")
	}
	if conn, err := s.Send(to, []byte(message(2))); err != nil || conn != id {
		t.Errorf("connection %d, %v", conn, err)
	}
	if got := await(t, r.closed); got.conn != id || !errors.Is(got.err, ErrTimeout) || !errors.Is(got.err, ErrHandshake) {
		t.Errorf("%+v", got)
	}
	if st := s.Stats(); st.Pending != 0 || st.Open != 0 || st.DialFailed != 1 || st.Buffered != 0 {
		t.Errorf("%+v", st)
	}
}

// Neither stopping nor CloseConn waits for a handshake.
func TestTLSHandshakeGivenUp(t *testing.T) {
	ca := newAuthority(t, "ca")
	r := newRecorder()
	s, err := Listen(Options{Handler: r, HandshakeTimeout: time.Hour, ConnectTimeout: time.Hour,
		Listeners: []Listener{ca.listen(t, loopback(1))}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-s.Ready()
	ln, err := net.Listen("tcp", loopback(4).String())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	to := Flow{Proto: TLS, Remote: netip.MustParseAddrPort(ln.Addr().String())}
	for _, want := range []error{ErrHungUp, ErrStopped} {
		connect(t, s.Addr(0)) // accepted, and never heard of
		id, err := s.Send(to, []byte(message(1)))
		if err != nil {
			t.Fatal(err)
		}
		accept(t, ln)
		if want == ErrHungUp {
			s.CloseConn(id)
			if got := await(t, r.closed); got.conn != id || !errors.Is(got.err, want) {
				t.Errorf("%+v", got)
			}
		}
	}
	cancel()
	if err := await(t, done); err != nil {
		t.Error(err)
	}
	for len(r.closed) > 0 {
		if got := <-r.closed; !errors.Is(got.err, ErrStopped) {
			t.Errorf("%+v", got)
		}
	}
	if st := s.Stats(); st.Open != 0 || st.Pending != 0 || st.Buffered != 0 {
		t.Errorf("%+v", st)
	}
}

// Nor does stopping wait for a peer that takes nothing, not even the goodbye.
func TestTLSShutdownStalledPeer(t *testing.T) {
	ca := newAuthority(t, "ca")
	r := newRecorder()
	s, err := Listen(Options{Handler: r, Listeners: []Listener{ca.listen(t, loopback(1))}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-s.Ready()
	c := ca.connectTLS(t, s.Addr(0))
	write(t, c, message(1))
	from := await(t, r.got).from
	for range 600 { // more than the sockets' buffers, less than MaxPending at a time
		if _, err := s.Send(from, make([]byte, 16<<10)); err != nil {
			t.Fatal(err)
		}
		for begun := time.Now(); s.Stats().Pending > 512<<10; time.Sleep(time.Millisecond) {
			if time.Since(begun) > 200*time.Millisecond {
				break
			}
		}
		if s.Stats().Pending > 512<<10 {
			break
		}
	}
	begun := time.Now()
	cancel()
	if err := await(t, done); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 2*goodbye {
		t.Errorf("stopping took %v", took)
	}
	if got := await(t, r.closed); !errors.Is(got.err, ErrStopped) {
		t.Errorf("%+v", got)
	}
	if st := s.Stats(); st.Pending != 0 || st.Buffered != 0 {
		t.Errorf("%+v", st)
	}
}

// Mutual TLS: who may connect.
func TestTLSMutual(t *testing.T) {
	ca, clients, strangers := newAuthority(t, "ca"), newAuthority(t, "clients"), newAuthority(t, "strangers")
	files := ca.files(t)
	files.ClientCA = clients.files(t).ServerCA
	good, bad := clients.issue(t, "client"), strangers.issue(t, "stranger")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, c := range []struct {
			name    string
			auth    ClientAuth
			own     []tls.Certificate
			refused string
		}{
			{"required and good", ClientAuthRequire, []tls.Certificate{good}, ""},
			{"required and absent", ClientAuthRequire, nil, "tls: "},
			{"required and a stranger's", ClientAuthRequire, []tls.Certificate{bad}, "tls: "},
			{"requested and good", ClientAuthRequest, []tls.Certificate{good}, ""},
			{"requested and absent", ClientAuthRequest, nil, ""},
			{"requested and a stranger's", ClientAuthRequest, []tls.Certificate{bad}, "tls: "},
		} {
			t.Run(tls.VersionName(version)+", "+c.name, func(t *testing.T) {
				files.ClientAuth = c.auth
				server, serverGot := start(t, Options{Listeners: []Listener{{Proto: TLS, Addr: loopback(1), TLS: load(t, files).ServerConfig()}}})
				s, r := start(t, Options{ClientTLS: func(netip.AddrPort) *tls.Config {
					// As they are, also when the server names other authorities.
					pick := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
						if len(c.own) == 0 {
							return &tls.Certificate{}, nil
						}
						return &c.own[0], nil
					}
					return &tls.Config{RootCAs: ca.pool, GetClientCertificate: pick, MaxVersion: version}
				}})
				if _, err := s.Send(Flow{Proto: TLS, Local: 1, Remote: server.Addr(0)}, []byte(message(1))); err != nil {
					t.Fatal(err)
				}
				if c.refused == "" {
					if got := await(t, serverGot.got); got.msg != message(1) {
						t.Errorf("got %q", got.msg)
					}
					return
				}
				for side, ended := range map[string]chan closed{"client": r.closed, "server": serverGot.closed} {
					got := await(t, ended)
					if !errors.Is(got.err, ErrHandshake) || !strings.Contains(got.err.Error(), c.refused) {
						t.Errorf("%s: %v", side, got.err)
					}
				}
				none(t, serverGot.got)
			})
		}
	}
}
