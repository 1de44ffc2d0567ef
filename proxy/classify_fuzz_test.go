package proxy

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"mrcproxy/proxy/message"
)

// FuzzClassify routes an INVITE by any SDP: nothing panics, the body stays as it was, and what is found there stands there.
func FuzzClassify(f *testing.F) {
	all := captures(f)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		raw := all[name]
		if _, body, ok := bytes.Cut(raw, []byte("\r\n\r\n")); ok && len(body) > 0 {
			f.Add("application/sdp", body)
		}
	}
	const head = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nt=0 0\r\n"
	for _, media := range []string{
		"m=application 9 TCP/TLS/MRCPv2 1\r\na=resource: SpeechSynth \r\na=resource:\r\n",
		"m=application 9 TCP/MRCPv2 1\nm=application 9 TCP 1\nm=audio 9 RTP/AVP 0\na=resource:speechrecog\n",
		"m=application 0 TCP/MRCPv2 \r\na=resource\r\nm=application 9/2 TCP//MRCPv2 1\r\n",
		strings.Repeat("m=application 9 TCP/MRCPv2 1\r\na=resource:speechrecog\r\n", 50),
	} {
		f.Add("APPLICATION/SDP;x=y", []byte(head+media))
	}
	f.Add("application/sdpx", []byte(head))
	yes, no := true, false
	routing := &Routing{Otherwise: Otherwise{Cluster: "none"}, Routes: []Route{
		{Name: "synth", Cluster: "tts", Resource: "speechsynth"},
		{Name: "recog", Cluster: "asr", Resource: "speechrecog"},
		{Name: "mrcp", Cluster: "any", MRCP: &yes},
		{Name: "calls", Cluster: "pbx", MRCP: &no},
	}}
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		raw := fmt.Appendf(nil, "INVITE sip:10.0.0.9 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa\r\nFrom: <sip:a>;tag=f\r\nTo: <sip:b>\r\n"+
			"Call-ID: c\r\nCSeq: 1 INVITE\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", kind, len(body), body)
		before := bytes.Clone(raw)
		var m message.Message
		if m.Scan(raw[:len(raw):len(raw)]) != nil {
			return // the type broke it
		}
		name, ask, ok := routing.route(&m, netip.MustParseAddr("10.0.0.1"), new(offer))
		if !bytes.Equal(raw, before) {
			t.Fatalf("the message was changed: %q", raw)
		}
		var o offer
		o.of(&m)
		lower := bytes.ToLower(m.BodyBytes())
		for _, r := range o.resources {
			if !o.mrcp || !bytes.Contains(m.BodyBytes(), []byte(r)) {
				t.Errorf("resource %q, MRCP %v: %q", r, o.mrcp, body)
			}
		}
		if o.mrcp && !(bytes.Contains(lower, []byte("m=application")) && bytes.Contains(lower, []byte("mrcpv2"))) {
			t.Errorf("MRCP: %q", body)
		}
		want := "calls"
		switch {
		case o.offers("speechsynth"):
			want = "synth"
		case o.offers("speechrecog"):
			want = "recog"
		case o.mrcp:
			want = "mrcp"
		}
		if !ok || name != want || ask.Cluster == "" {
			t.Errorf("route %q to %q, want %q: %q", name, ask.Cluster, want, body)
		}
	})
}
