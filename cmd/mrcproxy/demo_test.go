package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// screen is a stream that says when a text has come.
type screen struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	want string
	come chan struct{}
}

func newScreen(want string) *screen { return &screen{want: want, come: make(chan struct{})} }

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf.Write(b)
	if s.want != "" && strings.Contains(s.buf.String(), s.want) {
		s.want = ""
		close(s.come)
	}
	return len(b), nil
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// runCommand runs mrcproxy in this process, with a folder of its own for temporary files.
func runCommand(ctx context.Context, t *testing.T, human *screen, args ...string) (stdout string, err error) {
	t.Helper()
	c := root()
	var out bytes.Buffer
	c.SetArgs(args)
	c.SetOut(&out)
	c.SetErr(human)
	err = c.ExecuteContext(ctx)
	return out.String(), err
}

func decode(t *testing.T, text string) *summary {
	t.Helper()
	var s summary
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return &s
}

// notStalled skips the test where the machine was so busy that timeouts prove nothing.
func notStalled(t *testing.T, s *summary) {
	t.Helper()
	if s.Stall >= stallLimit {
		t.Skipf("nothing ran for %.0f ms: the machine is too busy", s.Stall)
	}
}

func TestDemo(t *testing.T) {
	defer goleak.VerifyNone(t)
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	human := newScreen("")
	out, err := runCommand(t.Context(), t, human, "demo", "--for", "5s", "-o", "json", "--kill-every", "1500ms", "--rate", "40")
	s := decode(t, out)
	notStalled(t, s)
	if err != nil {
		t.Errorf("%v\n%s\n%s", err, out, human)
	}
	if s.Started < 150 || s.OK != s.Started || s.Failed != 0 || s.Left != 0 || s.Duration < 4.5 || s.Duration > 8 {
		t.Errorf("%+v", s)
	}
	// One killed, one silent, two killed.
	if s.Kills != 4 || s.Failovers == 0 || s.Lost == 0 {
		t.Errorf("%d kills, %d failovers, %d sessions lost", s.Kills, s.Failovers, s.Lost)
	}
	if s.Setup.P50 <= 0 || s.Setup.P99 < s.Setup.P50 || s.Setup.Max < s.Setup.P99 || s.Setup.Max > 5000 {
		t.Errorf("setup %+v", s.Setup)
	}
	var sessions int
	var over uint64
	seen := map[string]int{}
	for uri, b := range s.PerBackend {
		seen[b.Cluster+" "+b.IDC]++
		if !strings.HasPrefix(uri, "sip:127.0.0.1:") || b.Capacity != 40 || uint64(b.Sessions)+b.FailedOver > b.Picked {
			t.Errorf("%s: %+v", uri, b)
		}
		sessions += b.Sessions
		over += b.FailedOver
	}
	if sessions != s.OK || over < s.Failovers {
		t.Errorf("%d sessions and %d given up at servers, %+v", sessions, over, s)
	}
	if fmt.Sprint(seen) != "map[asr sh-a:2 asr sh-b:2 tts sh-a:2 tts sh-b:2]" {
		t.Errorf("servers: %v", seen)
	}
	for _, text := range []string{"/metrics\n", "/api/v1/status\n", " is killed\n", " is silent\n", " runs again\n", "asr has no server left in sh-a",
		" is down (", "CLUSTER", "0 failed.\n"} {
		if !strings.Contains(human.String(), text) {
			t.Errorf("%q is not in:\n%s", text, human)
		}
	}
	if left, _ := os.ReadDir(tmp); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestDemoInterrupted ends a demo as Ctrl-C does, and looks at its ports while it runs.
func TestDemoInterrupted(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Setenv("TMPDIR", t.TempDir())
	base := freePorts(t)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	human := newScreen(" is silent\n") // the second that is broken
	type result struct {
		out string
		err error
	}
	done := make(chan result, 1)
	go func() {
		out, err := runCommand(ctx, t, human, "demo", "-o", "json", "--base-port", strconv.Itoa(base), "--kill-every", "300ms")
		done <- result{out, err}
	}()
	select {
	case <-human.come:
	case r := <-done:
		t.Fatalf("ended by itself: %v\n%s%s", r.err, human, r.out)
	}
	for _, text := range []string{fmt.Sprintf("udp 127.0.0.1:%d, tcp 127.0.0.1:%[1]d\n", base), fmt.Sprintf("http://127.0.0.1:%d/metrics\n", base+1)} {
		if !strings.Contains(human.String(), text) {
			t.Errorf("%q is not in:\n%s", text, human)
		}
	}
	start := time.Now()
	interrupt()
	r := <-done
	took := time.Since(start)
	s := decode(t, r.out)
	notStalled(t, s)
	if took > 3*time.Second {
		t.Errorf("took %v to end", took)
	}
	if r.err != nil {
		t.Errorf("%v\n%s", r.err, human)
	}
	for i := 2; i < demoPorts; i++ {
		uri := fmt.Sprintf("sip:127.0.0.1:%d", base+i)
		if i%2 == 1 {
			uri += ";transport=tcp"
		}
		if _, ok := s.PerBackend[uri]; !ok {
			t.Errorf("no %s in %+v", uri, s.PerBackend)
		}
	}
}

// freePorts is the first of as many consecutive ports as a demo needs that are free for TCP and UDP.
func freePorts(t *testing.T) int {
	t.Helper()
	free := func(port int) bool {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			return false
		}
		defer l.Close()
		u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			return false
		}
		return u.Close() == nil
	}
	n := 0
	for port := 20000; port < 32000; port++ { // below those that the kernel gives out
		if n++; !free(port) {
			n = 0
		}
		if n == demoPorts {
			return port - demoPorts + 1
		}
	}
	t.Skip("no free ports")
	return 0
}

