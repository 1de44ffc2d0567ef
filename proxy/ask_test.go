package proxy

import (
	"net/netip"
	"slices"
	"testing"

	"mrcproxy/balancer"
	"mrcproxy/proxy/message"
)

// TestWhatAClusterAsks: what is not needed is not worked out, and what is needed is the same in every instance.
func TestWhatAClusterAsks(t *testing.T) {
	raw := message.Message{}
	text := "INVITE sip:10.1.0.5:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.7:5090;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n" +
		"From: <sip:a@b>;tag=1\r\nTo: <sip:b@c>\r\nCall-ID: one@x\r\nCSeq: 1 INVITE\r\nX-Tenant: gold\r\nContent-Type: application/sdp\r\nContent-Length: "
	body := "v=0\r\no=- 1 1 IN IP4 10.0.0.7\r\ns=-\r\nc=IN IP4 10.0.0.7\r\nt=0 0\r\n" +
		"m=application 9 TCP/MRCPv2 1\r\na=setup:active\r\na=resource:SpeechRecog\r\na=cmid:1\r\nm=audio 4000 RTP/AVP 0\r\na=mid:1\r\n"
	text += "275\r\n\r\n"
	for len(body) < 275 {
		body += "a=x\r\n"
	}
	text += body[:275]
	if err := raw.Scan([]byte(text)); err != nil {
		t.Fatal(err)
	}
	src := netip.MustParseAddr("10.0.0.7")
	ask := func(c Cluster) balancer.Request {
		r := Routing{Clusters: map[string]Cluster{"asr": c}}
		got := balancer.Request{Cluster: "asr"}
		r.complete(&got, &raw, src, new(offer))
		return got
	}
	if got := ask(Cluster{}); got.Resources != nil || got.Hash != 0 {
		t.Errorf("worked out for nothing: %+v", got)
	}
	if got := ask(Cluster{Resources: true}).Resources; !slices.Equal(got, []string{"speechrecog"}) {
		t.Errorf("resources %q", got)
	}
	// FNV-1a, so the values are for ever.
	for c, want := range map[Cluster]uint64{
		{HashOn: HashCallID}:                     0xe63e4c9193af499f,
		{HashOn: HashHeader, Header: "x-tenant"}: 0x9cefc8720ea680d3,
		{HashOn: HashHeader, Header: "x-other"}:  14695981039346656037,
	} {
		if got := ask(c).Hash; got != want {
			t.Errorf("%+v: %#x, want %#x", c, got, want)
		}
	}
	if a, b := ask(Cluster{HashOn: HashSource}).Hash, hashOf([]byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x0a\x00\x00\x07")); a != b {
		t.Errorf("source %#x, want %#x", a, b)
	}
}
