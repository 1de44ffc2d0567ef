package test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mrcproxy/internal/clocktest"
)

// binary is the daemon under test, built with the race detector.
var binary string

func TestMain(m *testing.M) {
	if o := os.Getenv(simEnv); o != "" {
		os.Exit(serveSim(o))
	}
	dir, err := os.MkdirTemp("", "mrcproxy-test")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "mrcproxy")
	lock, err := claimNet()
	if err != nil {
		panic(err)
	}
	build := exec.Command("go", "build", "-race", "-o", binary, "mrcproxy/cmd/mrcproxy")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
	code := m.Run()
	_ = lock.Close()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// plain is the daemon without the race detector, which costs memory and time of its own.
var plain = sync.OnceValues(func() (string, error) {
	file := filepath.Join(filepath.Dir(binary), "mrcproxy-plain")
	if out, err := exec.Command("go", "build", "-o", file, "mrcproxy/cmd/mrcproxy").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return file, nil
})

// plain has the lab run the daemon without the race detector.
func (l *lab) plain() {
	l.t.Helper()
	var err error
	if l.binary, err = plain(); err != nil {
		l.t.Fatal(err)
	}
}

// Each run of the tests has a loopback network of its own, 127.netOfRun.0.0/16, so that several may run at once, and each
// test one within it, 127.netOfRun.N.0/24; nets counts those.
var (
	netOfRun int
	nets     atomic.Int32
)

// claimNet chooses netOfRun, which is this run's while the listener is open.
func claimNet() (net.Listener, error) {
	var last error
	for netOfRun = 30; netOfRun < 250; netOfRun++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.%d.255.254:7060", netOfRun))
		if err == nil {
			return l, nil
		}
		last = err
	}
	return nil, last
}

// lab is one test's network and files.
type lab struct {
	t      *testing.T
	net    int32
	dir    string
	binary string // the daemon's
	self   int    // the daemon's host
	hosts  *hosts // the machines, where the network is not the loopback
	clock  *clocktest.Watch
}

func newLab(t *testing.T) *lab {
	t.Helper()
	return &lab{t: t, net: nets.Add(1), dir: t.TempDir(), binary: binary, self: 10, clock: clocktest.Start(t)}
}

// ip is host n of the lab's network. By convention 10 is the daemon, and up where there are several, 5 the client, 21 and up are servers.
func (l *lab) ip(n int) string {
	if l.hosts != nil {
		return hostIP(n)
	}
	return fmt.Sprintf("127.%d.%d.%d", netOfRun, l.net, n)
}

// command is a command line that runs another on host n.
func (l *lab) command(n int, args ...string) []string {
	if l.hosts != nil {
		return l.hosts.command(l.hosts.of(n), args...)
	}
	return args
}

// on runs f where host n is: the sockets that it opens belong there.
func (l *lab) on(n int, f func() error) error {
	if l.hosts != nil {
		return l.hosts.within(l.hosts.of(n), f)
	}
	return f()
}

// web is an HTTP client on host n.
func (l *lab) web(n int) *http.Client {
	if l.hosts != nil {
		return l.hosts.client(l.hosts.of(n))
	}
	return http.DefaultClient
}

// adminAddr is where the daemon's API listens: at the loopback of a machine of its own.
func (l *lab) adminAddr() string {
	if l.hosts != nil {
		return "127.0.0.1:9060"
	}
	return l.ip(l.self) + ":9060"
}

// proxyAddr is where the daemon's SIP listeners are.
func (l *lab) proxyAddr() string { return l.ip(l.self) + ":5060" }

// head is the part of a configuration that every test has: listeners, admin, data directory.
func (l *lab) head() string {
	return fmt.Sprintf("idc: a\nlisten: [\"udp://%[1]s:5060\", \"tcp://%[1]s:5060\"]\nadmin: {listen: %[2]q}\ndata_dir: %[3]s\n", l.ip(l.self), l.adminAddr(), l.dir)
}

// daemon is a running mrcproxy.
type daemon struct {
	*process
	lab  *lab
	file string
	log  string

	env   []string   // beside the test's own
	files []*os.File // passed as a service manager does (sd_listen_fds(3))
}

// process is one run of it.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // when done is closed
}

// start writes the configuration and runs the daemon, until it is ready.
func (l *lab) start(yaml string) *daemon {
	l.t.Helper()
	d := l.prepare()
	d.write(yaml)
	d.run()
	return d
}

