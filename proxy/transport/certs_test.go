package transport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority issues certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{cert: cert, key: key, pool: x509.NewCertPool()}
	a.pool.AddCert(cert)
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue returns a certificate for name and addresses.
func (a *authority) issue(t testing.TB, name string, addrs ...string) tls.Certificate {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * time.Minute),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, addr := range addrs {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(addr))
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// local is a certificate for the loopback addresses the tests use.
func (a *authority) local(t testing.TB) tls.Certificate {
	return a.issue(t, "local", "127.0.0.1", "127.0.0.2", "127.0.0.4", "::1")
}

func writePEM(t testing.TB, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// write puts a certificate into dir/cert.pem and dir/key.pem.
func (a *authority) write(t testing.TB, dir string, pair tls.Certificate) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(dir, "cert.pem"), "CERTIFICATE", pair.Certificate[0])
	writePEM(t, filepath.Join(dir, "key.pem"), "PRIVATE KEY", der)
}

// files writes a new certificate and the authority's own into a directory.
func (a *authority) files(t testing.TB) CertificateFiles {
	t.Helper()
	dir := t.TempDir()
	a.write(t, dir, a.local(t))
	ca := filepath.Join(dir, "ca.pem")
	writePEM(t, ca, "CERTIFICATE", a.cert.Raw)
	return CertificateFiles{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), ServerCA: ca}
}

func load(t testing.TB, files CertificateFiles) *Certificates {
	t.Helper()
	c, err := LoadCertificates(files)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// trust is the ClientTLS option for peers with certificates of the authority.
func (a *authority) trust(own ...tls.Certificate) func(netip.AddrPort) *tls.Config {
	return func(netip.AddrPort) *tls.Config { return &tls.Config{RootCAs: a.pool, Certificates: own} }
}

// listen returns a TLS listener with a certificate of the authority.
func (a *authority) listen(t testing.TB, addr netip.AddrPort) Listener {
	t.Helper()
	return Listener{Proto: TLS, Addr: addr, TLS: &tls.Config{Certificates: []tls.Certificate{a.local(t)}}}
}

// startTLS runs a Set with one TLS listener, which trusts the authority.
func (a *authority) startTLS(t testing.TB, o Options) (*Set, *recorder) {
	t.Helper()
	if o.Listeners == nil {
		o.Listeners = []Listener{a.listen(t, loopback(1))}
	}
	if o.ClientTLS == nil {
		o.ClientTLS = a.trust()
	}
	return start(t, o)
}

// connectTLS connects as a peer that is no Set.
func (a *authority) connectTLS(t testing.TB, to netip.AddrPort) *tls.Conn {
	t.Helper()
	c := tls.Client(connect(t, to), &tls.Config{RootCAs: a.pool, ServerName: to.Addr().String()})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return c
}
