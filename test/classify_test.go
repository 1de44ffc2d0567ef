package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

// TestRoutes: the first route whose conditions all hold names the cluster. Each cluster has one server, which tells.
func TestRoutes(t *testing.T) {
	l := newLab(t)
	names := []string{"exact", "regexp", "vendor", "user", "header", "source", "synth", "mrcp"} // hosts 21, 22, …
	hosts := map[string]string{}                                                                // by cluster
	var clusters strings.Builder
	for i, name := range names {
		l.simServer(21+i, sim.ServerOptions{})
		hosts[name] = l.ip(21+i) + ":8060"
		fmt.Fprintf(&clusters, "  - {name: %s, groups: [{backends: [{uri: \"sip:%s:8060\"}]}]}\n", name, l.ip(21+i))
	}
	d := l.start(l.head() + `
routes:
  - {name: to-exact, match: {user_agent: "=ASR_ONE"}, cluster: exact}
  - {name: to-regexp, match: {user_agent: "~^TTS_[0-9]+$"}, cluster: regexp}
  - {name: to-vendor, match: {user_agent: ASR_ONE, mrcp: true}, cluster: vendor}
  - {name: to-user, match: {user: "=gold"}, cluster: user}
  - {name: to-header, match: {header: {X-Tenant: "~^(a|b)$", x-kind: asr}}, cluster: header}
  - {name: to-source, match: {source: ["` + l.ip(7) + `", 10.0.0.0/8], mrcp: true}, cluster: source}
  - {name: to-synth, match: {resource: speechsynth}, cluster: synth}
  - {name: to-mrcp, match: {mrcp: true}, cluster: mrcp}
otherwise: {reject: 488}
clusters:
` + clusters.String())
	d.await("all are up", 10*time.Second, func() bool { return d.up() == len(names) })

	proxy := "sip:%s@" + l.proxyAddr()
	phone := "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\na=resource:speechsynth\r\n"
	tls := strings.Replace(offer("speechrecog"), "TCP/MRCPv2", "TCP/TLS/MRCPv2", 1)
	both := offer("speechrecog") + "m=application 9 TCP/MRCPv2 1\r\na=setup:active\r\na=connection:new\r\na=resource:SpeechSynth\r\na=cmid:1\r\n"
	went, rejected := map[string]string{}, 0 // clusters by Call-ID
	for _, c := range []struct {
		name string
		r    rawRequest
		host int
		want string // "" is 488
	}{
		{"User-Agent, exactly", rawRequest{ua: "ASR_ONE"}, 5, "exact"},
		{"User-Agent with a version: prefix", rawRequest{ua: "ASR_ONE 1.8.0"}, 5, "vendor"},
		{"prefix, but no MRCP", rawRequest{ua: "ASR_ONE 1.8.0", body: phone}, 5, ""},
		{"User-Agent, case counts", rawRequest{ua: "asr_one"}, 5, "mrcp"},
		{"User-Agent, regexp", rawRequest{ua: "TTS_42"}, 5, "regexp"},
		{"User-Agent, regexp is anchored", rawRequest{ua: "TTS_42x"}, 5, "mrcp"},
		{"user part", rawRequest{uri: fmt.Sprintf(proxy, "gold")}, 5, "user"},
		{"another user part", rawRequest{uri: fmt.Sprintf(proxy, "golden")}, 5, "mrcp"},
		{"headers", rawRequest{lines: "x-tenant: b\r\nX-Kind:  asr-2\r\n"}, 5, "header"},
		{"one header of two", rawRequest{lines: "X-Tenant: b\r\n"}, 5, "mrcp"},
		{"header of another value", rawRequest{lines: "X-Tenant: c\r\nX-Kind: asr\r\n"}, 5, "mrcp"},
		{"source", rawRequest{}, 7, "source"},
		{"source, before resource", rawRequest{body: offer("speechsynth")}, 7, "source"},
		{"source, no MRCP", rawRequest{body: phone}, 7, ""},
		{"resource", rawRequest{body: offer("speechsynth")}, 5, "synth"},
		{"resource, the second of two", rawRequest{body: both}, 5, "synth"},
		{"resource of what is no MRCP", rawRequest{body: phone}, 5, ""},
		{"MRCPv2", rawRequest{}, 5, "mrcp"},
		{"MRCPv2 over TLS", rawRequest{body: tls}, 5, "mrcp"},
		{"no SDP at all", rawRequest{body: "hello\r\n"}, 5, ""},
	} {
		for _, network := range []string{"udp", "tcp"} {
			t.Run(network+" "+c.name, func(t *testing.T) {
				p := l.dial(network, c.host)
				p.t = t
				if callID := p.goesTo(c.r, hosts[c.want]); c.want != "" {
					went[callID] = c.want
				} else {
					rejected++
				}
			})
		}
	}
	if got := sum(d.metrics(), "mrcproxy_dropped_total", `reason="no_route"`); int(got) != rejected {
		t.Errorf("%v INVITEs without a route were counted, want %d", got, rejected)
	}
	d.await("the log has all sessions", 10*time.Second, func() bool { return d.lines(`"msg":"session"`) == len(went) })
	for callID, name := range went {
		if !d.logged(`"call_id":"`+callID+`"`, `"route":"to-`+name+`"`, `"cluster":"`+name+`"`, `"backend":"sip:`+hosts[name]+`"`) {
			t.Errorf("the log does not say that %s was routed to %s", callID, name)
		}
	}
}

// goesTo places one session and ends it, and checks the server that it reached; "" when it has to be rejected with 488.
func (p *rawPeer) goesTo(r rawRequest, server string) (callID string) {
	p.t.Helper()
	if server == "" {
		a := p.ask(r)
		if a.code != 488 || !strings.Contains(a.value("Warning"), "no route matches") {
			p.t.Errorf("want 488 with a Warning, got\n%s", a.head)
		}
		return ""
	}
	s := p.establish(r)
	if s.server != server {
		p.t.Errorf("it went to %s, want %s", s.server, server)
	}
	s.bye()
	return s.callID
}

// TestOtherwise: what no route matches goes to the cluster named, or is rejected with the code named; a reload changes it.
func TestOtherwise(t *testing.T) {
	l := newLab(t)
	l.simServer(21, sim.ServerOptions{})
	file := l.head() + `
clients: {allow: ["` + l.ip(5) + `/32"]}
routes:
  - {name: none, match: {user: "=nobody"}, cluster: asr}
otherwise: {cluster: asr}
clusters:
  - {name: asr, groups: [{backends: [{uri: "sip:` + l.ip(21) + `:8060"}]}]}
`
	d := l.start(file)
	p := l.dial("udp", 5)
	p.establish(rawRequest{}).bye()
	if a := l.dial("udp", 6).ask(rawRequest{}); a.code != 403 {
		t.Errorf("a client that is not allowed: want 403, got\n%s", a.head)
	}
	d.write(strings.Replace(file, "otherwise: {cluster: asr}", "otherwise: {reject: 603}", 1))
	if code, text := d.post("/-/reload"); code != 200 {
		t.Fatalf("reload: %d %s", code, text)
	}
	if a := p.ask(rawRequest{}); a.code != 603 {
		t.Errorf("want 603, got\n%s", a.head)
	}
}
