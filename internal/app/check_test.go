package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mrcproxy/config"
)

// certificate writes a certificate that is valid until then, and its key, into a directory.
func certificate(t *testing.T, dir string, until time.Time) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestCheckFiles: what serve would fail at is found before, in every file that a configuration names.
func TestCheckFiles(t *testing.T) {
	c, err := config.Parse("f.yaml", []byte(`
listen: ["udp://127.0.0.1:0"]
secret: a-secret-for-the-test
tls: {cert: /none/cert.pem, key: /none/key.pem}
admin: {web_config: /none/web.yaml}
store: rediss://127.0.0.1/?ca=/none/ca.pem
instances: 2
health: {deep: {method: recognize, audio: /none/hello.wav}}
clusters: [{name: asr, groups: [{backends: [{uri: "sip:127.0.0.1:8060"}]}]}]
`))
	if err != nil {
		t.Fatal(err)
	}
	err = Check(c)
	if err == nil {
		t.Fatal("no fault found")
	}
	lines := strings.Split(err.Error(), "\n")
	for _, want := range [][2]string{{"tls: ", "/none/cert.pem"}, {"admin.web_config: ", "/none/web.yaml"}, {"store: ca: ", "/none/ca.pem"}, {"health.deep.audio: ", "/none/hello.wav"}} {
		found := false
		for _, l := range lines {
			found = found || strings.HasPrefix(l, want[0]) && strings.Contains(l, want[1])
		}
		if !found {
			t.Errorf("no line %q … %q in\n%s", want[0], want[1], err)
		}
	}
}

// TestRefusedReloadKeepsCertificates: a reload that is refused leaves the certificates in use, too.
func TestRefusedReloadKeepsCertificates(t *testing.T) {
	d := newDesk(t)
	d.end()
	now := time.Now().Truncate(time.Second)
	cert, key := certificate(t, d.dir, now.Add(time.Hour))
	text := *d.text.Load() + "tls: {cert: " + cert + ", key: " + key + "}\n"
	d.configure(text)
	d.start()

	certificate(t, d.dir, now.Add(2*time.Hour))
	d.configure(strings.Replace(text, "health: {", "health: {deep: {method: recognize, audio: /none/hello.wav}, ", 1))
	if err := d.app.Reload("test"); err == nil || !strings.Contains(err.Error(), "hello.wav") {
		t.Fatalf("not refused: %v", err)
	}
	if got := d.app.certs.Expiry(); !got.Equal(now.Add(time.Hour)) {
		t.Errorf("the certificate of the refused reload is in use, valid until %s", got)
	}
	d.configure(text)
	if err := d.app.Reload("test"); err != nil {
		t.Fatal(err)
	}
	if got := d.app.certs.Expiry(); !got.Equal(now.Add(2 * time.Hour)) {
		t.Errorf("the certificate of the good reload is not in use, but one valid until %s", got)
	}
}
