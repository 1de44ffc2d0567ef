package test

import (
	"encoding/csv"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// figures are the last line of a SIPp statistics file, by column.
type figures map[string]string

func (f figures) int(k string) int {
	n, _ := strconv.Atoi(f[k])
	return n
}

func readFigures(t *testing.T, file string) figures {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := csv.NewReader(strings.NewReader(string(b)))
	r.Comma, r.FieldsPerRecord = ';', -1
	rows, err := r.ReadAll()
	if err != nil || len(rows) < 2 {
		t.Fatalf("%s: %d rows, %v", file, len(rows), err)
	}
	f := figures{}
	for i, k := range rows[0] {
		if last := rows[len(rows)-1]; i < len(last) {
			f[k] = last[i]
		}
	}
	return f
}

// sippServer is a SIPp that plays an MRCP server at port 8060 of its address.
type sippServer struct {
	lab  *lab
	cmd  *exec.Cmd
	stat string
}

var sippTransport = map[string]string{"udp": "u1", "tcp": "t1"}

// sippServer starts host n as a server that runs a scenario of test/sipp.
func (l *lab) sippServer(n int, network, scenario string, extra ...string) *sippServer {
	l.t.Helper()
	s := &sippServer{lab: l, stat: filepath.Join(l.dir, fmt.Sprintf("uas-%d.csv", n))}
	s.cmd = l.sipp(append([]string{"-sf", scen(l.t, scenario), "-i", l.ip(n), "-p", "8060", "-t", sippTransport[network], "-key", "mrcp_port", "1544",
		"-stf", s.stat, "-deadcall_wait", "2000", "-max_socket", "2000"}, extra...)...)
	if err := s.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(s.stop)
	addr := l.ip(n) + ":8060"
	await(l.t, "SIPp listens at "+addr, 5*time.Second, func() bool {
		if network == "tcp" {
			c, err := net.Dial("tcp", addr)
			if err == nil {
				_ = c.Close()
			}
			return err == nil
		}
		c, err := net.ListenPacket("udp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	return s
}

func (s *sippServer) stop() {
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	}
}

// counter is a GenericCounter of the scenario, which SIPp writes once a second: in uas_mrcp.xml 1 counts INVITEs, 2 OPTIONS,
// 3 BYEs, 4 ACKs in time.
func (s *sippServer) counter(n int) int {
	return readFigures(s.lab.t, s.stat).int(fmt.Sprintf("GenericCounter%d(C)", n))
}

// clientRun is a SIPp client that plays FreeSWITCH.
type clientRun struct {
	network  string
	rate     int
	calls    int
	hold     time.Duration
	scenario string // uac_mrcp.xml when empty
	ua       string // ASR_MRCP_CLIENT_FS_BAIDU when empty
	to       string // the daemon when empty
	extra    []string
}

// sippClient runs host 5 as the client, from one socket, to its end.
func (l *lab) sippClient(r clientRun) figures {
	l.t.Helper()
	return l.startClient(r)()
}

// startClient starts such a client; the function waits for its end.
func (l *lab) startClient(r clientRun) func() figures {
	l.t.Helper()
	stat := filepath.Join(l.dir, fmt.Sprintf("uac-%d.csv", time.Now().UnixNano()))
	if r.scenario == "" {
		r.scenario = "uac_mrcp.xml"
	}
	if r.ua == "" {
		r.ua = "ASR_MRCP_CLIENT_FS_BAIDU"
	}
	if r.to == "" {
		r.to = l.proxyAddr()
	}
	c := l.sipp(append([]string{"-sf", scen(l.t, r.scenario), r.to, "-i", l.ip(5), "-p", "5070", "-t", sippTransport[r.network], "-r", strconv.Itoa(r.rate),
		"-m", strconv.Itoa(r.calls), "-d", strconv.Itoa(int(r.hold.Milliseconds())), "-l", "100000", "-key", "ua", r.ua, "-key", "resource", "speechrecog",
		"-stf", stat, "-deadcall_wait", "0", "-trace_err", "-error_file", stat + ".err", "-timeout", "120s"}, r.extra...)...)
	if err := c.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = c.Process.Kill() }) // no effect on one that has ended
	return func() figures {
		l.t.Helper()
		_ = c.Wait() // its exit status says that a call failed, which the figures say better
		f := readFigures(l.t, stat)
		if b, err := os.ReadFile(stat + ".err"); err == nil && f.int("FailedCall(C)") > 0 {
			l.t.Logf("SIPp: %.3000s", b)
		}
		return f
	}
}

func (l *lab) sipp(args ...string) *exec.Cmd {
	l.t.Helper()
	path, err := exec.LookPath("sipp")
	if err != nil {
		l.t.Fatal("sipp is not installed: `make deps` installs it (Debian package sip-tester)")
	}
	c := exec.Command(path, append(args, "-nostdin", "-trace_stat", "-fd", "1", "-buff_size", "4000000")...)
	c.Dir = l.dir
	return c
}

// scen is the path of a scenario: one of test/sipp, or a file elsewhere.
func scen(t *testing.T, name string) string {
	t.Helper()
	if filepath.IsAbs(name) {
		return name
	}
	p, err := filepath.Abs(filepath.Join("sipp", name))
	if err != nil {
		t.Fatal(err)
	}
	return p
}
