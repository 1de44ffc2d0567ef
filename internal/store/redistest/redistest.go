// Package redistest runs a Redis server of its own for a test, on a free port of the loopback, and lets it fail in the ways
// that a Redis fails. It keeps nothing on disk.
package redistest

import (
	"context"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Machine is where a server runs, other than on the loopback.
type Machine struct {
	Addr    netip.AddrPort                                                    // that it listens at
	Command func(args ...string) []string                                     // the command line that runs another there
	Dial    func(ctx context.Context, network, addr string) (net.Conn, error) // from there
}

// Server is a running redis-server.
type Server struct {
	t       testing.TB
	args    []string
	machine Machine
	cmd     *exec.Cmd
	// Client talks to it beside the code under test.
	Client *redis.Client
}

// Start runs a server until the test ends; args are more of its options. Without redis-server the test fails: make deps
// installs it.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr).AddrPort()
	_ = l.Close()
	here := func(args ...string) []string { return args }
	return StartOn(t, Machine{Addr: addr, Command: here, Dial: new(net.Dialer).DialContext}, args...)
}

// StartOn is Start on a machine that the test has made.
func StartOn(t testing.TB, m Machine, args ...string) *Server {
	t.Helper()
	s := &Server{t: t, machine: m}
	s.args = m.Command(append([]string{"redis-server", "--port", strconv.Itoa(int(m.Addr.Port())), "--bind", m.Addr.Addr().String(), "--protected-mode", "no",
		"--save", "", "--appendonly", "no", "--dir", t.TempDir()}, args...)...)
	s.Client = redis.NewClient(&redis.Options{Addr: s.Addr(), Dialer: m.Dial, DialerRetries: 1, DisableIdentity: true, Protocol: 2})
	t.Cleanup(func() {
		_ = s.Client.Close()
		s.Kill()
	})
	s.Run()
	return s
}

// Addr is host:port.
func (s *Server) Addr() string { return s.machine.Addr.String() }

// Run starts the process again, empty, after Kill.
func (s *Server) Run() {
	s.t.Helper()
	s.cmd = exec.Command(s.args[0], s.args[1:]...)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatalf("redis-server, of the Debian package of that name: %v", err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); ; <-tick.C {
		c, err := s.machine.Dial(context.Background(), "tcp", s.Addr())
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("redis-server does not listen: %v", err)
		}
	}
}

// Kill ends the process at once.
func (s *Server) Kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(syscall.SIGCONT)
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// Pause has it stand still, connections open, until Resume.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume lets it go on with what it was sent meanwhile.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// Flush takes all its data away.
func (s *Server) Flush() {
	s.t.Helper()
	if err := s.Client.FlushAll(context.Background()).Err(); err != nil {
		s.t.Fatal(err)
	}
}

// Size is how many members a set has.
func (s *Server) Size(key string) int {
	s.t.Helper()
	n, err := s.Client.ZCard(context.Background(), key).Result()
	if err != nil {
		s.t.Fatal(err)
	}
	return int(n)
}

// Busy is how long it has worked on a command, all calls together.
func (s *Server) Busy(command string) time.Duration {
	s.t.Helper()
	text, err := s.Client.Info(context.Background(), "commandstats").Result()
	if err != nil {
		s.t.Fatal(err)
	}
	_, text, _ = strings.Cut(text, "cmdstat_"+command+":")
	_, text, _ = strings.Cut(text, "usec=")
	text, _, _ = strings.Cut(text, ",")
	n, _ := strconv.ParseInt(text, 10, 64)
	return time.Duration(n) * time.Microsecond
}
