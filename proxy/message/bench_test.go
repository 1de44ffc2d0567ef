package message

import (
	"net/netip"
	"testing"
)

// benchInvite is what the proxy sees most: the INVITE of a FreeSWITCH over UDP, with rport.
const benchInvite = "fs-recog-udp-01-INVITE"

var benchEdit = Edit{
	URI:    []byte("sip:10.1.1.180:8060;transport=tcp"),
	Insert: []byte(ourVia + "Record-Route: <sip:0123456789abcdef0123456789abcdef0123456789abcdef@10.9.9.9:5060;lr>\r\n"),
	Hops:   69, Source: netip.AddrFrom4([4]byte{192, 0, 2, 7}), Port: 5090,
}

func BenchmarkScan(b *testing.B) {
	raw := fixture(b, benchInvite)
	var m Message
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Scan(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendRequest(b *testing.B) {
	m := mustScan(b, string(fixture(b, benchInvite)))
	dst := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		dst = m.AppendRequest(dst[:0], &benchEdit)
	}
}

func BenchmarkAppendResponse(b *testing.B) {
	m := mustScan(b, string(fixture(b, "fs-via-kamailio-udp-to-udp-05-server-side-200-INVITE")))
	dst := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		dst = m.AppendResponse(dst[:0])
	}
}

func BenchmarkAppendReply(b *testing.B) {
	m := mustScan(b, string(fixture(b, benchInvite)))
	dst := make([]byte, 0, 4096)
	r := Reply{Status: 480, ToTag: []byte("mq0123456789abcdef"), Header: "Retry-After: 5\r\n", Source: benchEdit.Source, Port: 5090}
	b.ReportAllocs()
	for b.Loop() {
		dst = m.AppendReply(dst[:0], &r)
	}
}

// TestNoAllocations keeps the path of a message free of garbage, for each kind of sent-by.
func TestNoAllocations(t *testing.T) {
	dst := make([]byte, 0, 8192)
	var spans [8]Span
	check := func(what string, f func()) {
		t.Helper()
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
	requests := map[string][]byte{
		"IPv4": fixture(t, benchInvite),
		"name": []byte(with("Via", "Via: SIP/2.0/UDP fs.example.com:5090;rport;branch=z9hG4bKa")),
		"IPv6": []byte(with("Via", "Via: SIP/2.0/UDP [2001:db8::9]:5090;rport;branch=z9hG4bKa")),
		"long": []byte(with("Max-Forwards", "Route: <sip:a;lr>, <sip:b;lr>", "Timestamp: 1", "v: SIP/2.0/TCP b")),
	}
	v6 := benchEdit
	v6.Source = netip.MustParseAddr("2001:db8:1111:2222:3333:4444:5555:6666")
	v6.PopRoutes = 2
	for name, raw := range requests {
		var m Message
		check(name+" Scan", func() { _ = m.Scan(raw) })
		for _, e := range []*Edit{&benchEdit, &v6} {
			check(name+" AppendRequest", func() { dst = m.AppendRequest(dst[:0], e) })
			for _, r := range []Reply{{Status: 100, Source: e.Source, Port: 1}, {Status: 480, ToTag: []byte("t"), Header: "Retry-After: 5\r\n", Source: e.Source, Port: 1}} {
				check(name+" AppendReply", func() { dst = m.AppendReply(dst[:0], &r) })
			}
		}
		check(name+" Routes", func() { m.Routes(spans[:0]) })
		check(name+" Field", func() { m.Field("retry-after") })
		if m.ViaFields == 1 { // a client next to us; the walk over several allocates one Via
			check(name+" EachVia", func() { m.EachVia(func(*Via) bool { return true }) })
		}
	}
	for _, raw := range [][]byte{fixture(t, "fs-via-kamailio-udp-to-udp-05-server-side-200-INVITE"), []byte(response("SIP/2.0/UDP a, SIP/2.0/UDP b"))} {
		var m Message
		check("response Scan", func() { _ = m.Scan(raw) })
		check("AppendResponse", func() { dst = m.AppendResponse(dst[:0]) })
	}
	bad := []byte(with("CSeq", "CSeq: x"))
	var m Message
	check("Scan with an error", func() { _ = m.Scan(bad) })
}
