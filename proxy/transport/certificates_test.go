package transport

import (
	"crypto/tls"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Certificates are changed under live connections: those stay, new ones get the
// new certificate; files that do not do change nothing.
func TestCertificatesReload(t *testing.T) {
	ca := newAuthority(t, "ca")
	files := ca.files(t)
	certs := load(t, files)
	s, r := start(t, Options{Listeners: []Listener{{Proto: TLS, Addr: loopback(1), TLS: certs.ServerConfig()}}})
	serial := func(c *tls.Conn) string { return c.ConnectionState().PeerCertificates[0].SerialNumber.String() }

	old := ca.connectTLS(t, s.Addr(0))
	works := func(c *tls.Conn, i int) {
		t.Helper()
		write(t, c, message(i))
		got := await(t, r.got)
		if got.msg != message(i) {
			t.Fatalf("got %q", got.msg)
		}
		if _, err := s.Send(got.from, []byte("answer")); err != nil {
			t.Fatal(err)
		}
		expect(t, c, "answer")
	}
	works(old, 1)

	ca.write(t, filepath.Dir(files.Cert), ca.local(t))
	if err := certs.Reload(); err != nil {
		t.Fatal(err)
	}
	works(old, 2)
	fresh := ca.connectTLS(t, s.Addr(0))
	works(fresh, 3)
	if serial(fresh) == serial(old) {
		t.Error("the certificate is the old one")
	}

	if err := os.WriteFile(files.Key, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := certs.Reload(); err == nil || !strings.Contains(err.Error(), files.Key) {
		t.Errorf("a broken key: %v", err)
	}
	third := ca.connectTLS(t, s.Addr(0))
	works(third, 4)
	if serial(third) != serial(fresh) {
		t.Error("the certificate changed")
	}
	works(old, 5)
	none(t, r.closed)
}

// A client authority that was taken away lets nobody in any more.
func TestCertificatesReloadClientCA(t *testing.T) {
	ca, clients, others := newAuthority(t, "ca"), newAuthority(t, "clients"), newAuthority(t, "others")
	files := ca.files(t)
	files.ClientAuth, files.ClientCA = ClientAuthRequire, filepath.Join(t.TempDir(), "clients.pem")
	writePEM(t, files.ClientCA, "CERTIFICATE", clients.cert.Raw)
	certs := load(t, files)
	server, serverGot := start(t, Options{Listeners: []Listener{{Proto: TLS, Addr: loopback(1), TLS: certs.ServerConfig()}}})

	// The client remembers sessions, to no avail.
	own := clients.issue(t, "client")
	cache := tls.NewLRUClientSessionCache(10)
	s, r := start(t, Options{ClientTLS: func(netip.AddrPort) *tls.Config {
		return &tls.Config{RootCAs: ca.pool, ClientSessionCache: cache,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }}
	}})
	to := Flow{Proto: TLS, Local: 1, Remote: server.Addr(0)}
	id, err := s.Send(to, []byte(message(1)))
	if err != nil {
		t.Fatal(err)
	}
	await(t, serverGot.got)
	s.CloseConn(id)
	await(t, r.closed)
	await(t, serverGot.closed)

	writePEM(t, files.ClientCA, "CERTIFICATE", others.cert.Raw)
	if err := certs.Reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Send(to, []byte(message(2))); err != nil {
		t.Fatal(err)
	}
	if got := await(t, serverGot.closed); !errors.Is(got.err, ErrHandshake) {
		t.Errorf("server: %v", got.err)
	}
	if got := await(t, r.closed); !errors.Is(got.err, ErrHandshake) {
		t.Errorf("client: %v", got.err)
	}
	none(t, serverGot.got)
}

// Both sides from files.
func TestCertificatesClientConfig(t *testing.T) {
	ca := newAuthority(t, "ca")
	files := ca.files(t)
	files.ClientAuth, files.ClientCA = ClientAuthRequire, files.ServerCA
	certs := load(t, files)
	o := Options{
		Listeners: []Listener{{Proto: TLS, Addr: loopback(1), TLS: certs.ServerConfig()}},
		ClientTLS: func(netip.AddrPort) *tls.Config { return certs.ClientConfig() },
	}
	s, _ := start(t, o)
	peer, got := start(t, o)
	if _, err := s.Send(Flow{Proto: TLS, Remote: peer.Addr(0)}, []byte(message(1))); err != nil {
		t.Fatal(err)
	}
	if m := await(t, got.got); m.msg != message(1) {
		t.Errorf("got %q", m.msg)
	}
	if left := time.Until(certs.Expiry()); left < 29*time.Minute || left > 30*time.Minute {
		t.Errorf("expires in %v", left)
	}
	if certs.ServerConfig().MinVersion != tls.VersionTLS12 || certs.ClientConfig().MinVersion != tls.VersionTLS12 {
		t.Error("versions before 1.2")
	}
}

func TestCertificatesErrors(t *testing.T) {
	ca := newAuthority(t, "ca")
	good, other := ca.files(t), ca.files(t)
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		files CertificateFiles
		says  string
	}{
		"no such file":       {CertificateFiles{Cert: "nowhere.pem", Key: good.Key}, "nowhere.pem"},
		"no key":             {CertificateFiles{Cert: good.Cert}, good.Cert},
		"another's key":      {CertificateFiles{Cert: good.Cert, Key: other.Key}, "does not match"},
		"empty CA":           {CertificateFiles{ServerCA: empty}, empty},
		"no CA for clients":  {CertificateFiles{Cert: good.Cert, Key: good.Key, ClientAuth: ClientAuthRequire}, "no client CA"},
		"CA without asking":  {CertificateFiles{Cert: good.Cert, Key: good.Key, ClientCA: good.ServerCA}, "not asked for"},
		"no such ClientAuth": {CertificateFiles{ClientCA: good.ServerCA, ClientAuth: 9}, "ClientAuth(9)"},
	} {
		if _, err := LoadCertificates(c.files); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q in it", name, err, c.says)
		}
	}
	if _, err := LoadCertificates(CertificateFiles{}); err != nil {
		t.Errorf("nothing but the system's roots: %v", err)
	}
	if ClientAuthNone.String() != "none" || ClientAuthRequest.String() != "request" || ClientAuthRequire.String() != "require" {
		t.Error("String")
	}
}
