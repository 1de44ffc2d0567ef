package app

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"mrcproxy/config"
	"mrcproxy/internal/resolver"
)

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse("f.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// to are targets written as address, or address, priority and weight.
func to(t *testing.T, texts ...string) []resolver.Target {
	t.Helper()
	var l []resolver.Target
	for _, text := range texts {
		var addr string
		var target resolver.Target
		_, _ = fmt.Sscan(text, &addr, &target.Priority, &target.Weight)
		target.Addr = netip.MustParseAddrPort(addr)
		l = append(l, target)
	}
	return l
}

// TestExpansion: what stands in the place of names, in which group, with which weight, and what is left out.
func TestExpansion(t *testing.T) {
	c := parse(t, `
data_dir: /tmp
listen: ["udp://10.9.9.9:5060", "tcp://[2001:db8::9]:5060"]
clusters:
  - name: a
    groups:
      - idc: x
        priority: 3
        backends:
          - {uri: "sip:10.0.0.1:8060", capacity: 5}
          - {uri: "sip:tts@asr.test", capacity: 7, weight: 2}
          - {uri: "sip:plain.test:8060"}
          - {uri: "sip:six.test;transport=tcp", weight: 0}
      - idc: y
        backends: [{uri: "sip:missing.test"}, {uri: "sip:10.0.0.9"}]
  - name: b
    groups: [{backends: [{uri: "sip:plain.test:8060"}]}]
`)
	names := namesOf(c)
	want := []resolver.Name{
		{Host: "asr.test", Network: "udp", IPv4: true}, {Host: "plain.test", Port: 8060, Network: "udp", IPv4: true},
		{Host: "six.test", Network: "tcp", IPv6: true}, {Host: "missing.test", Network: "udp", IPv4: true},
		{Host: "plain.test", Port: 8060, Network: "udp", IPv4: true},
	}
	if !slices.Equal(names, want) {
		t.Errorf("names %+v, want %+v", names, want)
	}
	dns := map[resolver.Name][]resolver.Target{
		names[0]: to(t, "10.0.0.2:8060 10 60", "10.0.0.3:8060 10 0", "10.0.0.1:8060 10 5", "10.0.0.4:8060 20 100", "10.0.0.5:8060 20 50", "10.0.0.6:8060 30 9"),
		names[1]: to(t, "10.0.0.2:8060", "10.0.0.9:5060", "10.0.0.8:8060", "10.9.9.9:5060"),
		names[2]: to(t, "[2001:db8::1]:5060"),
	}
	spec, skipped := balancerSpec(c, func(n resolver.Name) []resolver.Target { return dns[n] })
	var got []string
	for _, cs := range spec.Clusters {
		for _, g := range cs.Groups {
			line := fmt.Sprintf("%s %s %d:", cs.Name, g.IDC, g.Priority)
			for _, b := range g.Backends {
				line += fmt.Sprintf(" %s(%s %s %q %d*%d)", strings.TrimPrefix(b.URI, "sip:"), b.Network, b.Addr, b.User, b.Capacity, b.Weight)
			}
			got = append(got, line)
		}
	}
	lines := []string{
		`a x 3: 10.0.0.1:8060(udp 10.0.0.1:8060 "" 5*1) tts@10.0.0.2:8060(udp 10.0.0.2:8060 "tts" 7*120) tts@10.0.0.3:8060(udp 10.0.0.3:8060 "tts" 7*2) ` +
			`10.0.0.8:8060(udp 10.0.0.8:8060 "" -1*1) [2001:db8::1]:5060;transport=tcp(tcp [2001:db8::1]:5060 "" -1*0)`,
		`a x 3: tts@10.0.0.4:8060(udp 10.0.0.4:8060 "tts" 7*4) tts@10.0.0.5:8060(udp 10.0.0.5:8060 "tts" 7*2)`,
		`a x 3: tts@10.0.0.6:8060(udp 10.0.0.6:8060 "tts" 7*2)`,
		`a y 0: 10.0.0.9(udp 10.0.0.9:5060 "" -1*1)`,
		`b  0: 10.0.0.2:8060(udp 10.0.0.2:8060 "" -1*1) 10.0.0.9:5060(udp 10.0.0.9:5060 "" -1*1) 10.0.0.8:8060(udp 10.0.0.8:8060 "" -1*1)`,
	}
	if !slices.Equal(got, lines) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(lines, "\n"))
	}
	left := []string{
		"clusters[a]: sip:tts@asr.test: 10.0.0.1:8060 is in the cluster already, for sip:10.0.0.1:8060",
		"clusters[a]: sip:plain.test:8060: 10.0.0.2:8060 is in the cluster already, for sip:tts@asr.test",
		"clusters[a]: sip:plain.test:8060: 10.0.0.9:5060 is in the cluster already, for sip:10.0.0.9",
		"clusters[a]: sip:plain.test:8060: 10.9.9.9:5060 is an address this proxy listens on",
		"clusters[b]: sip:plain.test:8060: 10.9.9.9:5060 is an address this proxy listens on",
	}
	if !slices.Equal(skipped, left) {
		t.Errorf("left out\n%s\nwant\n%s", strings.Join(skipped, "\n"), strings.Join(left, "\n"))
	}
}
