package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"
)

// TLS that meets a TCP port fails on both sides, at once.
func TestTLSToPlainPort(t *testing.T) {
	ca := newAuthority(t, "ca")
	s, r := ca.startTLS(t, Options{ConnectTimeout: patience})
	plain, plainGot := start(t, Options{})
	id, err := s.Send(Flow{Proto: TLS, Remote: plain.Addr(1)}, []byte(message(1)))
	if err != nil {
		t.Fatal(err)
	}
	if got := await(t, plainGot.malformed); got != noStartLine {
		t.Errorf("malformed: %s", got)
	}
	if got := await(t, r.closed); got.conn != id || !errors.Is(got.err, ErrHandshake) {
		t.Errorf("%+v", got)
	}
	none(t, plainGot.got)
	settle(t, s)
	if st := s.Stats(); st.DialFailed != 1 || st.Buffered != 0 || st.Open != 0 {
		t.Errorf("%+v", st)
	}
}

// And SIP in the clear that meets a TLS port.
func TestPlainToTLSPort(t *testing.T) {
	ca := newAuthority(t, "ca")
	s, r := ca.startTLS(t, Options{HandshakeTimeout: patience})
	c := connect(t, s.Addr(0))
	write(t, c, message(1))
	got := await(t, r.closed)
	if _, ok := errors.AsType[tls.RecordHeaderError](got.err); !ok || !errors.Is(got.err, ErrHandshake) {
		t.Errorf("%+v", got)
	}
	if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("still open: %v", err)
	}
	none(t, r.got)
	if st := s.Stats(); st.HandshakeFailed != 1 || st.Accepted != 1 || st.Open != 0 || st.Buffered != 0 {
		t.Errorf("%+v", st)
	}
}

// What the peer's certificate lacks is told on the side that dials, and that it
// was refused on the other.
func TestTLSServerRefused(t *testing.T) {
	ca := newAuthority(t, "ca")
	elsewhere := ca.issue(t, "elsewhere", "192.0.2.1")
	for name, c := range map[string]struct {
		listen Listener
		client func(netip.AddrPort) *tls.Config
		is     func(error) bool
	}{
		"unknown authority": {ca.listen(t, loopback(1)), newAuthority(t, "other").trust(), isA[x509.UnknownAuthorityError]},
		"system roots":      {ca.listen(t, loopback(1)), func(netip.AddrPort) *tls.Config { return nil }, isA[x509.UnknownAuthorityError]},
		"other address": {Listener{Proto: TLS, Addr: loopback(1), TLS: &tls.Config{Certificates: []tls.Certificate{elsewhere}}},
			ca.trust(), isA[x509.HostnameError]},
	} {
		s, r := start(t, Options{ClientTLS: c.client})
		peer, peerGot := start(t, Options{Listeners: []Listener{c.listen}})
		id, err := s.Send(Flow{Proto: TLS, Local: 1, Remote: peer.Addr(0)}, []byte(message(1)))
		if err != nil {
			t.Fatal(err)
		}
		if got := await(t, r.closed); got.conn != id || !errors.Is(got.err, ErrHandshake) || !c.is(got.err) {
			t.Errorf("%s: %v", name, got.err)
		}
		got := await(t, peerGot.closed)
		if !errors.Is(got.err, ErrHandshake) || !strings.Contains(got.err.Error(), "remote error: tls: bad certificate") {
			t.Errorf("%s: peer: %v", name, got.err)
		}
		none(t, peerGot.got)
		settle(t, s)
	}
}

func isA[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}
