package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

// probed runs mrcproxy probe, and gives what it prints and its error.
func probed(args ...string) (string, error) {
	var out strings.Builder
	c := root()
	c.SetArgs(append([]string{"probe"}, args...))
	c.SetOut(&out)
	err := c.Execute()
	return out.String(), err
}

func TestProbe(t *testing.T) {
	var servers [2]*sim.Server
	for i := range servers {
		s, err := sim.StartServer(sim.ServerOptions{MRCP: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Stop)
		servers[i] = s
	}
	well, dead := servers[0], servers[1]
	dead.SetFault(sim.EngineDead)
	uri := "sip:" + well.Addr().String() + ";transport=tcp"
	audio := filepath.Join(t.TempDir(), "a.ulaw")
	file := filepath.Join(t.TempDir(), "f.yaml")
	for path, content := range map[string][]byte{
		audio: bytes.Repeat([]byte{0x90, 0x90, 0x90, 0x90, 0x10, 0x10, 0x10, 0x10}, 200),
		file: fmt.Appendf(nil, "listen: [\"udp://127.0.0.1:0\", \"tcp://127.0.0.1:0\"]\ndata_dir: %s\nhealth: {deep: {method: get-params}}\n"+
			"clusters: [{name: asr, groups: [{backends: [{uri: \"%s\"}, {uri: \"sip:%s\"}]}]}]\n", t.TempDir(), uri, dead.Addr()),
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		args []string
		want string // a regular expression for what is printed
		err  string
	}{
		{"OPTIONS", []string{uri}, `^sip:\S+\n  options +\d+\.\d ms  200\n  ok\n$`, ""},
		{"deep", []string{uri, "--deep"}, `^sip:\S+\n  sip +\d+\.\d ms  200\n  connect +\d+\.\d ms\n  method +\d+\.\d ms\n  bye +\d+\.\d ms\n  in all +\d+\.\d ms\n  ok\n$`, ""},
		{"recognize", []string{uri, "--deep", "--method", "recognize", "--audio", audio, "--expect", "^hello", "--confidence", "0.9"}, `ms  "hello world", confidence 0.93\n`, ""},
		{"speak", []string{uri, "--deep", "--method", "speak", "--text", "hi"}, `method +\d+\.\d ms  \d+ packets of RTP\n`, ""},
		{"wrong", []string{uri, "--deep", "--method", "recognize", "--audio", audio, "--expect", "bye"}, `failed: wrong_result: recognised "hello world", expected bye\n`, "the probe failed"},
		{"dead", []string{"sip:" + dead.Addr().String(), "--deep"}, `failed: method_failed: GET-PARAMS answered 407`, "the probe failed"},
		{"of the file", []string{uri, "--deep", "-c", file}, `ok\n$`, ""},
		{"a cluster", []string{"asr", "--deep", "-c", file}, `(?s)ok\n.*failed: method_failed`, "1 of 2 probes failed"},
		{"talkative", []string{uri, "--deep", "-v"}, `(?s)--- SDP offer\nv=0.*--- SDP answer\nv=0.*--- MRCP sent\nMRCP/2.0 \d+ GET-PARAMS 1\nChannel-Identifier: .*--- MRCP received\nMRCP/2.0 \d+ 1 200 COMPLETE\n`, ""},
		{"for scripts", []string{uri, "--deep", "--method", "speak", "-o", "json"},
			`^\[\s+\{\s+"backend": "sip:[^"]+",\s+"ok": true,\s+"code": 200,\s+"result": "ok",\s+"steps": \[\s+\{\s+"step": "sip",\s+"ms": [0-9.]+\s+\}(?s:.*)"rtp_packets": \d+\s+\}\s+\]\n$`, ""},
		{"OPTIONS for scripts", []string{uri, "-o", "yaml"}, `^- backend: sip:\S+\n  ok: true\n  code: 200\n  result: ok\n  steps:\n    - step: options\n      ms: [0-9.]+\n$`, ""},
		{"a failure for scripts", []string{"asr", "--deep", "-c", file, "-o", "json"}, `(?s)"ok": true.*"ok": false,\s+"code": 200,\s+"result": "method_failed",\s+"reason": "GET-PARAMS answered 407`, "1 of 2 probes failed"},
		{"no URI", []string{"10.1.1.1", "--deep"}, `^$`, `must be a SIP URI`},
		{"not in the file", []string{"tts", "-c", file}, `^$`, `"tts" is no cluster and no server of`},
		{"no method", []string{uri, "--deep", "--method", "sing"}, `^$`, `method: must be get-params, recognize or speak, not "sing"`},
		{"no audio", []string{uri, "--deep", "--method", "recognize"}, `^$`, `method: needs audio`},
		{"no expression", []string{uri, "--deep", "--expect", "("}, `^$`, "--expect: "},
	} {
		out, err := probed(c.args...)
		if !regexp.MustCompile(c.want).MatchString(out) || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v\n%s", c.name, err, out)
		}
	}
	for end := time.Now().Add(5 * time.Second); well.Stats().Channels+dead.Stats().Channels+well.Sessions()+dead.Sessions() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("left behind: %+v, %+v", well.Stats(), dead.Stats())
		}
	}
}

// TestCheckReadsAudio: a file that serve would refuse for its audio is refused.
func TestCheckReadsAudio(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f.yaml")
	yaml := "listen: [\"udp://127.0.0.1:0\"]\nclusters: [{name: asr, health: {deep: {method: recognize, audio: /none.wav}}, groups: [{backends: [{uri: \"sip:127.0.0.2\"}]}]}]\n"
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	c := root()
	c.SetArgs([]string{"check", "-c", file})
	if err := c.Execute(); err == nil || !strings.Contains(err.Error(), "clusters[asr].health.deep.audio: read audio: open /none.wav") {
		t.Errorf("%v", err)
	}
}
