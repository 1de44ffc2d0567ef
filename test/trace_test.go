package test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

// TestTrace: the messages of one call, on both of its sides and with their addresses, on a terminal and in a file that tcpdump reads,
// while other calls go by.
func TestTrace(t *testing.T) {
	t.Parallel()
	tcpdump, err := exec.LookPath("tcpdump")
	if err != nil {
		t.Fatal("tcpdump is not installed: `make deps` installs it (Debian package tcpdump)")
	}
	l := newLab(t)
	l.simServer(21, sim.ServerOptions{})
	d := l.start(l.head() + "routes: [{name: asr, match: {mrcp: true}, cluster: asr}]\nclusters: [{name: asr, groups: [{idc: a, backends: [{uri: \"" + l.uri(21, "tcp") + "\"}]}]}]\n")
	d.await("it is up", 10*time.Second, func() bool { return d.up() == 1 })
	file := filepath.Join(l.dir, "call.pcap")
	var text, summary bytes.Buffer
	watchers := []*exec.Cmd{
		exec.Command(l.binary, "trace", "-s", d.url(""), "--call-id", "wanted", "-n", "11"),
		exec.Command(l.binary, "trace", "-s", d.url(""), "--call-id", "wanted", "-n", "11", "-w", file),
	}
	watchers[0].Stdout, watchers[1].Stderr = &text, &summary
	for _, w := range watchers {
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = w.Process.Kill() }) // it has ended by itself when all is well
	}
	d.await("both watch", 10*time.Second, func() bool { return bytes.Count(d.logText(), []byte("trace begins")) == 2 })
	p := l.dial("udp", 5)
	for _, id := range []string{"other@a", "wanted@a"} {
		p.establish(rawRequest{callID: id}).bye()
	}
	for _, w := range watchers {
		done := make(chan error, 1)
		go func() { done <- w.Wait() }()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("still waits for messages of the call:\n%s", text.String())
		}
	}
	us, client := l.proxyAddr(), p.conn.LocalAddr().String()
	for _, want := range []string{"received udp " + client + " -> " + us + "\nINVITE ", " sent tcp " + l.ip(l.self) + ":", "sent udp " + us + " -> " + client + "\nSIP/2.0 200 OK\n"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text does not have %q", want)
		}
	}
	if n := strings.Count(text.String(), "\nCall-ID: wanted@a\n"); n != 11 || strings.Contains(text.String(), "other@a") {
		t.Errorf("%d messages of the call in\n%s", n, text.String())
	}
	if summary.String() != "11 messages in "+file+"\n" {
		t.Errorf("%q", summary.String())
	}
	out, err := exec.Command(tcpdump, "-r", file, "-n", "-vv", "-A").CombinedOutput()
	if err != nil || bytes.Count(out, []byte("Call-ID: wanted@a")) < 11 || bytes.Contains(out, []byte("bad")) || bytes.Contains(out, []byte("incorrect")) {
		t.Errorf("tcpdump: %v\n%s", err, out)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v %v", info, err)
	}
	if !d.logged("trace ends", `"messages":11`, `"call_id":"wanted"`, " at 127.0.0.1") {
		t.Error("the log does not say who watched")
	}
}
