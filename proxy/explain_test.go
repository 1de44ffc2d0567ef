package proxy

import (
	"net/netip"
	"os"
	"strings"
	"testing"
)

type is string

func (s is) Match(b []byte) bool { return string(b) == string(s) }

func (s is) String() string { return "=" + string(s) }

func fixture(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestExplain: each condition that fails is said with what the INVITE has, and what Explain names is what route takes.
func TestExplain(t *testing.T) {
	invite := fixture(t, "fs-recog-udp-01-INVITE.sip")
	src := netip.MustParseAddr("10.1.0.7")
	no := false
	r := &Routing{
		Routes: []Route{
			{Name: "agent", Cluster: "a", UserAgent: is("x")},
			{Name: "source", Cluster: "b", Source: []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16")}},
			{Name: "user", Cluster: "c", User: is("tts")},
			{Name: "no header", Cluster: "d", Header: []HeaderMatch{{"x-tenant", is("gold")}}},
			{Name: "header", Cluster: "e", Header: []HeaderMatch{{"max-forwards", is("1")}}},
			{Name: "mrcp", Cluster: "f", MRCP: &no},
			{Name: "resource", Cluster: "g", Resource: "speechsynth"},
			{Name: "asr", Cluster: "h", Resource: "speechrecog"},
			{Name: "never asked", Cluster: "i"},
		},
	}
	e, err := Explain(r, invite, src)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`user_agent: "`, "source: 10.1.0.7 is in none of [192.168.0.0/16]", `user: "" does not match =tts`, "header: there is no x-tenant",
		`header: max-forwards: "70" does not match =1`, "mrcp: the SDP offers MRCPv2: true, not false",
		`resource: the SDP asks for ["speechrecog"], not speechsynth`, "",
	}
	if len(e.Steps) != len(want) {
		t.Fatalf("%d steps: %+v", len(e.Steps), e.Steps)
	}
	for i, s := range e.Steps {
		if s.Route != r.Routes[i].Name || !strings.HasPrefix(s.Why, want[i]) || s.Why == "" != (want[i] == "") {
			t.Errorf("step %d: %+v, want %q", i, s, want[i])
		}
	}
	if e.Route != "asr" || e.Cluster != "h" || e.Code != 0 {
		t.Errorf("goes to %+v", e)
	}

	r.Routes = nil
	r.Otherwise = Otherwise{Reject: 488}
	if e, err := Explain(r, invite, src); err != nil || e.Code != 488 {
		t.Errorf("no route: %+v %v", e, err)
	}
	r.Otherwise = Otherwise{Cluster: "z"}
	if e, err := Explain(r, invite, src); err != nil || e.Cluster != "z" || e.Route != "otherwise" {
		t.Errorf("otherwise: %+v %v", e, err)
	}
	r.Allow = []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16")}
	if e, err := Explain(r, invite, src); err != nil || e.Code != 403 {
		t.Errorf("not allowed: %+v %v", e, err)
	}
}

func TestExplainNoInvite(t *testing.T) {
	for name, want := range map[string]string{
		"fs-recog-udp-03-200-INVITE.sip":           "a response",
		"fs-recog-udp-05-BYE.sip":                  "not an INVITE",
		"fs-session-refresh-se120-01-reINVITE.sip": "within a session",
	} {
		if _, err := Explain(&Routing{}, fixture(t, name), netip.Addr{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Explain(&Routing{}, []byte("GET / HTTP/1.1\r\n\r\n"), netip.Addr{}); err == nil {
		t.Error("HTTP passes for SIP")
	}
}
