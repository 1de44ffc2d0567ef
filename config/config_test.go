package config

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

const minimal = `
listen: ["udp://127.0.0.1:5060"]
clusters: [{name: c, groups: [{backends: [{uri: "sip:127.0.0.2"}]}]}]
`

func parse(t testing.TB, text string) *Config {
	t.Helper()
	c, err := Parse("f.yaml", []byte(text))
	if err != nil {
		t.Fatalf("Parse: %v\n%s", err, text)
	}
	return c
}

func TestDefaults(t *testing.T) {
	clearEnv(t)
	upCodes, err := ParseCodeSet("200-407", "409-499")
	if err != nil {
		t.Fatal(err)
	}
	health := Health{
		Interval: 2 * time.Second, Timeout: time.Second, Jitter: 0.2, Rise: 2, Fall: 3, UpCodes: upCodes,
		EjectAfter: 3, EjectFor: 10 * time.Second, EjectMax: 5 * time.Minute, HoldFor: time.Second, FastInterval: 500 * time.Millisecond, SlowInterval: 10 * time.Second,
		HoldMax: 30 * time.Second, SuspectAfter: 3, ErrorRate: 0.5, ErrorWindow: 30 * time.Second, ErrorVolume: 20, MaxEjected: 0.5,
		Deep: Deep{Method: "off", Action: "down", Interval: time.Minute, Timeout: 10 * time.Second, Rise: 1, Fall: 2,
			Grammar: "builtin:speech/transcribe", Text: "hello"},
	}
	want := &Config{
		Listen:  []Listener{{Network: "udp", Addr: netip.MustParseAddrPort("127.0.0.1:5060"), Readers: 1}},
		DataDir: "/var/lib/test",
		TLS:     TLS{ClientAuth: "none"},
		Admin:   Admin{Listen: "127.0.0.1:9060"},
		Log:     Log{Level: "info", Format: "json"},
		Clients: Clients{MaxConnections: 256},
		Failover: Failover{
			FirstResponseTimeout: 500 * time.Millisecond, AnswerTimeout: time.Second, Deadline: 4 * time.Second, MaxAttempts: 5, ConnectTimeout: time.Second,
			T1: 100 * time.Millisecond, TryingAfter: 150 * time.Millisecond, Reject: 480, RetryAfter: 5 * time.Second,
		},
		Health:    health,
		Sessions:  Sessions{Max: 4 * time.Hour, ByeTimeout: 2 * time.Second, ByeAnswer: 200, OnBackendDown: Keep, Journal: true},
		Drain:     Drain{Timeout: 5 * time.Second},
		Handover:  Handover{"/var/lib/test/handover.sock"},
		CDR:       CDR{Headers: []string{"X-CID"}},
		HEP:       HEP{ID: 2001},
		OTLP:      OTLP{Sample: 1},
		Otherwise: Otherwise{Reject: 488}, OnStoreLoss: ShareLimits, Instances: 1,
		Clusters: []Cluster{{
			Name: "c", Policy: LeastLoad, Health: health, QueueLength: 100, SlowStart: 30 * time.Second, Panic: true,
			Groups: []Group{{Backends: []Backend{{
				URI: "sip:127.0.0.2", Network: "udp", Addr: netip.MustParseAddrPort("127.0.0.2:5060"), Capacity: Unlimited, Weight: 1,
			}}}},
		}},
	}
	if got := parse(t, minimal); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	// Keys without values are not given.
	empty := "idc:\nadvertise:\nsecret:\ndata_dir:\nadmin:\nlog:\n  level:\nclients: {}\nfailover:\nhealth:\n" +
		"  up_codes:\nsessions:\ndrain:\nhandover:\nroutes:\notherwise:\n"
	if got := parse(t, empty+minimal); !reflect.DeepEqual(got, want) {
		t.Errorf("with empty keys: got  %+v\nwant %+v", got, want)
	}
}

