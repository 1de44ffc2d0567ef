package test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

// manager is the socket that a service's notices go to (sd_notify(3)).
type manager struct {
	t    *testing.T
	conn *net.UnixConn
	path string
}

func newManager(l *lab) *manager {
	l.t.Helper()
	m := &manager{t: l.t, path: filepath.Join(l.dir, "notify")}
	var err error
	if m.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: m.path}); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = m.conn.Close() })
	return m
}

// next is the next notice that begins as given; what comes before it is passed over.
func (m *manager) next(prefix string) string {
	m.t.Helper()
	_ = m.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	b := make([]byte, 1000)
	for {
		n, err := m.conn.Read(b)
		if err != nil {
			m.t.Fatalf("no %s: %v", prefix, err)
		}
		if text := string(b[:n]); strings.HasPrefix(text, prefix) {
			return text[len(prefix):]
		}
	}
}

// SIGUSR2 runs what is at the binary's path to take over, and the service manager is told of each step. A new process that
// cannot start changes nothing.
func TestUpgradeBySignal(t *testing.T) {
	l := newLab(t)
	s := l.simServer(21, sim.ServerOptions{})
	m := newManager(l)
	d := l.prepare()
	d.env = []string{"NOTIFY_SOCKET=" + m.path, "WATCHDOG_USEC=1000000"}
	yaml := l.cluster(l.group("a", l.uri(21, "udp")))
	d.write(yaml)
	d.run("--takeover") // from nobody: as in a unit file
	m.next("READY=1")
	m.next("WATCHDOG=1")
	d.await("the log says that there is no predecessor", 5*time.Second, func() bool { return d.logged("no process to take over from") })
	held := l.hold(l.simClient(sim.ClientOptions{}), 10, s)

	if code, _ := d.post("/-/reload"); code != 200 {
		t.Errorf("reload: %d", code)
	}
	m.next("RELOADING=1\nMONOTONIC_USEC=")
	m.next("READY=1")

	second := exec.Command(l.binary, "serve", "-c", d.file)
	if out, err := second.CombinedOutput(); err == nil || !bytes.Contains(out, []byte("address already in use")) {
		t.Errorf("a second daemon without --takeover: %v\n%s", err, out)
	}

	d.write("nonsense: true\n")
	_ = d.cmd.Process.Signal(syscall.SIGUSR2)
	d.await("the new process has ended", 10*time.Second, func() bool { return d.logged("upgrade: the new process has ended") })
	d.write(yaml)
	if code, _ := d.get("/-/healthy"); code != 200 {
		t.Fatalf("after a failed upgrade: %d", code)
	}

	_ = d.cmd.Process.Signal(syscall.SIGUSR2)
	pid, err := strconv.Atoi(m.next("MAINPID="))
	if err != nil || pid == d.cmd.Process.Pid {
		t.Fatalf("MAINPID=%d, %v", pid, err)
	}
	successor, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = successor.Signal(syscall.SIGKILL) })
	mustEnd(t, []*process{d.process})
	mustSucceed(t, held.end())
	_ = successor.Signal(syscall.SIGTERM)
	m.next("STOPPING=1")
	d.await("the successor has ended", 10*time.Second, func() bool { return bytes.Count(d.logText(), []byte(`"stopped"`)) == 2 })
}

// Sockets that the service manager holds: a restart drops no connection attempt and no datagram, since what arrives while
// nobody is there waits in them. An INVITE that comes while the old process ends is left to be sent again.
func TestSocketActivation(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.simServer(21, sim.ServerOptions{})
	d := l.prepare()
	sip := netip.MustParseAddrPort(l.proxyAddr())
	u, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(sip))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp4", l.ip(10)+":9060")
	if err != nil {
		t.Fatal(err)
	}
	stray, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(sip.Addr(), 5999)))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []interface{ File() (*os.File, error) }{u, ln.(*net.TCPListener), stray} {
		f, err := c.File()
		if err != nil {
			t.Fatal(err)
		}
		d.files = append(d.files, f)
		defer f.Close()
	}
	_, _, _ = u.Close(), ln.Close(), stray.Close() // the files are what is left, as in the manager
	d.env = []string{"LISTEN_FDNAMES=sip:admin:stray"}
	d.write(patient(l.cluster(l.group("a", l.uri(21, "udp")))))
	d.run()
	d.await("the log says of the socket that nobody wants", 5*time.Second, func() bool {
		return d.logged("inherited socket matches no listener", fmt.Sprintf("stray (udp://%s:5999)", l.ip(10)))
	})
	d.await("the log says of the listener without a socket", 5*time.Second, func() bool {
		return d.logged("no inherited socket for this listener", "tcp://"+l.proxyAddr())
	})
	g := l.load(l.simClient(sim.ClientOptions{}), 50, 200*time.Millisecond)
	for n := range 3 {
		g.runFor(30*(n+1), 30*time.Second)
		d.kill(syscall.SIGTERM)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond) // nobody is there, for longer than a start takes
		<-ctx.Done()
		cancel()
		d.run()
	}
	g.runFor(150, 30*time.Second)
	all := g.end()
	mustSucceed(t, all)
	t.Logf("%d sessions through 3 restarts: setup %v", len(all), setups(all))
	if n := s.Sessions(); n != 0 {
		t.Errorf("%d sessions are left at the server", n)
	}
}
