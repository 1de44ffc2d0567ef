package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a command that leads a session of its own, so that its children can be told from all others.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func start(cmd *exec.Cmd, log string) (*process, error) {
	f, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() { _ = cmd.Wait(); close(p.done) }()
	return p, nil
}

// end stops it with TERM, and all of its session with KILL if it has not ended 5 s later.
func (p *process) end() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
	}
	for _, pid := range p.members() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	<-p.done
}

// members are the living processes of the session.
func (p *process) members() []int {
	var l []int
	names, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range names {
		if f := statFields(name); len(f) > 3 && f[0] != "Z" && f[3] == strconv.Itoa(p.cmd.Process.Pid) {
			pid, _ := strconv.Atoi(strings.Split(name, "/")[2])
			l = append(l, pid)
		}
	}
	return l
}

// statFields are those of proc(5) from the state on; nil when the process is gone.
func statFields(name string) []string {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	return strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
}

// cpu is the time that all threads of the session have run for, by the scheduler's account in nanoseconds. A thread that has
// ended counts no more, which threads of these programs do not do under load.
func (p *process) cpu() time.Duration {
	var sum time.Duration
	for _, pid := range p.members() {
		names, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		for _, name := range names {
			b, _ := os.ReadFile(name)
			if f := strings.Fields(string(b)); len(f) > 0 {
				ns, _ := strconv.ParseInt(f[0], 10, 64)
				sum += time.Duration(ns)
			}
		}
	}
	return sum
}

// pss is the proportional set size of the session in bytes: memory that n processes share counts once.
func (p *process) pss() int {
	var sum int
	for _, pid := range p.members() {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
			if f := strings.Fields(s.Text()); len(f) > 1 && f[0] == "Pss:" {
				kb, _ := strconv.Atoi(f[1])
				sum += kb << 10
			}
		}
	}
	return sum
}
