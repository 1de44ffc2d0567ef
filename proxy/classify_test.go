package proxy

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mrcproxy/proxy/message"
)

type prefix string

func (p prefix) Match(b []byte) bool { return strings.HasPrefix(string(b), string(p)) }

// TestRoute: the first route whose conditions all hold.
func TestRoute(t *testing.T) {
	yes, no := true, false
	r := &Routing{Routes: []Route{
		{Name: "header", Cluster: "h", Header: []HeaderMatch{{"x-tenant", prefix("acme")}, {"subject", prefix("")}}},
		{Name: "user", Cluster: "u", User: prefix("bot")},
		{Name: "baidu", Cluster: "baidu", UserAgent: prefix("ASR_MRCP_CLIENT_FS_BAIDU"), Resource: "speechrecog"},
		{Name: "source", Cluster: "lab", Source: []netip.Prefix{netip.MustParsePrefix("127.0.0.122/32")}, MRCP: &yes},
		{Name: "tts", Cluster: "tts", Resource: "speechsynth"},
		{Name: "asr", Cluster: "ali", MRCP: &yes},
		{Name: "calls", Cluster: "pbx", MRCP: &no, UserAgent: prefix("phone")},
	}}
	src := netip.MustParseAddr("127.0.0.131")
	tests := []struct {
		name, fixture, change, to string
		src                       netip.Addr
		want                      string
	}{
		{"baidu", "fs-recog-udp-01-INVITE", "", "", src, "baidu"},
		{"another User-Agent", "fs-recog-udp-01-INVITE", "ASR_MRCP_CLIENT_FS_BAIDU", "FS", src, "asr"},
		{"no User-Agent", "fs-recog-udp-01-INVITE", "User-Agent:", "X-Agent:", src, "asr"},
		{"tts", "fs-tts-udp-01-INVITE", "", "", src, "tts"},
		{"both, one User-Agent", "raw-both-resources-udp-01-INVITE", "", "", src, "baidu"},
		{"both, none", "raw-both-resources-udp-01-INVITE", "ASR_MRCP_CLIENT_FS_BAIDU", "x", src, "tts"},
		{"source", "fs-recog-udp-01-INVITE", "ASR_MRCP_CLIENT_FS_BAIDU", "FS", netip.MustParseAddr("127.0.0.122"), "source"},
		{"user", "fs-recog-udp-01-INVITE", "sip:127.0.0.11", "sip:bot7@127.0.0.11", src, "user"},
		{"header", "fs-recog-udp-01-INVITE", "Max-Forwards", "x-TENANT : acme corp\r\ns: x\r\nMax-Forwards", src, "header"},
		{"one header only", "fs-recog-udp-01-INVITE", "Max-Forwards", "x-TENANT : acme corp\r\nMax-Forwards", src, "baidu"},
		{"TLS", "fs-tts-udp-01-INVITE", "TCP/MRCPv2", "TCP/TLS/MRCPv2", src, "tts"},
		{"lower case", "fs-tts-udp-01-INVITE", "a=resource:speechsynth", "a=resource:SpeechSynth", src, "tts"},
		{"MRCPv1", "fs-tts-udp-01-INVITE", "TCP/MRCPv2", "TCP/MRCPv1", src, ""},
		{"no MRCP", "fs-tts-udp-01-INVITE", "User-Agent: ", "User-Agent: phone ", src, "tts"},
		{"audio only", "fs-tts-udp-01-INVITE", "m=application", "m=message", src, ""},
		{"broken SDP", "fs-tts-udp-01-INVITE", "v=0", "v=x", src, ""},
		{"no SDP", "fs-tts-udp-01-INVITE", "application/sdp", "text/plain", src, ""},
		{"SDP with parameters", "fs-tts-udp-01-INVITE", "application/sdp", "Application/SDP;charset=x", src, "tts"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join("testdata", tt.fixture+".sip"))
			if err != nil {
				t.Fatal(err)
			}
			text := strings.ReplaceAll(string(b), tt.change, tt.to)
			if tt.change == "" {
				text = string(b)
			}
			text = strings.Replace(text, "Content-Length: ", "X-Length: ", 1)
			var m message.Message
			if err := m.Scan([]byte(text)); err != nil {
				t.Fatal(err)
			}
			name, _, ok := r.route(&m, tt.src, new(offer))
			if tt.want == "" {
				if ok || name != "otherwise" {
					t.Errorf("%q", name)
				}
			} else if !ok || name != tt.want {
				t.Errorf("%q %v, want %q", name, ok, tt.want)
			}
		})
	}
}

// TestUnroutable: an INVITE that no route matches is refused, or goes to the cluster for all others.
func TestUnroutable(t *testing.T) {
	nothing := []Route{{Name: "x", Cluster: "asr", UserAgent: prefix("nobody")}}
	inLab(t, setup{routing: func(r *Routing) { r.Routes, r.Otherwise = nothing, Otherwise{Reject: 488} }}, func(l *lab) {
		c := l.udp(freeswitch)
		inv := c.invite("fs-recog-udp-01-INVITE")
		final := c.recv("488")
		if final.get("Warning") == "" || l.leases() != 0 || len(l.obs.unroutable) != 1 {
			t.Errorf("%v\n%s", l.obs.unroutable, final)
		}
		c.send(inv) // its retransmission gets the same, and counts once
		if again := c.recv("488"); again.String() != final.String() || len(l.obs.unroutable) != 1 {
			t.Errorf("\n%s", again)
		}
		c.send(inv.clone().rename("CANCEL"))
		c.recv("200 CANCEL")
		c.send(inv.clone().rename("ACK").set("To", final.get("To")))
	})
	inLab(t, setup{routing: func(r *Routing) { r.Routes, r.Otherwise = nothing, Otherwise{Cluster: "asr"} }}, func(l *lab) {
		d := l.call(l.udp(freeswitch), l.udp(serverA))
		if l.obs.invites[0].Route != "otherwise" {
			t.Errorf("%+v", l.obs.invites[0])
		}
		d.bye()
	})
	inLab(t, setup{routing: func(r *Routing) { r.Routes[0].Cluster = "gone" }}, func(l *lab) {
		c := l.udp(freeswitch)
		inv := c.invite("fs-recog-udp-01-INVITE")
		final := c.recv("480")
		if final.get("Reason") != `SIP;cause=480;text="cluster 'gone': unknown"` {
			t.Errorf("\n%s", final)
		}
		c.send(inv.clone().rename("ACK").set("To", final.get("To")))
	})
}
