package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

const diffBase = `
idc: sh-a
listen: ["udp://10.1.0.5:5060", "tcp://10.1.0.5:5060"]
secret: the-first-secret-of-all
log: {level: info, format: json}
clients: {allow: [10.0.0.0/8]}
health: {interval: 2s}
routes:
  - {name: baidu, match: {user_agent: BAIDU, header: {X-A: "=b"}}, cluster: baidu}
  - {name: tts, match: {resource: speechsynth, source: 10.1.0.0/16}, cluster: ali}
clusters:
  - name: baidu
    fallback: [ali]
    groups:
      - idc: sh-a
        backends:
          - {uri: "sip:10.1.1.180:8060", capacity: 50}
          - {uri: "sip:10.1.1.181:8060", capacity: 50}
          - {uri: "sip:10.1.1.182:8060", capacity: 50}
      - idc: sh-b
        backends: [{uri: "sip:10.2.1.188:8060"}]
  - name: ali
    health: {fall: 5}
    groups: [{backends: [{uri: "sip:10.1.2.10"}]}, {backends: [{uri: "sip:10.1.2.11"}]}]
`

func TestDiff(t *testing.T) {
	clearEnv(t)
	for _, c := range []struct {
		name    string
		replace []string // old and new texts in diffBase
		want    []string
		restart []string
	}{
		{"nothing", nil, nil, nil},
		{"layout only", []string{"[10.0.0.0/8]", "[\"10.0.0.0/8\"]", "interval: 2s", "interval: 2000ms"}, nil, nil},
		{"scalars", []string{"idc: sh-a\nl", "l", "level: info", "level: debug", "interval: 2s", "interval: 5m, hold_for: 0s", "[10.0.0.0/8]", "[10.0.0.0/8, 127.0.0.1]"},
			[]string{
				"idc: sh-a -> (none)", "log.level: info -> debug", "clients.allow: 10.0.0.0/8 -> 10.0.0.0/8, 127.0.0.1/32",
				"health.interval: 2s -> 5m", "health.hold_for: 1s -> 0s",
			}, nil},
		{"restart", []string{
			"\nlisten: [", "\ndata_dir: /x\nadvertise: 10.0.0.1\nadmin: {listen: off}\notherwise: {cluster: ali}\nfailover: {connect_timeout: 2s}\nlisten: [\"tcp://[::1]:5060\", ",
			"json", "console", "the-first", "[the-next-secret-of-all, the-first", "of-all\nlog", "of-all]\nlog",
		},
			[]string{
				"listen: udp://10.1.0.5:5060, tcp://10.1.0.5:5060 -> tcp://[::1]:5060, udp://10.1.0.5:5060, tcp://10.1.0.5:5060", "advertise: (none) -> 10.0.0.1",
				"data_dir: /var/lib/test -> /x", "admin.listen: 127.0.0.1:9060 -> (none)", "log.format: json -> console",
				"failover.connect_timeout: 1s -> 2s", "handover.socket: /var/lib/test/handover.sock -> /x/handover.sock", "otherwise.reject: 488 -> (none)", "otherwise.cluster: (none) -> ali",
				"secret: changed",
			},
			[]string{"listen", "advertise", "secret", "data_dir", "admin.listen", "handover.socket", "log.format", "failover.connect_timeout"}},
		{"routes", []string{"name: tts", "name: mrcp", "BAIDU", "~^BAIDU", "\"=b\"", "c, X-B: d", "}}, cluster: baidu", "}, mrcp: true, user: \"=x\"}, cluster: ali"},
			[]string{
				"routes: removed tts", "routes: added mrcp", "routes[baidu].match.user_agent: BAIDU -> ~^BAIDU",
				"routes[baidu].match.mrcp: (none) -> true", "routes[baidu].match.user: (none) -> =x",
				"routes[baidu].match.header: x-a: =b -> x-a: c, x-b: d", "routes[baidu].cluster: baidu -> ali",
			}, nil},
		{"order of routes", []string{"routes:\n", "routes:\n  - {name: tts, match: {resource: speechsynth, source: 10.1.0.0/16}, cluster: ali}\n",
			"cluster: baidu}\n  - {name: tts, match: {resource: speechsynth, source: 10.1.0.0/16}, cluster: ali}\n", "cluster: baidu}\n"},
			[]string{"routes: order changed: tts, baidu"}, nil},
		{"clusters", []string{"fallback: [ali]", "policy: weighted\n    health: {rise: 9}", "fall: 5", "fall: 6"},
			[]string{
				"clusters[baidu].policy: least-load -> weighted", "clusters[baidu].fallback: ali -> (none)",
				"clusters[baidu].health.rise: 2 -> 9", "clusters[ali].health.fall: 5 -> 6",
			}, nil},
		{"a cluster added", []string{"clusters:", "clusters:\n  - {name: new, groups: [{backends: [{uri: \"sip:10.9.9.9\"}]}]}"},
			[]string{"clusters: added new"}, nil},
		{"health that clusters follow or not", []string{"interval: 2s", "fall: 4"},
			[]string{"health.fall: 3 -> 4"}, nil},
		{"backends", []string{"180:8060\", capacity: 50", "180:8060\", capacity: 80, weight: 2", "181:8060\"", "181:8060;transport=tcp\"", "188:8060\"", "188:8060\", capacity: 5"},
			[]string{
				"clusters[baidu].backends: removed sip:10.1.1.181:8060", "clusters[baidu].backends: added sip:10.1.1.181:8060;transport=tcp",
				"clusters[baidu].backends[sip:10.1.1.180:8060].capacity: 50 -> 80", "clusters[baidu].backends[sip:10.1.1.180:8060].weight: 1 -> 2",
				"clusters[baidu].backends[sip:10.2.1.188:8060].capacity: (none) -> 5",
			}, nil},
		{"order of backends", []string{"180:8060", "?", "182:8060", "180:8060", "?", "182:8060"},
			[]string{"clusters[baidu].groups[sh-a].backends: order changed: sip:10.1.1.182:8060, sip:10.1.1.181:8060, sip:10.1.1.180:8060"}, nil},
		{"a backend moved", []string{"          - {uri: \"sip:10.1.1.181:8060\", capacity: 50}\n", "", "[{uri: \"sip:10.2.1.188:8060\"}]", "[{uri: \"sip:10.2.1.188:8060\"}, {uri: \"sip:10.1.1.181:8060\", capacity: 50}]"},
			[]string{"clusters[baidu].backends[sip:10.1.1.181:8060].group: sh-a -> sh-b"}, nil},
		{"groups", []string{"idc: sh-b", "idc: sh-c\n        priority: 5", "[{backends: [{uri: \"sip:10.1.2.10\"}]}, ", "[{priority: 1, backends: [{uri: \"sip:10.1.2.10\"}]}, "},
			[]string{
				"clusters[baidu].groups: removed sh-b", "clusters[baidu].groups: added sh-c",
				"clusters[baidu].backends[sip:10.2.1.188:8060].group: sh-b -> sh-c", "clusters[ali].groups[#1].priority: 0 -> 1",
			}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := diffBase
			for i := 0; i < len(c.replace); i += 2 {
				if !strings.Contains(text, c.replace[i]) {
					t.Fatalf("no %q in the text", c.replace[i])
				}
				text = strings.Replace(text, c.replace[i], c.replace[i+1], 1)
			}
			old, changed := parse(t, diffBase), parse(t, text)
			got := Diff(old, changed)
			if !slices.Equal(got, c.want) {
				t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(c.want, "\n\t"))
			}
			if restart := NeedsRestart(old, changed); !slices.Equal(restart, c.restart) {
				t.Errorf("restart for %q, want %q", restart, c.restart)
			}
			if (len(got) == 0) != reflect.DeepEqual(old, changed) {
				t.Errorf("%d lines, but equal: %v", len(got), reflect.DeepEqual(old, changed))
			}
			if back := Diff(changed, old); len(back) == 0 && len(got) > 0 {
				t.Error("no lines for the way back")
			}
			if strings.Contains(strings.Join(got, "\n"), "-secret-") {
				t.Error("a secret is shown")
			}
		})
	}
}