// prepare is start without a configuration, and without running it.
func (l *lab) prepare() *daemon {
	d := &daemon{lab: l, file: filepath.Join(l.dir, "mrcproxy.yaml"), log: filepath.Join(l.dir, "log")}
	l.t.Cleanup(func() {
		if d.process != nil {
			d.kill(syscall.SIGKILL)
		}
		if l.t.Failed() {
			if b, err := os.ReadFile(d.log); err == nil {
				l.t.Logf("log of the daemon:\n%s", tail(b, 8000))
			}
		}
	})
	return d
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

func (d *daemon) write(yaml string) {
	d.lab.t.Helper()
	if err := os.WriteFile(d.file, []byte(yaml), 0o600); err != nil {
		d.lab.t.Fatal(err)
	}
}

// config is the configuration as last written.
func (d *daemon) config() string {
	b, _ := os.ReadFile(d.file)
	return string(b)
}

// run starts the process again, after kill, with further arguments if there are any.
func (d *daemon) run(args ...string) {
	t := d.lab.t
	t.Helper()
	out, err := os.OpenFile(d.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	command := d.lab.command(d.lab.self, append([]string{d.lab.binary, "serve", "-c", d.file}, args...)...)
	env := append(os.Environ(), d.env...)
	if len(d.files) > 0 {
		command = append([]string{"/bin/sh", "-c", `export LISTEN_PID=$$; exec "$0" "$@"`}, command...)
		env = append(env, fmt.Sprintf("LISTEN_FDS=%d", len(d.files)))
	}
	d.process = &process{cmd: exec.Command(command[0], command[1:]...), done: make(chan struct{})}
	d.cmd.Env, d.cmd.ExtraFiles = env, d.files
	d.cmd.Stdout, d.cmd.Stderr = out, out
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func(p *process) {
		p.err = p.cmd.Wait()
		close(p.done)
	}(d.process)
	d.await("the daemon answers", 15*time.Second, func() bool {
		select {
		case <-d.done:
			b, _ := os.ReadFile(d.log)
			t.Fatalf("the daemon ended: %v\n%s", d.err, tail(b, 4000))
		default:
		}
		code, _ := d.get("/-/healthy")
		return code == 200
	})
}

// kill ends the process with a signal and waits for it.
func (p *process) kill(sig syscall.Signal) {
	_ = p.cmd.Process.Signal(sig)
	<-p.done
}

func (d *daemon) url(path string) string { return "http://" + d.lab.adminAddr() + path }

func (d *daemon) get(path string) (int, string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, d.url(path), nil)
	return do(d.lab.web(d.lab.self), req)
}

func (d *daemon) post(path string) (int, string) {
	req, _ := http.NewRequest(http.MethodPost, d.url(path), nil)
	return do(d.lab.web(d.lab.self), req)
}

func do(c *http.Client, req *http.Request) (int, string) {
	resp, err := c.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// metrics is a scrape: the series as written, with its value.
func (d *daemon) metrics() map[string]float64 {
	_, text := d.get("/metrics")
	return parseMetrics(strings.NewReader(text))
}

func parseMetrics(text io.Reader) map[string]float64 {
	m := map[string]float64{}
	s := bufio.NewScanner(text)
	for s.Scan() {
		if i := strings.LastIndexByte(s.Text(), ' '); i > 0 && s.Text()[0] != '#' {
			if v, err := strconv.ParseFloat(s.Text()[i+1:], 64); err == nil {
				m[s.Text()[:i]] = v
			}
		}
	}
	return m
}

// sum adds up the series of a metric whose text contains every one of the parts.
func sum(m map[string]float64, name string, parts ...string) float64 {
	total := 0.0
next:
	for k, v := range m {
		if k != name && !strings.HasPrefix(k, name+"{") {
			continue
		}
		for _, p := range parts {
			if !strings.Contains(k, p) {
				continue next
			}
		}
		total += v
	}
	return total
}

// up is the number of backends that are up.
func (d *daemon) up() int { return int(sum(d.metrics(), "mrcproxy_backend_up")) }

// logged reports whether the log has a line with all the parts.
func (d *daemon) logged(parts ...string) bool {
	b, _ := os.ReadFile(d.log)
next:
	for _, line := range bytes.Split(b, []byte("\n")) {
		for _, p := range parts {
			if !bytes.Contains(line, []byte(p)) {
				continue next
			}
		}
		return true
	}
	return false
}

// await polls a condition that only the daemon's outside shows. It fails the test when the time is up.
func (d *daemon) await(what string, limit time.Duration, ok func() bool) {
	d.lab.t.Helper()
	await(d.lab.t, what, limit, ok)
}

// await polls a condition. It fails the test when that was not so within the limit, without the time that the machine is late.
func await(t *testing.T, what string, limit time.Duration, ok func() bool) {
	t.Helper()
	const pace = 20 * time.Millisecond
	for end := time.Now().Add(limit); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
		next := time.Now().Add(pace)
		<-time.After(pace)
		end = end.Add(time.Since(next))
	}
}

// udp is a plain socket, for messages that no well-behaved peer sends.
func (l *lab) udp(n int) *net.UDPConn {
	l.t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(l.ip(n))})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = c.Close() })
	return c
}

// logText is the log so far.
func (d *daemon) logText() []byte {
	b, _ := os.ReadFile(d.log)
	return b
}