// TestDemoFails: when sessions fail, so does the command, and the log is kept.
func TestDemoFails(t *testing.T) {
	defer goleak.VerifyNone(t)
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	human := newScreen("")
	out, err := runCommand(t.Context(), t, human, "demo", "--for", "500ms", "-o", "json", "--quiet", "--capacity", "1", "--rate", "200", "--kill-every", "0")
	s := decode(t, out)
	if err == nil || s.Failed == 0 || s.OK+s.Failed != s.Started || s.Kills != 0 {
		t.Fatalf("%v, %+v", err, s)
	}
	if want := fmt.Sprintf("%d of %d sessions failed; the log is ", s.Failed, s.Started); !strings.Contains(err.Error(), want) {
		t.Errorf("%q, want %q", err, want)
	}
	if len(s.Failures) != min(maxFailures, s.Failed) || s.Failures[0].Why != "INVITE answered 480" || s.Failures[0].CallID == "" {
		t.Errorf("%+v", s.Failures)
	}
	logs, _ := filepath.Glob(filepath.Join(tmp, "mrcproxy-demo-*", "mrcproxy.log"))
	if len(logs) != 1 {
		t.Fatalf("logs: %v", logs)
	}
	if text, err := os.ReadFile(logs[0]); err != nil || !bytes.Contains(text, []byte(s.Failures[0].CallID)) {
		t.Errorf("no %s in the log: %v", s.Failures[0].CallID, err)
	}
	if human.String() != "" {
		t.Errorf("not quiet: %s", human)
	}
}

func TestDemoFlags(t *testing.T) {
	defer goleak.VerifyNone(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port - 2 // where the first server would be
	for _, args := range [][]string{
		{"-o", "xml"}, {"--base-port", "65530"}, {"--base-port", "-1"}, {"--rate", "0"}, {"--rate", "1001"}, {"--capacity", "-1"}, {"--for", "-1s"},
		{"--kill-every", "-1s"}, {"more"}, {"--for", "1s", "--base-port", strconv.Itoa(port)},
	} {
		tmp := t.TempDir()
		t.Setenv("TMPDIR", tmp)
		if out, err := runCommand(t.Context(), t, newScreen(""), append([]string{"demo"}, args...)...); err == nil || out != "" {
			t.Errorf("%v: no error, or output: %q", args, out)
		}
		if left, _ := os.ReadDir(tmp); len(left) > 0 {
			t.Errorf("%v: left behind: %v", args, left)
		}
	}
}

// brokenPipe is a standard output that nobody reads.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestDemoCannotWrite(t *testing.T) {
	o := demoOptions{output: "json", out: brokenPipe{}, err: newScreen("")}
	if err := new(summary).write(o); err == nil {
		t.Error("no error")
	}
}
