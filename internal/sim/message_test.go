package sim

import (
	"net/netip"
	"slices"
	"testing"
)

func TestSplitList(t *testing.T) {
	for in, want := range map[string][]string{
		"":                       {""},
		"a, b":                   {"a", "b"},
		`"x, \", y" <sip:a,b>,c`: {`"x, \", y" <sip:a,b>`, "c"},
	} {
		if got := splitList(in); !slices.Equal(got, want) {
			t.Errorf("%q split into %q, want %q", in, got, want)
		}
	}
}

func TestParamsOfValuesAndURIs(t *testing.T) {
	if got := param("<sip:a;tag=uri>; TAG = x ;y", "tag"); got != "x" {
		t.Errorf("tag %q, want x", got)
	}
	if got := uriOf("sip:a@b;tag=1"); got != "sip:a@b" {
		t.Errorf("URI %q", got)
	}
	for uri, want := range map[string]string{
		"sip:127.0.0.1":                     "udp 127.0.0.1:5060",
		"sip:u@127.0.0.1:9;transport=TCP":   "tcp 127.0.0.1:9",
		"sip:[::1]:7;lr":                    "udp [::1]:7",
		"sip:[2001:db8::1];transport=tcp;a": "tcp [2001:db8::1]:5060",
	} {
		network, to, err := locate(uri, "udp")
		if got := network + " " + to.String(); err != nil || got != want {
			t.Errorf("%s is at %s (%v), want %s", uri, got, err, want)
		}
	}
	if _, _, err := locate("tel:1", "udp"); err == nil {
		t.Error("a tel URI was located")
	}
}

// RFC 3261 18.2.1 and RFC 3581 4.
func TestViaOfTheAnswer(t *testing.T) {
	from := netip.MustParseAddrPort("10.0.0.9:4444")
	for _, scene := range []struct{ network, via, want, to string }{
		{"udp", "SIP/2.0/UDP 10.0.0.9:5090;rport;branch=b", "SIP/2.0/UDP 10.0.0.9:5090;rport=4444;branch=b", "10.0.0.9:4444"},
		{"udp", "SIP/2.0/UDP 10.0.0.1;branch=b", "SIP/2.0/UDP 10.0.0.1;branch=b;received=10.0.0.9", "10.0.0.9:5060"},
		{"tcp", "SIP/2.0/TCP 10.0.0.9:5090;branch=b", "SIP/2.0/TCP 10.0.0.9:5090;branch=b;rport=4444", "10.0.0.9:4444"},
	} {
		m, f := &message{method: "BYE"}, flow{network: scene.network, remote: from}
		m.add("Via", scene.via)
		if got := stampVia(scene.via, f); got != scene.want {
			t.Errorf("%s became %s, want %s", scene.via, got, scene.want)
		}
		if got := answerFlow(m, f).remote.String(); got != scene.to {
			t.Errorf("%s answered to %s, want %s", scene.via, got, scene.to)
		}
	}
}

// FuzzMessage: whatever the parser lets through can be answered, and what is written
// reads back the same.
func FuzzMessage(f *testing.F) {
	p := netip.MustParseAddrPort("127.0.0.1:5060")
	f.Add([]byte("INVITE sip:127.0.0.1:8060 SIP/2.0\r\nv: SIP/2.0/UDP a;branch=b, SIP/2.0/TCP [::1]:7\r\nf: <sip:a>;tag=1\r\n" +
		"To: sip:b\r\ni: x\r\nCSeq: 1 INVITE\r\nm: *\r\nRecord-Route: <sip:p;lr>\r\nSession-Expires: 9;refresher=uac\r\n\r\n" +
		"v=0\r\nc=IN IP4 1.2.3.4\r\nm=application 9 TCP/MRCPv2 1\r\na=resource:speechrecog\r\nm=audio 1\r\nm=\r\n"))
	f.Add([]byte("SIP/2.0 200 OK\r\nContact: <sip:1.2.3.4>\r\nl: 0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		in, err := newParser().ParseSIP(data)
		if err != nil {
			return
		}
		m := fromSIP(in)
		for _, network := range []string{"udp", "tcp"} {
			fl := flow{network: network, remote: p}
			answerFlow(m, fl)
			respond(m, fl, 200, "t")
		}
		m.txKey(m.method)
		refreshEvery(m)
		offer, _ := parseSDP(m.body)
		resources(offer)
		answerSDP(offer, p.Addr(), 1, 0, "c")
		raw := m.bytes()
		again, err := newParser().ParseSIP(raw)
		if err != nil {
			return // a bare CR in a value, or the like
		}
		if got := fromSIP(again).bytes(); string(got) != string(raw) {
			t.Errorf("%q read back as %q", raw, got)
		}
	})
}
