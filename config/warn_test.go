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
		"a fallback that is too small for a resource": {
			"otherwise: {cluster: c}\nclusters: [{name: c, groups: [{idc: a, backends: [{uri: \"sip:10.0.0.1\", capacity: {speechrecog: 50, speechsynth: 20}}]}, {idc: b, backends: [{uri: \"sip:10.0.0.2\", capacity: {speechrecog: 30, speechsynth: 20, total: 40}}]}]}]",
			[]string{"clusters[c]: its servers in a have 50 places for speechrecog, its other groups and its fallbacks 30"},
		},
		"a fallback that has too few licences": {
			"otherwise: {cluster: c}\nclusters: [{name: c, licences: 40, fallback: [d], groups: [{idc: a, backends: [{uri: \"sip:10.0.0.1\", capacity: 50}]}]}, {name: d, licences: 30, groups: [{backends: [{uri: \"sip:10.0.0.2\", capacity: 90}]}]}]",
			[]string{"clusters[c]: its servers in a have 40 places, its other groups and its fallbacks 30"},
		},
		"a route that leaves everything to others": {
			clusters + "routes: [{name: one, match: {user: a}, cluster: c, reserve: 4}, {name: two, match: {user: b}, cluster: c, reserve: 5}]",
			[]string{"routes[two] gets no sessions: it leaves 5 places free"},
		},
		"or everything of a resource": {
			"routes: [{name: one, match: {resource: speechrecog}, cluster: c, reserve: 3}, {name: two, match: {resource: speechsynth}, cluster: c, reserve: 3}]\nclusters: [{name: c, groups: [{backends: [{uri: \"sip:10.0.0.1\", capacity: {speechrecog: 3}}]}]}]",
			[]string{"routes[one] gets no sessions"},
		},
		"resources that there are not": {
			`clusters: [{name: c, groups: [{idc: a, backends: [{uri: "sip:10.0.0.1", capacity: {speechrec: 5, SpeechSynth: 2, total: 6}}]}]}]` + "\nroutes: [{name: one, match: {resource: speechsynt}, cluster: c}, {name: two, match: {resource: SpeechRecog}, cluster: c}]",
			[]string{`routes[one].match.resource: RFC 6787 has no resource "speechsynt": the route`, `clusters[c].backends[sip:10.0.0.1].capacity: RFC 6787 has no resource "speechrec": it limits`},
		},
		"times that are too short": {
			clusters + "otherwise: {cluster: c}\nfailover: {t1: 500ms, deadline: 5s}\ndrain: {timeout: 4999ms}",
			[]string{"failover.t1, 500ms, is not shorter", "drain.timeout, 4.999s, is shorter"},
		},
		"an IDC without servers": {
			"otherwise: {cluster: c}\n" + strings.Replace(clusters, "idc: a", "idc: b", 1), []string{"idc: no group is in a:"},
		},
		"an API that nobody gets": {
			clusters + "otherwise: {cluster: c}\nadmin: {listen: \":9060\"}", []string{"admin.listen, :9060, is not loopback"},
		},
		"one for who has its token": {
			clusters + "otherwise: {cluster: c}\nadmin: {listen: \"10.0.0.9:9060\", token: 0123456789abcdef}", nil,
		},
		"one on the loopback of IPv6": {
			clusters + "otherwise: {cluster: c}\nadmin: {listen: \"[::1]:9060\"}", nil,
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
