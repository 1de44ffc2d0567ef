package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mrcproxy runs the binary to its end: its exit status, and what it writes to standard output and standard error.
func mrcproxy(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e strings.Builder
	c := exec.CommandContext(t.Context(), binary, args...)
	c.Stdout, c.Stderr = &o, &e
	if err := c.Run(); c.ProcessState == nil {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), o.String(), e.String()
}

// TestCheck: check says of a file what serve would make of it, and opens no socket.
func TestCheck(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	write := func(name, yaml string) string {
		t.Helper()
		file := filepath.Join(l.dir, name)
		if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	good := l.head() + `
routes:
  - {name: tts, match: {resource: speechsynth}, cluster: asr}
clusters:
  - name: asr
    groups:
      - backends:
          - {uri: "sip:192.0.2.1:8060", capacity: 50}
          - {uri: "sip:192.0.2.2:8060"}
`
	file := write("good.yaml", good)
	for _, running := range []bool{false, true} {
		if running {
			l.start(good)
		}
		code, out, errs := mrcproxy(t, "check", "-c", file)
		if want := file + " is valid: 2 listeners, 1 route, 1 cluster, 2 backends\n"; code != 0 || out != want || errs != "" {
			t.Errorf("a good file (a daemon has its sockets: %v): exit status %d, %q, %q", running, code, out, errs)
		}
	}
	faulty := strings.NewReplacer("capacity: 50", "capacity: lots", "cluster: asr}", "cluster: arse}", "idc: a", "idc: a\nlogg: {}").Replace(good)
	bad := write("bad.yaml", faulty)
	code, out, errs := mrcproxy(t, "check", "-c", bad)
	if code != 1 || out != "" {
		t.Errorf("a bad file: exit status %d, %q", code, out)
	}
	for part, key := range map[string]string{"logg": "logg", "arse": "routes[0].cluster", "lots": "clusters[0].groups[0].backends[0].capacity"} {
		want := fmt.Sprintf("%s:%d: %s: ", bad, lineOf(faulty, part), key)
		if !strings.Contains(errs, want) {
			t.Errorf("no %q in\n%s", want, errs)
		}
	}
	if n := strings.Count(errs, "\n"); n != 3 {
		t.Errorf("%d lines for 3 faults:\n%s", n, errs)
	}
	if code, _, served := mrcproxy(t, "serve", "-c", bad); code != 1 || served != errs {
		t.Errorf("serve says of it (%d)\n%s", code, served)
	}
	if code, _, errs := mrcproxy(t, "check", "-c", filepath.Join(l.dir, "none.yaml")); code != 1 || !strings.Contains(errs, "none.yaml") {
		t.Errorf("a file that is not there: exit status %d, %q", code, errs)
	}
	if code, _, errs := mrcproxy(t, "check", file); code != 2 || errs == "" {
		t.Errorf("a file without -c: exit status %d, %q", code, errs)
	}
}
