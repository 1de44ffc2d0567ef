package main

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

// terminal is what a command that goes on has written.
type terminal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *terminal) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *terminal) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.b.String(), text)
}

// start runs a command until stop is called, which returns its exit code.
func start(t *testing.T, args ...string) (out *terminal, stop func() int) {
	t.Helper()
	out = &terminal{}
	ctx, cancel := context.WithCancel(t.Context())
	c := root()
	c.SetArgs(args)
	c.SetOut(out)
	done := make(chan int, 1)
	go func() { done <- execute(ctx, c, out) }()
	return out, func() int {
		cancel()
		return <-done
	}
}

// TestGoingOn: events -f and status --watch show what happens while they run, and end with a signal as if all were well.
func TestGoingOn(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join(repository, "docs/cli.md"))
	if err != nil {
		t.Fatal(err)
	}
	tr := newTour(t, regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(string(doc))[1])
	events, endEvents := start(t, "events", "-f")
	lines, endLines := start(t, "events", "-f", "-o", "json")
	status, endStatus := start(t, "status", "--watch")
	tr.await(func() bool { return events.has("unknown -> up") && status.has("2 up") })
	if out, code := command(t.Context(), "", "drain", "group", "asr/sh-a", "--reason", "new disk"); code != 0 {
		t.Fatal(out)
	}
	tr.await(func() bool { return events.has("drain group asr/sh-a: new disk, by ") })
	tr.await(func() bool { return lines.has(`"text":"drain group asr/sh-a: new disk"`) })
	tr.await(func() bool { return status.has("2 draining") && status.has("drain group asr/sh-a by ") })
	for _, end := range []func() int{endEvents, endLines, endStatus} {
		if code := end(); code != 0 {
			t.Errorf("exit status %d", code)
		}
	}
	out, code := command(t.Context(), "", "sessions", "end", "00000000000000ff")
	if code != exitFailed || !strings.Contains(out, "there is no session") {
		t.Errorf("end nothing: %d %s", code, out)
	}
}

// TestSim: the servers that it prints take sessions, or misbehave as told.
func TestSim(t *testing.T) {
	for fault, want := range map[string]int{"none": 200, "486": 486, "offline": 503} {
		out, stop := start(t, "sim", "--listen", "127.0.0.1:0", "--count", "2", "--capacity", "5", "--fault", fault)
		deadline := time.Now().Add(10 * time.Second)
		for !out.has("capacity: 5}\n  - {uri:") || strings.Count(out.text(), "capacity") < 2 {
			if time.Now().After(deadline) {
				t.Fatal(out.text())
			}
			time.Sleep(5 * time.Millisecond)
		}
		addr := regexp.MustCompile(`"sip:([^"]+)"`).FindStringSubmatch(out.text())[1]
		client, err := sim.NewClient(sim.ClientOptions{Proxy: netip.MustParseAddrPort(addr)})
		if err != nil {
			t.Fatal(err)
		}
		if r := client.Session(t.Context(), 0); r.Code != want {
			t.Errorf("%s: %d, want %d", fault, r.Code, want)
		}
		_ = client.Close()
		if code := stop(); code != 0 || !out.has(" answered, ") {
			t.Errorf("exit status %d: %s", code, out.text())
		}
	}
	for _, args := range [][]string{{"--fault", "lazy"}, {"--count", "0"}, {"--listen", "here"}} {
		if out, code := command(t.Context(), "", append([]string{"sim"}, args...)...); code != exitUsage {
			t.Errorf("%v: %d %s", args, code, out)
		}
	}
}

func (s *terminal) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
