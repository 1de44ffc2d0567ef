package test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

// openssl has `openssl s_client`, with more arguments, connect to the daemon's TLS listener, trust the authority alone, and send
// a ping. It gives the answer, and what openssl says of the handshake.
func (l *lab) openssl(ca *authority, args ...string) string {
	l.t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		l.t.Fatal("openssl is not installed: `make deps` installs it (Debian package openssl)")
	}
	ctx, cancel := context.WithTimeout(l.t.Context(), 20*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, path, append([]string{"s_client", "-connect", l.ip(10) + ":5061", "-CAfile", ca.file,
		"-verify_ip", l.ip(10), "-verify_return_error", "-quiet"}, args...)...)
	c.Stdin = strings.NewReader(fmt.Sprintf("OPTIONS sip:%[1]s SIP/2.0\r\nVia: SIP/2.0/TLS %[1]s;branch=z9hG4bKssl%[2]d\r\nFrom: <sip:ssl@%[1]s>;tag=1\r\n"+
		"To: <sip:ssl@%[1]s>\r\nCall-ID: ssl-%[2]d\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", l.ip(5), rawSerial.Add(1)))
	out, err := os.Create(filepath.Join(l.dir, fmt.Sprintf("openssl-%d.log", rawSerial.Add(1))))
	if err != nil {
		l.t.Fatal(err)
	}
	defer out.Close()
	c.Stdout, c.Stderr = out, out
	if err := c.Start(); err != nil {
		l.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		_ = c.Wait()
		close(done)
	}()
	read := func() string {
		b, _ := os.ReadFile(out.Name())
		return string(b)
	}
	await(l.t, "openssl has an answer, or ends", 15*time.Second, func() bool {
		select {
		case <-done:
			return true
		default:
			return strings.Contains(read(), "Content-Length: 0\r\n\r\n")
		}
	})
	cancel()
	<-done
	return read()
}

// TestOpenSSL: OpenSSL's client connects with TLS 1.2 and 1.3 and not with less, sees the certificate that a renewal brought
// and verifies it, and is refused without one of its own where that is required.
func TestOpenSSL(t *testing.T) {
	l := newLab(t)
	ca, stranger := newAuthority(t), newAuthority(t)
	l.simServer(21, sim.ServerOptions{})
	text := func(more string) string {
		return patient(strings.Replace(l.cluster(l.group("a", l.uri(21, "udp"))), l.head(), ca.secure(l, more), 1))
	}
	d := l.start(text(""))
	d.await("the server is up", 10*time.Second, func() bool { return d.up() == 1 })
	check := func(what string, good bool, says string, args ...string) {
		t.Helper()
		out := l.openssl(ca, args...)
		if good != strings.Contains(out, "SIP/2.0 200 OK\r\n") || !strings.Contains(out, says) {
			t.Errorf("%s: want %v and %q:\n%s", what, good, says, out)
		}
	}
	check("TLS 1.3", true, "", "-tls1_3")
	check("TLS 1.2", true, "", "-tls1_2")
	check("TLS 1.1", false, "alert protocol version", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")

	cert, key := filepath.Join(l.dir, "tls.crt"), filepath.Join(l.dir, "tls.key")
	stranger.issue(cert, key, l.ip(10))
	if code, text := d.post("/-/reload"); code != 200 {
		t.Fatalf("reload: %d %s", code, text)
	}
	check("a certificate that another authority issued", false, "certificate verify failed")

	d.write(text(", client_auth: require, client_ca: " + ca.file)) // this renews the certificate too
	d.kill(syscall.SIGTERM)
	d.run()
	check("no certificate of its own", false, "certificate required")
	check("one of its own", true, "", "-cert", cert, "-key", key)
	stranger.issue(filepath.Join(l.dir, "other.crt"), filepath.Join(l.dir, "other.key"), l.ip(5))
	check("one of another authority", false, "alert", "-cert", filepath.Join(l.dir, "other.crt"), "-key", filepath.Join(l.dir, "other.key"))
}
