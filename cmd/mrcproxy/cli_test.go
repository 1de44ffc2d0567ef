package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"mrcproxy/config"
	"mrcproxy/internal/app"
	"mrcproxy/internal/sim"
)

// command runs one command line, and returns what a terminal would show, and the exit code.
func command(ctx context.Context, stdin string, args ...string) (string, int) {
	c := root()
	var out bytes.Buffer
	c.SetArgs(args)
	c.SetOut(&out)
	c.SetErr(&out)
	c.SetIn(strings.NewReader(stdin))
	code := execute(ctx, c, &out)
	return out.String(), code
}

// claim finds a loopback network, 127.N.0.0/16, that no other run of this test has.
func claim(t *testing.T) int {
	t.Helper()
	for n := 100; n < 200; n++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.%d.255.254:7061", n))
		if err == nil {
			t.Cleanup(func() { _ = l.Close() })
			return n
		}
	}
	t.Fatal("no loopback network is free")
	return 0
}

// tour is the daemon of docs/cli.md, in a network of its own.
type tour struct {
	t   *testing.T
	net string // in the place of 127.100.
	dir string
}

func newTour(t *testing.T, yaml string) *tour {
	t.Helper()
	tr := &tour{t: t, net: fmt.Sprintf("127.%d.", claim(t)), dir: t.TempDir()}
	text := strings.ReplaceAll(tr.real(yaml), "/tmp/mrcproxy", filepath.Join(tr.dir, "data"))
	text += "health: {interval: 50ms, rise: 1}\n"
	t.Chdir(tr.dir)
	invite, err := os.ReadFile(filepath.Join(repository, "proxy/testdata/fs-recog-udp-01-INVITE.sip"))
	if err := errors.Join(err, os.WriteFile("mrcproxy.yaml", []byte(text), 0o600), os.WriteFile("INVITE.sip", invite, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`"sip:(\S+)"`).FindAllStringSubmatch(text, -1) {
		s, err := sim.StartServer(sim.ServerOptions{Addr: netip.MustParseAddrPort(m[1])})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Stop)
	}
	a, err := app.New(app.Options{Load: func() (*config.Config, error) { return config.Load("mrcproxy.yaml") }, Log: zap.NewNop(), Version: "v1.0.0"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	tr.await(func() bool {
		for _, b := range a.Status().Backends {
			if b.State != "up" {
				return false
			}
		}
		return true
	})
	tr.sessions(a, 2)
	t.Setenv("MRCPROXY_SERVER", "http://"+a.Admin())
	return tr
}

// sessions places n, one after the other.
func (tr *tour) sessions(a *app.App, n int) {
	client, err := sim.NewClient(sim.ClientOptions{Proxy: a.SIP(0)})
	if err != nil {
		tr.t.Fatal(err)
	}
	tr.t.Cleanup(func() { _ = client.Close() })
	for i := range n {
		go client.Session(tr.t.Context(), time.Hour)
		tr.await(func() bool { return a.Sessions() > i })
	}
}

func (tr *tour) await(ok func() bool) {
	tr.t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(end) {
			tr.t.Fatal("in vain")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// repository is where this test's package is in it; not the working directory, which changes.
var repository, _ = filepath.Abs("../..")

func (tr *tour) real(s string) string { return strings.ReplaceAll(s, "127.100.", tr.net) }

// same puts what differs from run to run into a form that does not, of the same width.
func (tr *tour) same(s string) string {
	s = strings.ReplaceAll(s, tr.net, "127.100.")
	if u, err := user.Current(); err == nil {
		s = strings.ReplaceAll(s, "by "+u.Username+" at", "by eve at")
	}
	for _, r := range [][2]string{
		{`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`, "2026-07-01 09:00:00"},
		{`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[-+.:Z\d]*`, "2026-07-01T09:00:00Z"},
		{`\b[0-9a-f]{16}\b`, "1f2e3d4c5b6a7988"},
		{`\b[0-9A-Z]{13}-[0-9A-Z]{13}\b`, "3Z2JSO3C6SL5S-UCYR24UMJYV6F"},
	} {
		s = regexp.MustCompile(r[0]).ReplaceAllString(s, r[1])
	}
	return strings.ReplaceAll(s, tr.dir, "")
}

// shell runs one line of the document.
func (tr *tour) shell(line string) string {
	if rest, ok := strings.CutPrefix(line, "sed -i 's/"); ok {
		parts := strings.Split(rest, "/")
		text, err := os.ReadFile("mrcproxy.yaml")
		if err == nil {
			err = os.WriteFile("mrcproxy.yaml", bytes.Replace(text, []byte(parts[0]), []byte(parts[1]), 1), 0o600)
		}
		if err != nil {
			tr.t.Fatal(err)
		}
		return ""
	}
	args, ok := strings.CutPrefix(line, "mrcproxy ")
	if !ok {
		tr.t.Fatalf("not a command of ours: %s", line)
	}
	out, code := command(tr.t.Context(), "", words(tr.real(args))...)
	if code != 0 {
		out += fmt.Sprintf("# exit status %d\n", code)
	}
	return out
}

// words splits a command line, with double quotes.
func words(line string) []string {
	var l []string
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			l = append(l, part)
			continue
		}
		l = append(l, strings.Fields(part)...)
	}
	return l
}

// TestTour runs every command of docs/cli.md, and the document has what they answer.
func TestTour(t *testing.T) {
	path := filepath.Join(repository, "docs/cli.md")
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	yaml := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(string(doc))[1]
	tr := newTour(t, yaml)
	commands := 0
	got := regexp.MustCompile("(?s)```console\n.*?```").ReplaceAllStringFunc(string(doc), func(block string) string {
		var b strings.Builder
		b.WriteString("```console\n")
		for line := range strings.Lines(block) {
			if cmd, ok := strings.CutPrefix(line, "$ "); ok {
				commands++
				b.WriteString(line + tr.same(tr.shell(strings.TrimSpace(cmd))))
			}
		}
		return b.String() + "```"
	})
	if commands < 15 {
		t.Errorf("only %d commands found", commands)
	}
	if got == string(doc) {
		return
	}
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, have := strings.Split(string(doc), "\n"), strings.Split(got, "\n")
	for i := range want {
		if i >= len(have) || have[i] != want[i] {
			t.Fatalf("docs/cli.md:%d has\n%s\nbut the command says\n%s\n(go test ./cmd/mrcproxy -run TestTour -update writes it anew)", i+1, want[i], strings.Join(have[i:min(i+3, len(have))], "\n"))
		}
	}
	t.Fatal("docs/cli.md has less than the commands say")
}

// TestRouteOfFixtures: where each INVITE that FreeSWITCH and UniMRCP were seen to send would go with the example.
func TestRouteOfFixtures(t *testing.T) {
	t.Setenv("MRCPROXY_SECRET", "")
	files, err := filepath.Glob("../../proxy/message/testdata/*.sip")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	n := 0
	for _, f := range files {
		if text, err := os.ReadFile(f); err != nil || !bytes.HasPrefix(text, []byte("INVITE ")) {
			continue
		}
		n++
		out, code := command(t.Context(), "", "route", "-c", "../../deploy/mrcproxy.yaml", f)
		fmt.Fprintf(&b, "== %s\n%s# exit status %d\n", filepath.Base(f), out, code)
	}
	if n < 25 {
		t.Errorf("only %d INVITEs", n)
	}
	golden(t, "route.golden", b.String())
}

// TestRouteOfNames: without the daemon a server's name stands for one server, and says that it was not looked up.
func TestRouteOfNames(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mrcproxy.yaml")
	config := `
listen: ["udp://10.1.0.5:5060", "tcp://10.1.0.5:5060"]
otherwise: {cluster: asr}
clusters:
  - name: asr
    fallback: [more]
    groups:
      - backends:
          - {uri: "sip:asr.example.net", capacity: 0}
          - {uri: "sip:vad@asr.example.net:8060;transport=tcp", capacity: 50}
  - name: more
    groups:
      - backends: [{uri: "sip:10.1.1.9:8060", capacity: 5}, {uri: "sip:asr.example.net", capacity: 7}]
`
	route := func(config string) (string, int) {
		t.Helper()
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		return command(t.Context(), "", "route", "-c", file, "../../proxy/testdata/fs-recog-udp-01-INVITE.sip")
	}
	const unknown = "a name, which is not looked up without the daemon\n"
	out, code := route(config)
	for _, want := range []string{"chosen; " + unknown, "full; " + unknown, "should that fail; " + unknown, " 0/7 ", "goes to sip:vad@asr.example.net:8060;transport=tcp\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "240.") || code != 0 || strings.Count(out, unknown) != 3 {
		t.Errorf("exit status %d\n%s", code, out)
	}
	out, code = route(strings.NewReplacer("capacity: 50", "capacity: 0", "capacity: 5}", "capacity: 0}").Replace(config))
	if code != 0 || !strings.Contains(out, "goes to sip:asr.example.net\n") {
		t.Errorf("exit status %d, of a fallback\n%s", code, out)
	}
}

// TestRouteReads: from standard input, with lines that have lost their CR, and by the source that is named.
func TestRouteReads(t *testing.T) {
	text, err := os.ReadFile("../../proxy/testdata/fs-recog-udp-01-INVITE.sip")
	if err != nil {
		t.Fatal(err)
	}
	plain := strings.ReplaceAll(string(text), "\r\n", "\n")
	for _, tc := range []struct {
		args []string
		code int
		text string
	}{
		{nil, 0, "goes to sip:10.1.1.180:8060 in sh-a"},
		{[]string{"--source", "192.0.2.1"}, exitNo, "answer: 403, 192.0.2.1 may not start sessions"},
		{[]string{"--source", "here"}, exitUsage, "--source must be an IP address"},
		{[]string{"-o", "json"}, 0, `"backend": "sip:10.1.1.180:8060",`},
		{[]string{"-o", "xml"}, exitUsage, "table, json or yaml"},
	} {
		out, code := command(t.Context(), plain, append([]string{"route", "-c", "../../deploy/mrcproxy.yaml", "-"}, tc.args...)...)
		if code != tc.code || !strings.Contains(out, tc.text) {
			t.Errorf("%v: %d %s", tc.args, code, out)
		}
	}
}

// TestExitCodes: each of the document's, with its cause.
func TestExitCodes(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("idc: a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("MRCPROXY_SERVER", "http://127.0.0.1:1")
	for _, tc := range []struct {
		line string
		code int
		text string
	}{
		{"--version", 0, "mrcproxy version"},
		{"check -c ../../deploy/mrcproxy.yaml", 0, "is valid"},
		{"check -c " + bad, exitFailed, "bad.yaml:1: listen"},
		{"config diff ../../deploy/mrcproxy.yaml " + bad, exitFailed, "bad.yaml:1: listen"},
		{"nonsense", exitUsage, "unknown command"},
		{"status --nonsense", exitUsage, "unknown flag"},
		{"status more", exitUsage, "unknown command"},
		{"drain sh-a", exitUsage, "say what, as: backend URI"},
		{"drain server sh-a", exitUsage, "say backend, group or idc"},
		{"drain group asr", exitUsage, "a group is CLUSTER/IDC"},
		{"drain group asr/", exitUsage, "a group is CLUSTER/IDC"},
		{"config", 0, "Available Commands"},
		{"config nonsense", exitUsage, "unknown command"},
		{"import nonsense", exitUsage, "unknown command"},
		{"import opensips", exitUsage, "[load-balancer dispatcher]"},
		{"freeswitch", exitUsage, `"cluster" not set`},
		{"status -s ftp://127.0.0.1", exitUsage, "--server must be a URL"},
		{"status -s 127.0.0.1:1", exitUnreachable, "the daemon gives no answer"},
		{"drain idc a -o xml", exitUsage, "must be table, json or yaml"}, // before the daemon is asked
		{"bench sip:127.0.0.1:1 --for 1h -o xml", exitUsage, "must be table, json or yaml"},
		{"config show -o table", exitUsage, "must be yaml or json"},
		{"demo --rate 0", exitUsage, "--rate must be 1 to 1000"},
		{"probe sip:127.0.0.1:1 --method shout", exitUsage, "method"},
		{"probe sip:127.0.0.1:1 --expect (", exitUsage, "--expect"},
		{"drain idc a --until tomorrow", exitUsage, "--until must be a time"},
		{"weight sip:10.1.1.1 much", exitUsage, "a weight is a number"},
		{"status", exitUnreachable, "the daemon gives no answer"},
		{"events -f", exitUnreachable, "the daemon gives no answer"},
		{"drain idc a", exitUnreachable, "the daemon gives no answer"},
		{"config diff ../../deploy/mrcproxy.yaml ../../deploy/mrcproxy.yaml", 0, "no changes"},
	} {
		if out, code := command(t.Context(), "", strings.Fields(tc.line)...); code != tc.code || !strings.Contains(out, tc.text) {
			t.Errorf("%s: exit status %d, want %d %q: %s", tc.line, code, tc.code, tc.text, out)
		}
	}
}

// TestMan: every command that is shown has a manual page.
func TestMan(t *testing.T) {
	dir := t.TempDir()
	if out, code := command(t.Context(), "", "man", dir); code != 0 {
		t.Fatal(out)
	}
	for _, c := range root().Commands() {
		if c.Hidden || c.Name() == "help" {
			continue
		}
		page, err := os.ReadFile(filepath.Join(dir, "mrcproxy-"+c.Name()+".1"))
		if err != nil || !bytes.Contains(page, []byte(".SH NAME")) {
			t.Errorf("%s: %v", c.Name(), err)
		}
	}
}

// TestDocumentedCommands: docs/cli.md names every command.
func TestDocumentedCommands(t *testing.T) {
	doc, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range root().Commands() {
		if !c.Hidden && c.Name() != "help" && !regexp.MustCompile("`"+c.Name()+"[` ]").Match(doc) {
			t.Errorf("docs/cli.md does not name %s", c.Name())
		}
	}
}
