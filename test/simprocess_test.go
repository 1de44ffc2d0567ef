package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"time"

	"mrcproxy/internal/sim"
)

// simEnv tells the test's binary to be a simulated server, with these options.
const simEnv = "MRCPROXY_TEST_SIM"

// serveSim is that server, until its standard input ends: with the test. It serves its counts at port 9070.
func serveSim(options string) (code int) {
	var o sim.ServerOptions
	if err := json.Unmarshal([]byte(options), &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	s, err := sim.StartServer(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	counts := netip.AddrPortFrom(o.Addr.Addr(), 9070).String()
	go func() {
		fmt.Fprintln(os.Stderr, http.ListenAndServe(counts, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(s.Stats())
		})))
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
	s.Stop()
	return 0
}

// simProcess is a simulated server as a process of its own, on host n: it can be killed, and made to stand still.
type simProcess struct {
	*process
	lab *lab
	n   int
	env string
}

// simProcess starts one at port 8060.
func (l *lab) simProcess(n int, o sim.ServerOptions) *simProcess {
	l.t.Helper()
	o.Addr = netip.AddrPortFrom(netip.MustParseAddr(l.ip(n)), 8060)
	b, err := json.Marshal(o)
	if err != nil {
		l.t.Fatal(err)
	}
	s := &simProcess{lab: l, n: n, env: simEnv + "=" + string(b)}
	l.t.Cleanup(func() {
		if s.process != nil {
			s.kill(syscall.SIGKILL)
		}
	})
	s.run()
	return s
}

// run starts it again after kill, without the sessions that it had.
func (s *simProcess) run() {
	t := s.lab.t
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := s.lab.command(s.n, self)
	c := exec.Command(args[0], args[1:]...)
	c.Env = append(os.Environ(), s.env)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	s.process = &process{cmd: c, done: make(chan struct{})}
	go func(p *process) {
		p.err = p.cmd.Wait()
		_ = in.Close() // it was open for as long as the test wanted the server
		close(p.done)
	}(s.process)
	await(t, "the simulated server runs", 10*time.Second, func() bool {
		_, err := s.stats()
		return err == nil
	})
}

// stats are its counts since run.
func (s *simProcess) stats() (st sim.ServerStats, err error) {
	resp, err := s.lab.web(s.n).Get("http://" + s.lab.ip(s.n) + ":9070/")
	if err != nil {
		return st, err
	}
	defer resp.Body.Close()
	return st, json.NewDecoder(resp.Body).Decode(&st)
}

// sessions are those that it has.
func (s *simProcess) sessions() int {
	s.lab.t.Helper()
	st, err := s.stats()
	if err != nil {
		s.lab.t.Fatalf("server %d does not tell its sessions: %v", s.n, err)
	}
	return st.Sessions
}