func TestEverything(t *testing.T) {
	clearEnv(t)
	c, err := Load("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	codes, _ := ParseCodeSet("200", "486", "500-503")
	base := Health{
		Interval: 3 * time.Second, Timeout: 2 * time.Second, Jitter: 0, Rise: 1, Fall: 2, UpCodes: codes,
		EjectAfter: 0, EjectFor: time.Second, EjectMax: time.Minute, HoldFor: 0, FastInterval: time.Second, SlowInterval: time.Minute,
		HoldMax: 2 * time.Second, SuspectAfter: 0, ErrorRate: 0.25, ErrorWindow: time.Minute, ErrorVolume: 9, MaxEjected: 1,
		Deep: Deep{Method: "recognize", Action: "report", Interval: 2 * time.Minute, Timeout: time.Second, Rise: 3, Fall: 4, Resource: "speechrecog",
			Language: "zh-CN", Audio: "/a.wav", Grammar: "<grammar/>", Expect: Expectation{regexp.MustCompile("^一$")}, Confidence: 0.5, Text: "hi"},
	}
	over := base
	over.Interval, over.Jitter, over.EjectAfter = 500*time.Millisecond, 1, 7
	over.Deep.Method, over.Deep.Resource, over.Deep.Expect = "speak", "speechsynth", Expectation{}
	yes := true
	prefix := netip.MustParsePrefix
	want := &Config{
		IDC: "上海-A",
		Listen: []Listener{
			{"udp", netip.MustParseAddrPort("0.0.0.0:5060"), netip.Addr{}, 2}, {"tcp", netip.MustParseAddrPort("0.0.0.0:5060"), netip.Addr{}, 1},
			{"tcp", netip.MustParseAddrPort("[2001:db8::5]:0"), netip.Addr{}, 1}, {"tls", netip.MustParseAddrPort("10.9.9.9:5061"), netip.MustParseAddr("192.0.2.1"), 1},
		},
		Advertise: netip.MustParseAddr("10.1.0.5"),
		Secret:    []string{"0123456789abcdef", "fedcba9876543210"},
		Store: Store{
			Addrs: []string{"r1.example.com:26380", "[2001:db8::7]:26379", "r2:26379"}, Master: "mymaster", DB: 3, TLS: true, CA: "/r.pem", Prefix: "p",
			User: "app", Password: "pass:word", SentinelUser: "su", SentinelPassword: "sp", Timeout: 20 * time.Millisecond, Renew: 5 * time.Second,
		},
		OnStoreLoss: OpenLimits, Instances: 3,
		DataDir:   "/data",
		Admin:     Admin{ProbeTargets: []netip.Prefix{prefix("10.9.0.0/16")}, Pprof: true},
		Log:       Log{"warn", "console"},
		Clients:   Clients{[]netip.Prefix{prefix("10.0.0.0/8"), prefix("127.0.0.1/32"), prefix("2001:db8::1/128")}, 200, 50, 9},
		TLS:       TLS{"/c.pem", "/k.pem", "require", "/ca.pem", "/sca.pem"},
		Failover:  Failover{time.Second, time.Second, 2 * time.Second, 3, 4 * time.Second, 5 * time.Millisecond, time.Minute, 1300, 503, 7 * time.Second},
		Health:    base,
		Sessions:  Sessions{90 * time.Minute, 2 * time.Second, 481, Bye, false},
		Drain:     Drain{3 * time.Second, 10 * time.Second},
		Handover:  Handover{"/run/m.sock"},
		CDR:       CDR{"/c.json", []string{"X-A", "x-b"}},
		HEP:       HEP{"tcp://homer.example.com:9060", 7, "hep-secret"},
		OTLP:      OTLP{"https://otel.example.com/v1/traces", 0.25},
		Otherwise: Otherwise{Cluster: "b"},
		Routes: []Route{
			{Name: "one", Cluster: "a", Match: Match{
				UserAgent: &Pattern{Kind: Prefix, Text: "ASR"}, MRCP: &yes, Resource: "speechrecog",
				Source: []netip.Prefix{prefix("10.1.0.0/16")}, User: &Pattern{Kind: Exact, Text: ""},
				// Header names come without case, in order.
				Header: []HeaderMatch{{"x-tenant", &Pattern{Kind: Prefix, Text: "Gold"}}, {"x.foo", &Pattern{Kind: Exact, Text: "V"}}},
			}, Reserve: 5},
			{Name: "two", Cluster: "b"},
		},
		Clusters: []Cluster{
			{Name: "a", Policy: Weighted, Fallback: []string{"b"}, Health: over, QueueLength: 100, SlowStart: 30 * time.Second, Panic: true, Groups: []Group{
				{IDC: "x", Priority: -1, Backends: []Backend{
					{URI: "SIP:tts@10.0.0.1:8060;Transport=TCP", Network: "tcp", Addr: netip.MustParseAddrPort("10.0.0.1:8060"), User: "tts", Capacity: 0, Weight: 0},
					{URI: "sip:Asr.Example.com.;transport=tcp", Network: "tcp", Host: "asr.example.com.", Capacity: 5, Weight: 1},
					{URI: "sip:x@asr.example.com:8060", Network: "udp", Host: "asr.example.com", Port: 8060, User: "x", Capacity: Unlimited, Weight: 1},
					{URI: "sip:[2001:db8::9];transport=tcp", Network: "tcp", Addr: netip.MustParseAddrPort("[2001:db8::9]:5060"), User: "", Capacity: 50, Weight: 3},
				}},
			}},
			{Name: "b", Policy: Hash, HashOn: "header:x-tenant", Fallback: []string{"a"}, Licences: 90, Queue: 300 * time.Millisecond, QueueLength: 7,
				SlowStart: time.Minute, FailbackAfter: 10 * time.Second, FailbackRamp: 20 * time.Second, Spill: Spill{Percent: 30}, Health: base, Groups: []Group{
					{Backends: []Backend{{URI: "sip:10.0.0.1:8060", Network: "udp", Addr: netip.MustParseAddrPort("10.0.0.1:8060"), User: "",
						Capacity: 60, Resources: map[string]int{"speechrecog": 50, "speechsynth": 20}, MaxCPS: 30, Weight: 1}}},
				}},
		},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

func TestAsWritten(t *testing.T) {
	clearEnv(t)
	c := parse(t, `
idc: idc-a
listen: ["udp://127.0.0.10:5060", "tcp://127.0.0.10:5060"]
admin: {listen: "127.0.0.1:9060"}
clients: {allow: [127.0.0.0/8]}
routes:
  - {name: asr, match: {user_agent: ASR_MRCP_CLIENT}, cluster: asr}
clusters:
  - name: asr
    policy: least-load
    groups:
      - idc: idc-a
        backends:
          - {uri: "sip:127.0.0.21:8060;transport=tcp", capacity: 100000}
`)
	if b := c.Clusters[0].Groups[0].Backends[0]; b.Capacity != 100000 || b.Network != "tcp" || b.Addr.String() != "127.0.0.21:8060" {
		t.Errorf("backend %+v", b)
	}
}

func TestAdminOff(t *testing.T) {
	clearEnv(t)
	for _, off := range []string{`""`, `"off"`, `off`} {
		if c := parse(t, "admin: {listen: "+off+"}"+minimal); c.Admin.Listen != "" {
			t.Errorf("listen: %s gives %q", off, c.Admin.Listen)
		}
	}
}

func TestAliases(t *testing.T) {
	clearEnv(t)
	c := parse(t, `
listen: ["udp://127.0.0.1:5060"]
health: &h {interval: 7s, fall: 9}
clusters:
  - name: a
    health: {<<: *h, fall: 4}
    groups: &g [{backends: [{uri: "sip:127.0.0.2"}]}]
  - {name: b, groups: *g}
`)
	if h := c.Clusters[0].Health; h.Interval != 7*time.Second || h.Fall != 4 {
		t.Errorf("health %+v", h)
	}
	if len(c.Clusters[1].Groups) != 1 {
		t.Errorf("groups %+v", c.Clusters[1].Groups)
	}
}

func TestEnvironment(t *testing.T) {
	clearEnv(t)
	for name, value := range map[string]string{
		"MRCPROXY_IDC": "5", "MRCPROXY_LOG_LEVEL": "debug", "MRCPROXY_ADMIN_LISTEN": "off", "MRCPROXY_SECRET": "a secret, with a comma",
		"MRCPROXY_FAILOVER_T1": "200ms", "MRCPROXY_FAILOVER_MAX_ATTEMPTS": "7", "MRCPROXY_HEALTH_JITTER": "1",
		"MRCPROXY_HEALTH_UP_CODES": "200-299,!250", "MRCPROXY_OTHERWISE_REJECT": "503", "MRCPROXY_DATA_DIR": "/env",
		"MRCPROXY_ADVERTISE": "10.0.0.1", "MRCPROXY_SESSIONS_MAX": "1h", "MRCPROXY_SERVICE_PORT": "tcp://10.0.0.1", "MRCPROXY_LOG": "x",
	} {
		t.Setenv(name, value)
	}
	t.Setenv("MRCPROXY_LOG_FORMAT", "") // empty: not set
	for _, text := range []string{minimal, "idc: file\nlog: {level: warn, format: console}\nfailover:\nadmin: {listen: ':1'}\nsecret: [0123456789abcdef]" + minimal} {
		c := parse(t, text)
		if c.IDC != "5" || c.Log.Level != "debug" || c.Admin.Listen != "" || c.Failover.T1 != 200*time.Millisecond ||
			c.Failover.MaxAttempts != 7 || c.Failover.Deadline != 4*time.Second || c.Health.Jitter != 1 || c.Otherwise.Reject != 503 ||
			c.DataDir != "/env" || c.Advertise.String() != "10.0.0.1" || c.Sessions.Max != time.Hour ||
			c.Health.UpCodes.String() != "200-249,251-299" || c.Clusters[0].Health.Jitter != 1 ||
			!reflect.DeepEqual(c.Secret, []string{"a secret, with a comma"}) {
			t.Errorf("got %+v", c)
		}
		if want := strings.Contains(text, "console"); (c.Log.Format == "console") != want {
			t.Errorf("log.format %s", c.Log.Format)
		}
	}
}

func TestDataDir(t *testing.T) {
	clearEnv(t)
	for _, c := range []struct{ state, xdg, root, user string }{
		{"/run/one:/run/two", "", "/run/one", "/run/one"},
		{"", "/xdg", "/var/lib/mrcproxy", "/xdg/mrcproxy"},
		{"", "relative", "/var/lib/mrcproxy", "/home/x/.local/state/mrcproxy"},
		{"", "", "/var/lib/mrcproxy", "/home/x/.local/state/mrcproxy"},
	} {
		t.Setenv("STATE_DIRECTORY", c.state)
		t.Setenv("XDG_STATE_HOME", c.xdg)
		t.Setenv("HOME", "/home/x")
		for root, want := range map[bool]string{true: c.root, false: c.user} {
			if got, err := defaultDataDir(root); err != nil || got != want {
				t.Errorf("%+v, root %v: got %s, %v", c, root, got, err)
			}
		}
	}
	t.Setenv("HOME", "")
	if got, err := defaultDataDir(false); err == nil {
		t.Errorf("without a home: got %s", got)
	}
}

func TestLoad(t *testing.T) {
	clearEnv(t)
	path := filepath.Join(t.TempDir(), "mrcproxy.yaml")
	if _, err := Load(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of no file: %v", err)
	}
	if err := os.WriteFile(path, []byte(minimal+"idc: 5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(path)
	if want := path + ":4: idc: must be a string: put it in quotes"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if e, ok := errors.AsType[*Error](err); !ok || e.Line != 4 || e.Key != "idc" {
		t.Errorf("errors.AsType gives %+v", e)
	}
}

func TestPattern(t *testing.T) {
	for _, c := range []struct {
		text, yes, no string
	}{
		{"abc", "abcd", "ab"},
		{"=abc", "abc", "abcd"},
		{"=", "", "a"},
		{"~b+", "abbc", "ac"},
		{"~^~", "~a", "a"},
	} {
		p, err := parsePattern(c.text)
		if err != nil || p.String() != c.text {
			t.Fatalf("%s: %v, %v", c.text, p, err)
		}
		if !p.Match([]byte(c.yes)) || p.Match([]byte(c.no)) {
			t.Errorf("%s: matches %q: %v, %q: %v", c.text, c.yes, p.Match([]byte(c.yes)), c.no, p.Match([]byte(c.no)))
		}
	}
}

func TestCodeSet(t *testing.T) {
	for _, c := range []struct {
		items []string
		want  string
	}{
		{nil, ""},
		{[]string{"200"}, "200"},
		{[]string{"100-699"}, "100-699"},
		{[]string{"200-499", "!408"}, "200-407,409-499"},
		{[]string{"!408", "200-499"}, "200-499"},
		{[]string{" 200 - 299 , !250", "486"}, "200-249,251-299,486"},
	} {
		if len(c.items) == 0 {
			if got := (CodeSet{}).String(); got != "" {
				t.Errorf("the empty set is %q", got)
			}
			continue
		}
		s, err := ParseCodeSet(c.items...)
		if err != nil || s.String() != c.want {
			t.Errorf("%q: %v, %v", c.items, s, err)
		}
		if again, err := ParseCodeSet(s.String()); err != nil || again != s {
			t.Errorf("%q does not come back: %v, %v", s, again, err)
		}
	}
	s, _ := ParseCodeSet("100-699")
	for code, want := range map[int]bool{-1: false, 0: false, 99: false, 100: true, 699: true, 700: false, 1 << 40: false} {
		if s.Contains(code) != want {
			t.Errorf("Contains(%d) = %v", code, !want)
		}
	}
}
