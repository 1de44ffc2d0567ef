package trace

import (
	"bytes"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mrcproxy/proxy/transport"
)

// capture is a file with these messages.
func capture(t *testing.T, l ...*Message) string {
	t.Helper()
	var b bytes.Buffer
	p := NewPcap(&b)
	if err := p.Begin(); err != nil {
		t.Fatal(err)
	}
	for _, m := range l {
		if err := p.Write(m); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "trace.pcap")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestPcap: tcpdump finds every message, whole, with its time, addresses and transport, and right checksums.
func TestPcap(t *testing.T) {
	at := time.Date(2026, 7, 1, 9, 0, 0, 123456000, time.UTC)
	six, sixServer := netip.MustParseAddrPort("[fd00::1]:5060"), netip.MustParseAddrPort("[fd00::2]:8060")
	t.Setenv("TZ", "UTC")
	long := append(options("long"), bytes.Repeat([]byte("x"), 70000)...)
	file := capture(t,
		&Message{At: at, Proto: transport.UDP, Src: client, Dst: us, Text: options("one")},
		&Message{At: at, Proto: transport.TCP, Src: us, Dst: server, Sent: true, Text: options("two")},
		&Message{At: at, Proto: transport.TCP, Src: server, Dst: us, Text: options("three")},
		&Message{At: at, Proto: transport.TLS, Src: us, Dst: server, Sent: true, Text: options("four!")},
		&Message{At: at, Proto: transport.UDP, Src: sixServer, Dst: six, Text: options("five.")},
		&Message{At: at, Proto: transport.UDP, Src: client, Dst: six, Text: options("six")},
		&Message{At: at, Proto: transport.TCP, Src: us, Dst: client, Text: long},
	)
	tcpdump, err := exec.LookPath("tcpdump")
	if err != nil {
		t.Fatal("tcpdump is not installed: `make deps` installs it (Debian package tcpdump)")
	}
	out, err := exec.Command(tcpdump, "-r", file, "-n", "-S", "-tttt", "-vvv", "-A").CombinedOutput()
	if err != nil {
		t.Fatalf("tcpdump: %v\n%s", err, out)
	}
	text := string(out)
	for _, want := range []string{
		"link-type RAW", "2026-07-01 09:00:00.123456 IP (",
		"10.0.0.1.5070 > 10.1.0.5.5060: [udp sum ok] SIP", "Call-ID: one",
		"10.1.0.5.5060 > 10.1.1.180.8060: Flags [P.], cksum", "seq 1:176, ack 1,", "Call-ID: two",
		"10.1.1.180.8060 > 10.1.0.5.5060: Flags [P.]", "seq 1:178, ack 176,", "Call-ID: three",
		"seq 176:353, ack 178,", "Call-ID: four!",
		"fd00::2.8060 > fd00::1.5060: [udp sum ok]", "Call-ID: five.",
		"::ffff:10.0.0.1.5070 > fd00::1.5060: [udp sum ok]", "Call-ID: six",
		"seq 60001:70177, ack 1,",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("tcpdump does not say %q", want)
		}
	}
	for _, bad := range []string{"bad", "incorrect", "truncated", "wrong", "invalid"} {
		if strings.Contains(text, bad) {
			t.Errorf("tcpdump says %q", bad)
		}
	}
	if t.Failed() {
		t.Log(text[:min(len(text), 3000)])
	}
}
