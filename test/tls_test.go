package test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

// authority issues certificates for the addresses of labs.
type authority struct {
	t      *testing.T
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	file   string
	serial int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, serial: 1, file: filepath.Join(t.TempDir(), "ca.pem")}
	a.key = newKey(t)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.write(a.file, "CERTIFICATE", der)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) write(file, kind string, der []byte) {
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// issue writes a certificate for an address, and its key, over what is there, and gives the serial number.
func (a *authority) issue(cert, key, ip string) int64 {
	a.t.Helper()
	a.serial++
	k := newKey(a.t)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(a.serial), Subject: pkix.Name{CommonName: ip}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.ParseIP(ip)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, k.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(cert, "CERTIFICATE", der)
	a.write(key, "PRIVATE KEY", raw)
	return a.serial
}

// secure is the head of a configuration with a TLS listener beside the others.
func (a *authority) secure(l *lab, more string) string {
	cert, key := filepath.Join(l.dir, "tls.crt"), filepath.Join(l.dir, "tls.key")
	a.issue(cert, key, l.ip(10))
	head := strings.Replace(l.head(), "5060\"]", fmt.Sprintf("5060\", \"tls://%s:5061\"]", l.ip(10)), 1)
	return head + fmt.Sprintf("tls: {cert: %s, key: %s%s}\n", cert, key, more)
}

// TestTLS sends sessions through two proxies with mutual TLS between them: client, UDP and TCP, first proxy, TLS, second proxy,
// UDP and TCP, servers. Requests go both ways, a certificate is renewed while sessions are held, and the second proxy is killed
// and started again under them.
func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	front, back := newLab(t), newLab(t)
	udp, tcp := back.simServer(21, sim.ServerOptions{}), back.simServer(22, sim.ServerOptions{})
	b := back.start(patient(strings.Replace(back.cluster(back.group("a", back.uri(21, "udp"), back.uri(22, "tcp"))), back.head(),
		ca.secure(back, ", client_auth: require, client_ca: "+ca.file), 1)))
	b.await("the servers are up", 5*time.Second, func() bool { return b.up() == 2 })
	f := front.start(patient(strings.Replace(front.cluster(front.group("a", "sips:"+back.ip(10))), front.head(), ca.secure(front, ", server_ca: "+ca.file), 1)))
	f.await("the second proxy is up", 5*time.Second, func() bool { return f.up() == 1 })

	sessions := map[string]*held{}
	clients := map[string]*sim.Client{}
	for _, network := range []string{"udp", "tcp"} {
		clients[network] = front.simClient(sim.ClientOptions{Network: network})
		sessions[network] = front.hold(clients[network], 30, udp, tcp)
	}
	before := udp.Stats().HangUpsDone + tcp.Stats().HangUpsDone
	udp.HangUp(5)
	tcp.HangUp(5)
	await(t, "the servers' BYEs are answered", 5*time.Second, func() bool {
		return udp.Stats().HangUpsDone+tcp.Stats().HangUpsDone == before+10
	})

	serial := ca.issue(filepath.Join(back.dir, "tls.crt"), filepath.Join(back.dir, "tls.key"), back.ip(10))
	if code, text := b.post("/-/reload"); code != 200 {
		t.Fatalf("reload: %d %s", code, text)
	}
	if got := shown(t, ca, back, front); got != serial {
		t.Errorf("certificate %d is shown after its renewal, want %d", got, serial)
	}
	mustSucceed(t, []outcome{session(t.Context(), clients["udp"], 0), session(t.Context(), clients["tcp"], 0)})

	b.kill(syscall.SIGKILL)
	b.run()
	for network, h := range sessions {
		for _, o := range h.end() {
			if !o.good() || o.Code != 200 {
				t.Errorf("%s: session ended with %+v", network, o.Result)
			}
		}
	}
	if n := udp.Sessions() + tcp.Sessions(); n != 0 {
		t.Errorf("%d sessions are left at the servers", n)
	}
	f.await("the log says that sessions went over TLS", 5*time.Second, func() bool {
		return f.logged(`"ended_by":"bye_client"`, "transport=tls")
	})
}

// shown is the serial number of the certificate that a lab's daemon shows to a client that shows it another's. A client that
// shows none is refused.
func shown(t *testing.T, ca *authority, of, as *lab) int64 {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(as.dir, "tls.crt"), filepath.Join(as.dir, "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	dial := func(own ...tls.Certificate) (*tls.Conn, error) {
		d := tls.Dialer{Config: &tls.Config{RootCAs: roots, Certificates: own, MinVersion: tls.VersionTLS12}}
		c, err := d.DialContext(ctx, "tcp", of.ip(10)+":5061")
		if err != nil {
			return nil, err
		}
		return c.(*tls.Conn), nil
	}
	if c, err := dial(); err == nil { // TLS 1.3 tells the client only when it reads
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err = c.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "certificate required") {
			t.Errorf("without a certificate: %v", err)
		}
		_ = c.Close()
	}
	c, err := dial(pair)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}
