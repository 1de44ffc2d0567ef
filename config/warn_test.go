package config

import (
	"slices"
	"strings"
	"testing"
)

func TestWarnings(t *testing.T) {
	clearEnv(t)
	const head = "idc: a\nlisten: [\"udp://10.0.0.9:5060\"]\n"
	const clusters = `clusters: [{name: c, groups: [{idc: a, backends: [{uri: "sip:10.0.0.1", capacity: 5}]}]}]` + "\n"
	for name, tc := range map[string]struct {
		text string
		want []string // how the warnings begin
	}{
		"a longer prefix behind a shorter": {
			clusters + "routes: [{name: one, match: {user_agent: ASR}, cluster: c}, {name: two, match: {user_agent: ASR_BAIDU}, cluster: c}, {name: three, match: {user_agent: \"=ASR_X\", user: x}, cluster: c}]",
			[]string{"routes[two] is never reached", "routes[three] is never reached"},
		},
		"a shorter prefix behind a longer": {
			clusters + "routes: [{name: one, match: {user_agent: ASR_BAIDU}, cluster: c}, {name: two, match: {user_agent: ASR}, cluster: c}]", nil,
		},
		"a resource is MRCP": {
			clusters + "routes: [{name: one, match: {mrcp: true}, cluster: c}, {name: two, match: {resource: speechsynth}, cluster: c}, {name: three, match: {mrcp: false}, cluster: c}]",
			[]string{"routes[two] is never reached"},
		},
		"networks": {
			clusters + "routes: [{name: one, match: {source: [10.1.0.0/16, 10.2.0.0/16]}, cluster: c}, {name: two, match: {source: 10.2.3.4}, cluster: c}, {name: three, match: {source: [10.2.3.0/24, 10.3.0.0/16]}, cluster: c}]",
			[]string{"routes[two] is never reached"},
		},
		"headers and patterns": {
			clusters + `routes: [{name: one, match: {header: {x: "~^g"}}, cluster: c}, {name: two, match: {header: {x: "=gold", y: z}}, cluster: c}, {name: three, match: {header: {y: z}}, cluster: c}, {name: four, match: {header: {x: "~^g.$"}}, cluster: c}, {name: five, match: {header: {x: "gx"}}, cluster: c}]`,
			[]string{"routes[two] is never reached", "routes[five] is never reached"},
		},
		"a cluster that nothing leads to": {
			"otherwise: {cluster: c}\nclusters: [{name: c, fallback: [d], groups: [{backends: [{uri: \"sip:10.0.0.1\"}]}]}, {name: d, groups: [{backends: [{uri: \"sip:10.0.0.2\"}]}]}, {name: e, groups: [{backends: [{uri: \"sip:10.0.0.3\"}]}]}]",
			[]string{"clusters[e] is never used"},
		},
		"servers without sessions": {
			"otherwise: {cluster: c}\nclusters: [{name: c, groups: [{backends: [{uri: \"sip:10.0.0.1\", capacity: 0}, {uri: \"sip:10.0.0.2\", weight: 0}, {uri: \"sip:10.0.0.3\"}]}]}]",
			[]string{"clusters[c].backends[sip:10.0.0.1] gets no sessions: its capacity", "clusters[c].backends[sip:10.0.0.2] gets no sessions: its weight"},
		},
		"a fallback that is too small": {
			"otherwise: {cluster: c}\nclusters: [{name: c, fallback: [d], groups: [{idc: b, backends: [{uri: \"sip:10.0.0.4\", capacity: 10}]}, {idc: a, backends: [{uri: \"sip:10.0.0.1\", capacity: 50}]}]}, {name: d, groups: [{backends: [{uri: \"sip:10.0.0.2\", capacity: 39}]}]}]",
			[]string{"clusters[c]: its servers in a have 50 places, its other groups and its fallbacks 49"},
		},
		"a fallback that is large enough": {
			"otherwise: {cluster: c}\nclusters: [{name: c, fallback: [d], groups: [{idc: a, backends: [{uri: \"sip:10.0.0.1\", capacity: 50}]}]}, {name: d, fallback: [c], groups: [{backends: [{uri: \"sip:10.0.0.2\"}]}]}]", nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := Warnings(parse(t, head+tc.text))
			if !slices.EqualFunc(got, tc.want, strings.HasPrefix) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