// TestDiffSeesEverything changes each value of a configuration in turn: none may change unseen.
func TestDiffSeesEverything(t *testing.T) {
	clearEnv(t)
	const file = "testdata/full.yaml"
	base, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	leaves := 0
	for n := 0; ; n++ {
		c, err := Load(file)
		if err != nil {
			t.Fatal(err)
		}
		left := n
		name, ok := changeLeaf("", reflect.ValueOf(c).Elem(), &left)
		if !ok {
			break
		}
		leaves++
		if len(Diff(base, c)) == 0 {
			t.Errorf("a change of %s is not seen", name)
		}
	}
	if leaves < 60 {
		t.Errorf("only %d values tried", leaves)
	}
}

// changeLeaf changes the value number *n below v.
func changeLeaf(path string, v reflect.Value, n *int) (string, bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() || v.Type().Elem().PkgPath() == "regexp" {
			return "", false
		}
		return changeLeaf(path, v.Elem(), n)
	case reflect.Slice:
		for i := range v.Len() {
			if name, ok := changeLeaf(index(path, i), v.Index(i), n); ok {
				return name, true
			}
		}
		return "", false
	case reflect.Struct:
		if v.NumField() > 0 && !v.Type().Field(0).IsExported() { // netip, CodeSet
			if v.IsZero() {
				return "", false
			}
			break
		}
		for i := range v.NumField() {
			f := v.Type().Field(i).Name
			if v.Type() == reflect.TypeFor[Backend]() && slices.Contains([]string{"Network", "Addr", "Host", "Port", "User"}, f) {
				continue // follow from URI
			}
			if name, ok := changeLeaf(path+"."+f, v.Field(i), n); ok {
				return name, true
			}
		}
		return "", false
	}
	if v.Kind() == reflect.Map && v.IsNil() {
		return "", false
	}
	if *n--; *n >= 0 {
		return "", false
	}
	switch v.Kind() {
	case reflect.Map:
		k := v.MapKeys()[0]
		v.SetMapIndex(k, reflect.ValueOf(int(v.MapIndex(k).Int())+1))
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Float64:
		v.SetFloat(v.Float() + 0.125)
	case reflect.Struct:
		v.SetZero()
	case reflect.Uint8:
		v.SetUint(v.Uint() ^ 1)
	default:
		v.SetInt(v.Int() + 1)
	}
	return path, true
}
