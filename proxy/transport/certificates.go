package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

// ClientAuth says what a TLS listener asks of those who connect.
type ClientAuth uint8

// The kinds of client authentication.
const (
	ClientAuthNone    ClientAuth = iota
	ClientAuthRequest            // a certificate is asked for, and verified if there is one
	ClientAuthRequire            // no connection without a certificate that can be verified
)

// String returns "none", "request", "require".
func (a ClientAuth) String() string {
	switch a {
	case ClientAuthNone:
		return "none"
	case ClientAuthRequest:
		return "request"
	case ClientAuthRequire:
		return "require"
	}
	return "ClientAuth(" + strconv.Itoa(int(a)) + ")"
}

// CertificateFiles names PEM files.
type CertificateFiles struct {
	// Cert and Key are who we are, to those who connect and to those we connect
	// to who ask. Cert may hold intermediate certificates after ours. Both
	// empty: we only connect, and have no certificate.
	Cert, Key string

	ClientAuth ClientAuth
	ClientCA   string // who may have issued clients' certificates; needed unless ClientAuth is none
	ServerCA   string // who may have issued the certificates of those we connect to; empty: the system's roots
}

// Certificates are certificates read from files that may be read again while
// they are in use.
type Certificates struct {
	files CertificateFiles
	now   atomic.Pointer[loaded]
}

// loaded is what the files said at one time; it is not changed.
type loaded struct {
	server, client *tls.Config
	expiry         time.Time
}

// LoadCertificates reads the files.
func LoadCertificates(files CertificateFiles) (*Certificates, error) {
	c := &Certificates{files: files}
	if err := c.Reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// Reload reads the files again: handshakes that begin from now on use what they
// say. Connections that are up stay as they are. On an error nothing changes.
func (c *Certificates) Reload() error {
	use, err := c.Read()
	if err != nil {
		return err
	}
	use()
	return nil
}

// Read is Reload in two steps: nothing changes until use is called, which cannot
// fail.
func (c *Certificates) Read() (use func(), err error) {
	now, err := c.files.load()
	if err != nil {
		return nil, fmt.Errorf("load certificates: %w", err)
	}
	return func() { c.now.Store(now) }, nil
}

// ServerConfig returns the configuration for a listener; it follows Reload.
func (c *Certificates) ServerConfig() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.now.Load().server, nil },
	}
}

// ClientConfig returns the configuration for a connection to be made now; the
// caller sets ServerName where the peer's certificate names no IP address.
func (c *Certificates) ClientConfig() *tls.Config { return c.now.Load().client.Clone() }

// Expiry returns until when our certificate, or the first of its chain to end,
// is valid; zero when there is none.
func (c *Certificates) Expiry() time.Time { return c.now.Load().expiry }

func (f CertificateFiles) load() (*loaded, error) {
	now := &loaded{
		// Without tickets: a resumed session would not ask the certificates
		// that are valid now, and connections live too long for it to pay.
		server: &tls.Config{MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true},
		client: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if f.Cert != "" || f.Key != "" {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, fmt.Errorf("certificate %s, key %s: %w", f.Cert, f.Key, err)
		}
		if now.expiry, err = expiry(pair); err != nil {
			return nil, fmt.Errorf("certificate %s: %w", f.Cert, err)
		}
		now.server.Certificates = []tls.Certificate{pair}
		now.client.Certificates = now.server.Certificates
	}
	var err error
	if now.server.ClientCAs, err = pool(f.ClientCA); err != nil {
		return nil, err
	}
	if now.client.RootCAs, err = pool(f.ServerCA); err != nil {
		return nil, err
	}
	now.server.ClientAuth, err = f.clientAuth()
	return now, err
}

// clientAuth refuses combinations that would protect less than they seem to.
func (f CertificateFiles) clientAuth() (tls.ClientAuthType, error) {
	switch {
	case f.ClientAuth == ClientAuthNone && f.ClientCA != "":
		return 0, errors.New("a client CA is given, but client certificates are not asked for")
	case f.ClientAuth == ClientAuthNone:
		return tls.NoClientCert, nil
	case f.ClientCA == "":
		return 0, errors.New("client certificates are asked for, but no client CA is given")
	case f.ClientAuth == ClientAuthRequest:
		return tls.VerifyClientCertIfGiven, nil
	case f.ClientAuth == ClientAuthRequire:
		return tls.RequireAndVerifyClientCert, nil
	}
	return 0, fmt.Errorf("unknown client authentication %s", f.ClientAuth)
}

// pool reads a file of CA certificates; no file gives none.
func pool(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificate in it", file)
	}
	return p, nil
}

func expiry(pair tls.Certificate) (time.Time, error) {
	var first time.Time
	for _, der := range pair.Certificate {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return time.Time{}, err
		}
		if first.IsZero() || cert.NotAfter.Before(first) {
			first = cert.NotAfter
		}
	}
	return first, nil
}
