package freeswitch

import (
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mrcproxy/config"
)

var update = flag.Bool("update", false, "write the golden files")

const house = `
listen: ["tls://10.1.0.5:5061", "udp://10.1.0.5:5060", "tcp://0.0.0.0:5070"]
advertise: 10.1.0.9
tls: {cert: a, key: b}
routes:
  - {name: night, match: {header: {X-Night: "1"}}, cluster: baidu}
  - {name: baidu, match: {user_agent: "=A&B--C"}, cluster: baidu}
  - {name: tts, match: {user_agent: SHARED, resource: speechsynth}, cluster: tts}
  - {name: shared, match: {user_agent: SHARED, user: "=gold"}, cluster: gold}
  - {name: odd, match: {user_agent: "~^ODD[0-9]$"}, cluster: odd}
  - {name: near, match: {source: 10.9.0.0/16, mrcp: true}, cluster: near}
  - {name: phone, match: {mrcp: false}, cluster: phone}
otherwise: {cluster: rest}
clusters:
`

func parse(t *testing.T) *config.Config {
	t.Helper()
	var b strings.Builder
	b.WriteString(house)
	for _, name := range []string{"baidu", "tts", "gold", "odd", "near", "phone", "rest"} {
		b.WriteString("  - {name: " + name + ", groups: [{backends: [{uri: \"sip:10.2.0.1\"}]}]}\n")
	}
	c, err := config.Parse("house", []byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func options(cluster string) Options {
	return Options{Cluster: cluster, ClientPort: 5090, RTPMin: 32000, RTPMax: 32999}
}

func wellFormed(text string) error {
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// TestFiles: golden files for one proxy over UDP and three over TCP.
func TestFiles(t *testing.T) {
	several := options("baidu")
	several.Transport, several.ClientIP = "tcp", "10.9.0.1"
	several.Proxies = []string{"10.1.0.5", "10.1.0.6:5080", "[2001:db8::1]:5060"}
	for name, o := range map[string]Options{"one": options("baidu"), "several": several} {
		files, err := Files(parse(t), o)
		if err != nil {
			t.Fatal(err)
		}
		var all strings.Builder
		for _, f := range files {
			if err := wellFormed(f.Text); err != nil {
				t.Errorf("%s: %s: %v", name, f.Path, err)
			}
			all.WriteString("== " + f.Path + "\n" + f.Text)
		}
		golden := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(golden, []byte(all.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if all.String() != string(want) {
			t.Errorf("%s: not as in %s:\n%s", name, golden, all.String())
		}
	}
}

// TestIdentity: the ua-name and user that lead to a cluster, with the routes before it in the way.
func TestIdentity(t *testing.T) {
	c := parse(t)
	for _, tc := range []struct {
		cluster, given, client string
		ua, user, routes, err  string
	}{
		{cluster: "baidu", ua: "A&B--C", routes: "speechrecog: baidu (route baidu), speechsynth: baidu (route baidu)"},
		{cluster: "tts", ua: "SHARED", routes: "speechrecog: near (route near), speechsynth: tts (route tts)"},
		{cluster: "gold", ua: "SHARED", user: "gold", routes: "speechrecog: gold (route shared), speechsynth: tts (route tts)"},
		{cluster: "odd", err: "no route leads to cluster odd for a User-Agent that can be told from it"},
		{cluster: "odd", given: "ODD1", ua: "ODD1", routes: "speechrecog: odd (route odd), speechsynth: odd (route odd)"},
		{cluster: "odd", given: "EVEN", err: `no route leads from the User-Agent "EVEN"`},
		{cluster: "near", ua: "FS_near", routes: "speechrecog: near (route near), speechsynth: near (route near)"},
		{cluster: "near", client: "10.8.0.1", err: "no route leads to cluster near"},
		{cluster: "phone", err: "no route leads to cluster phone"},
		{cluster: "rest", err: "no route leads to cluster rest"}, // near takes all, from where it takes any
		{cluster: "rest", client: "10.8.0.1", ua: "FS_rest", routes: "speechrecog: rest (otherwise), speechsynth: rest (otherwise)"},
		{cluster: "rest", client: "here", err: "must be an IP address"},
	} {
		ua, user, routes, err := identity(c, Options{Cluster: tc.cluster, UserAgent: tc.given, ClientIP: tc.client})
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: %v, want %s", tc.cluster, err, tc.err)
			}
			continue
		}
		if err != nil || ua != tc.ua || user != tc.user || routes != tc.routes {
			t.Errorf("%s: %q, %q, %q, %v", tc.cluster, ua, user, routes, err)
		}
	}
}

func TestRefused(t *testing.T) {
	for want, change := range map[string]func(*Options){
		`there is no cluster "x"`:                         func(o *Options) { o.Cluster = "x" },
		"does not listen on sctp":                         func(o *Options) { o.Transport = "sctp" },
		"are not two for each of 1 profiles":              func(o *Options) { o.RTPMax = o.RTPMin },
		"RTP ports 65000 to 66000":                        func(o *Options) { o.RTPMin, o.RTPMax = 65000, 66000 },
		"client port 65535 leaves no port":                func(o *Options) { o.ClientPort, o.Proxies = 65535, []string{"a", "b"} },
		`a proxy must be host or host:port, not "a:b"`:    func(o *Options) { o.Proxies = []string{"a:b"} },
		`a proxy must be host or host:port, not "u@a:5"`:  func(o *Options) { o.Proxies = []string{"u@a:5"} },
		`a proxy must be host or host:port, not ":5060"`:  func(o *Options) { o.Proxies = []string{""} },
		`a proxy must be host or host:port, not "a:b:50"`: func(o *Options) { o.Proxies = []string{"a:b:50"} },
	} {
		o := options("baidu")
		change(&o)
		if _, err := Files(parse(t), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
