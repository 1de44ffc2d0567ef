package test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

// sipsak runs it on host 5: its exit status, 0 when it was answered 200, and all that it wrote.
func (l *lab) sipsak(args ...string) (code int, out string) {
	l.t.Helper()
	path, err := exec.LookPath("sipsak")
	if err != nil {
		l.t.Fatal("sipsak is not installed: `make deps` installs it (Debian package sipsak)")
	}
	ctx, cancel := context.WithTimeout(l.t.Context(), 20*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, path, append([]string{"-k", l.ip(5)}, args...)...)
	c.Dir = l.dir
	b, err := c.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		l.t.Fatalf("sipsak %v: %v", args, err)
	}
	return c.ProcessState.ExitCode(), string(b)
}

// invite writes an INVITE for sipsak to send, which may take so many hops. Its Via sipsak makes.
func (l *lab) invite(hops int) string {
	l.t.Helper()
	body := offer("speechrecog")
	text := fmt.Sprintf("INVITE sip:asr@%s SIP/2.0\r\nMax-Forwards: %d\r\nFrom: <sip:sipsak@%s>;tag=sak\r\nTo: <sip:asr@%[1]s>\r\nCall-ID: sak-%[4]d\r\nCSeq: 1 INVITE\r\n"+
		"Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", l.proxyAddr(), hops, l.ip(5), rawSerial.Add(1), len(body), body)
	file := filepath.Join(l.dir, fmt.Sprintf("invite-%d.sip", rawSerial.Add(1)))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return file
}

// TestSipsak: pings by UDP, TCP and TLS, also of a cluster; how far a request comes with few hops; a flood of pings.
func TestSipsak(t *testing.T) {
	l := newLab(t)
	l.simServer(21, sim.ServerOptions{}).SetFault(sim.Refuse(406, 0)) // sipsak sends no BYE: a failure shows as well how far it came
	l.kamailio(kamailioHost, nextHops{udp: l.proxyAddr(), tcp: l.proxyAddr()})
	ca := newAuthority(t)
	d := l.start(patient(strings.Replace(l.cluster(l.group("a", l.uri(21, "udp"))), l.head(), ca.secure(l, ""), 1)))
	d.await("the server is up", 10*time.Second, func() bool { return d.up() == 1 })
	secure := []string{"-v", "-E", "tls", "--tls-ca-cert=" + ca.file, "-s", "sip:" + l.ip(10) + ":5061"}
	proxy, over := "sip:"+l.proxyAddr(), "sip:"+l.ip(kamailioHost)+":5060"
	stopped := 0
	for _, c := range []struct {
		args []string
		exit int
		says string
		here int // requests that Max-Forwards stops at the daemon
	}{
		{[]string{"-v", "-s", proxy}, 0, "SIP/2.0 200 OK", 0},
		{[]string{"-v", "-E", "tcp", "-s", proxy}, 0, "SIP/2.0 200 OK", 0},
		{secure, 0, "SIP/2.0 200 OK", 0},
		{[]string{"-v", "-s", "sip:asr@" + l.proxyAddr()}, 0, "SIP/2.0 200 OK", 0},
		{[]string{"-v", "-s", "sip:nobody@" + l.proxyAddr()}, 1, "SIP/2.0 503 ", 0},
		// OPTIONS that may go no further is answered by whom it has reached (RFC 3261 16.3 step 3): a traceroute ends here.
		{[]string{"-v", "-m", "0", "-s", proxy}, 0, "SIP/2.0 200 OK", 0},
		{[]string{"-vv", "-T", "-s", "sip:asr@" + l.proxyAddr()}, 0, `0: .*SIP/2.0 200 OK`, 0},
		{[]string{"-v", "-f", l.invite(0), "-s", proxy}, 1, "SIP/2.0 483 ", 2}, // and its ACK
		{[]string{"-v", "-f", l.invite(1), "-s", proxy}, 1, "SIP/2.0 406 ", 0},
		{[]string{"-v", "-f", l.invite(0), "-s", over}, 1, "SIP/2.0 483 ", 0},
		{[]string{"-v", "-f", l.invite(1), "-s", over}, 1, "SIP/2.0 483 ", 2},
		{[]string{"-v", "-f", l.invite(2), "-s", over}, 1, "SIP/2.0 406 ", 0},
	} {
		code, out := l.sipsak(c.args...)
		if code != c.exit || !regexp.MustCompile(c.says).MatchString(out) {
			t.Errorf("sipsak %v: exit status %d, want %d and %q in\n%s", c.args, code, c.exit, c.says, out)
		}
		stopped += c.here
		if n := sum(d.metrics(), "mrcproxy_dropped_total", `reason="max_forwards"`); int(n) != stopped {
			t.Errorf("sipsak %v: Max-Forwards has stopped %v requests here, want %d", c.args, n, stopped)
		}
	}
	d.flooded()
}

// flooded lets sipsak send pings as fast as it can, without waiting for answers, as many as a receive buffer holds: all are
// answered, though nobody listens for that any more.
func (d *daemon) flooded() {
	const pings, received, sent = 3000, "mrcproxy_transport_datagrams_received_total", "mrcproxy_transport_datagrams_sent_total"
	d.lab.t.Helper()
	before := d.metrics()
	if code, out := d.lab.sipsak("-F", "-e", strconv.Itoa(pings), "-s", "sip:"+d.lab.proxyAddr()); code != 0 || !strings.Contains(out, "flood end reached") {
		d.lab.t.Errorf("the flood: exit status %d\n%s", code, out)
	}
	d.await("the pings are answered", 10*time.Second, func() bool {
		m := d.metrics()
		return m[received]-before[received] >= pings && m[sent]-before[sent] >= pings
	})
	d.await("the server is up, by the answers to our own pings", 10*time.Second, func() bool { return d.up() == 1 })
	if code, out := d.lab.sipsak("-v", "-s", "sip:"+d.lab.proxyAddr()); code != 0 {
		d.lab.t.Errorf("a ping after the flood: exit status %d\n%s", code, out)
	}
}
