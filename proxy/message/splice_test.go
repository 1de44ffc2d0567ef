package message

import (
	"net/netip"
	"strings"
	"testing"
)

const ourVia = "Via: SIP/2.0/UDP 10.9.9.9:5060;branch=z9hG4bKours\r\n"

// TestAppendRequest has the edits of RFC 3261 16.6 one at a time: what is not named stays byte for byte.
func TestAppendRequest(t *testing.T) {
	here := netip.MustParseAddr("10.0.0.1") // the sent-by of request()
	nat := netip.MustParseAddr("192.0.2.7")
	via := func(v string) string { return with("Via", "Via: "+v) }
	for _, c := range []struct {
		name     string
		raw      string
		edit     Edit
		old, new string // what is replaced
	}{
		{"nothing but Max-Forwards (step 3)", request(), Edit{Hops: 69}, "Max-Forwards: 70", "Max-Forwards: 69"},
		{"Max-Forwards in odd form", with("Max-Forwards", "MAX-FORWARDS :", " 255 "), Edit{Hops: 254}, " 255 ", " 254 "},
		{"Max-Forwards missing", with("Max-Forwards"), Edit{Hops: 70}, "branch=z9hG4bKa\r\n", "branch=z9hG4bKa\r\nMax-Forwards: 70\r\n"},
		{"Request-URI (step 2)", request(), Edit{Hops: 70, URI: []byte("sip:asr@10.1.1.1:8060;transport=tcp")}, "sip:10.0.0.9:8060 SIP", "sip:asr@10.1.1.1:8060;transport=tcp SIP"},
		{"Via and Record-Route on top (steps 4, 8)", request(), Edit{Hops: 70, Insert: []byte(ourVia + "Record-Route: <sip:x@10.9.9.9;lr>\r\n")},
			"SIP/2.0\r\nVia", "SIP/2.0\r\n" + ourVia + "Record-Route: <sip:x@10.9.9.9;lr>\r\nVia"},
		{"bytes behind the message (18.3)", request() + "more", Edit{Hops: 70}, "more", ""},
		{"no Content-Length (step 9)", with("Content-Length") + "abc", Edit{Hops: 70, Insert: []byte(ourVia)},
			"SIP/2.0\r\nVia", "SIP/2.0\r\n" + ourVia + "Content-Length: 3\r\nVia"},
		{"no Content-Length, no body", with("Content-Length"), Edit{Hops: 70}, "SIP/2.0\r\nVia", "SIP/2.0\r\nContent-Length: 0\r\nVia"},

		{"source as in sent-by (18.2.1)", request(), Edit{Hops: 70, Source: here, Port: 5090}, "", ""},
		{"source another (18.2.1)", request(), Edit{Hops: 70, Source: nat, Port: 1}, "z9hG4bKa\r\n", "z9hG4bKa;received=192.0.2.7\r\n"},
		{"sent-by a name", via("SIP/2.0/UDP fs.example"), Edit{Hops: 70, Source: here, Port: 1}, "fs.example", "fs.example;received=10.0.0.1"},
		{"rport (RFC 3581 4): always with received", via("SIP/2.0/UDP 10.0.0.1;rport;branch=z9"), Edit{Hops: 70, Source: here, Port: 5090},
			";rport;branch=z9", ";branch=z9;rport=5090;received=10.0.0.1"},
		{"rport at the end", via("SIP/2.0/UDP 10.0.0.1;branch=z9 ; rport"), Edit{Hops: 70, Source: nat, Port: 65535},
			"z9 ; rport", "z9 ;rport=65535;received=192.0.2.7"},
		{"rport with a value is not ours to fill in", via("SIP/2.0/UDP 10.0.0.1;rport=7;branch=z9"), Edit{Hops: 70, Source: here, Port: 5090}, "", ""},
		{"rport with a value, source another", via("SIP/2.0/UDP 10.0.0.1;rport=7"), Edit{Hops: 70, Source: nat, Port: 1}, "rport=7", "rport=7;received=192.0.2.7"},
		{"a received that lies", via("SIP/2.0/UDP 10.0.0.1;received=6.6.6.6;branch=z9"), Edit{Hops: 70, Source: here, Port: 1},
			";received=6.6.6.6;branch=z9", ";branch=z9;received=10.0.0.1"},
		{"received before rport", via("SIP/2.0/UDP h;received=6.6.6.6;x;rport;branch=z9"), Edit{Hops: 70, Source: nat, Port: 2},
			";received=6.6.6.6;x;rport;branch=z9", ";x;branch=z9;rport=2;received=192.0.2.7"},
		{"received behind rport", via("SIP/2.0/UDP h;rport;received=6.6.6.6"), Edit{Hops: 70, Source: nat, Port: 2}, ";rport;received=6.6.6.6", ";rport=2;received=192.0.2.7"},
		{"the topmost of merged Vias", via("SIP/2.0/UDP h;rport , SIP/2.0/UDP i;rport"), Edit{Hops: 70, Source: nat, Port: 2},
			"h;rport ,", "h;rport=2;received=192.0.2.7 ,"},
		{"IPv6 source without brackets (25.1)", via("SIP/2.0/UDP h"), Edit{Hops: 70, Source: netip.MustParseAddr("2001:db8::7"), Port: 2},
			"UDP h", "UDP h;received=2001:db8::7"},
		{"IPv6 sent-by, written in another way", via("SIP/2.0/UDP [2001:DB8:0::7]:5060"), Edit{Hops: 70, Source: netip.MustParseAddr("2001:db8::7"), Port: 2}, "", ""},
		{"the zone of a link-local source", via("SIP/2.0/UDP [fe80::1]"), Edit{Hops: 70, Source: netip.MustParseAddr("fe80::7%eth0"), Port: 2},
			"[fe80::1]", "[fe80::1];received=fe80::7"},
		{"folded Via", via("SIP/2.0/UDP h\r\n ;rport\r\n ;branch=z9"), Edit{Hops: 70, Source: nat, Port: 2},
			"h\r\n ;rport\r\n ;branch=z9", "h\r\n ;branch=z9;rport=2;received=192.0.2.7"},

		{"Route: none to pop", request(), Edit{Hops: 70, PopRoutes: 2}, "", ""},
		{"Route: none asked for", request("Route: <sip:a>"), Edit{Hops: 70}, "", ""},
		{"Route: one of one (16.4)", request("Route: <sip:a>", "X: y"), Edit{Hops: 70, PopRoutes: 1}, "Route: <sip:a>\r\n", ""},
		{"Route: one of two lines", request("Route: <sip:a>", "Route: <sip:b>"), Edit{Hops: 70, PopRoutes: 1}, "Route: <sip:a>\r\n", ""},
		{"Route: two of two lines", request("Route: <sip:a>", "Route: <sip:b>"), Edit{Hops: 70, PopRoutes: 2}, "Route: <sip:a>\r\nRoute: <sip:b>\r\n", ""},
		{"Route: one of merged", request("Route: <sip:a> , <sip:b>,<sip:c>"), Edit{Hops: 70, PopRoutes: 1}, "<sip:a> , ", ""},
		{"Route: two of merged", request("Route: <sip:a> ,", "  <sip:b>,<sip:c>"), Edit{Hops: 70, PopRoutes: 2}, "<sip:a> ,\r\n  <sip:b>,", ""},
		{"Route: all of merged", request("Route: <sip:a> , <sip:b>", "X: y"), Edit{Hops: 70, PopRoutes: 2}, "Route: <sip:a> , <sip:b>\r\n", ""},
		{"Route: one line and a half", request("Route: <sip:a>", "X: y", "Route: <sip:b>, <sip:c>"), Edit{Hops: 70, PopRoutes: 2},
			"Route: <sip:a>\r\nX: y\r\nRoute: <sip:b>, ", "X: y\r\nRoute: "},
		{"Route: more than there are", request("Route: <sip:a>"), Edit{Hops: 70, PopRoutes: 9}, "Route: <sip:a>\r\n", ""},
		{"Route: commas in quotes and brackets", request(`Route: "x, <y>" <sip:a,b>, <sip:c>`), Edit{Hops: 70, PopRoutes: 1}, `"x, <y>" <sip:a,b>, `, ""},
		{"Route: empty values", request("Route: , <sip:a>,, <sip:b>"), Edit{Hops: 70, PopRoutes: 1}, ", <sip:a>,, ", ""},
		{"Route: only empty values left", request("Route: <sip:a>, , "), Edit{Hops: 70, PopRoutes: 1}, "Route: <sip:a>, , \r\n", ""},
		{"Route: an empty line first", request("Route: ", "Route: <sip:a>, <sip:b>"), Edit{Hops: 70, PopRoutes: 1}, "Route: \r\nRoute: <sip:a>, ", "Route: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := mustScan(t, c.raw)
			if c.old != "" && strings.Count(c.raw, c.old) != 1 {
				t.Fatalf("%q is not there once", c.old)
			}
			got := string(m.AppendRequest([]byte("before"), &c.edit))
			equal(t, "request", got, "before"+strings.Replace(c.raw, c.old, c.new, 1))
		})
	}
}

// TestAppendRequestOrder: the headers that are changed may stand in any order, Route before Via too.
func TestAppendRequestOrder(t *testing.T) {
	m := mustScan(t, lines("BYE sip:a SIP/2.0", "Route: <sip:1>", "Max-Forwards: 9", "t: <sip:c@d>;tag=2", "CSeq: 8 BYE", "Route: <sip:2>, <sip:3>", "i: c",
		"v: SIP/2.0/UDP h;received=1.1.1.1;rport, SIP/2.0/UDP g", "f: <sip:a@b>;tag=1"))
	got := m.AppendRequest(nil, &Edit{URI: []byte("sip:b"), Insert: []byte(ourVia), PopRoutes: 2, Hops: 8, Source: netip.MustParseAddr("10.0.0.1"), Port: 7})
	equal(t, "request", string(got), lines("BYE sip:b SIP/2.0", strings.TrimSpace(ourVia), "Content-Length: 0", "Max-Forwards: 8", "t: <sip:c@d>;tag=2", "CSeq: 8 BYE",
		"Route: <sip:3>", "i: c", "v: SIP/2.0/UDP h;rport=7;received=10.0.0.1, SIP/2.0/UDP g", "f: <sip:a@b>;tag=1"))
}

// TestAppendRequestIsUndone takes the edits out of the forwarded fixtures again: the original must come back, byte for byte.
func TestAppendRequestIsUndone(t *testing.T) {
	insert := ourVia + "Record-Route: <sip:cookie@10.9.9.9:5060;lr>\r\n"
	n := 0
	for name, raw := range fixtures(t) {
		m := mustScan(t, string(raw))
		if !m.Request {
			continue
		}
		n++
		e := Edit{URI: []byte("sip:new@10.1.1.1:8060"), Insert: []byte(insert), PopRoutes: 1, Hops: 41, Source: netip.MustParseAddr("192.0.2.7"), Port: 4242}
		out := mustScan(t, string(m.AppendRequest(nil, &e)))
		equal(t, name+" URI", string(out.Bytes(out.URI)), string(e.URI))
		if out.Hops != 41 {
			t.Errorf("%s: hops %d", name, out.Hops)
		}
		s := strings.Replace(string(out.Raw), string(e.URI), string(m.Bytes(m.URI)), 1)
		s = strings.Replace(s, insert, "", 1)
		if m.Hops < 0 {
			s = strings.Replace(s, "Max-Forwards: 41\r\n", "", 1)
		} else {
			s = strings.Replace(s, "Max-Forwards: 41\r\n", string(m.Bytes(m.MaxForwards.All)), 1)
		}
		if m.Via.RPortSet {
			s = strings.Replace(s, ";rport=4242;received=192.0.2.7", "", 1)
			s = s[:m.Via.RPort.Off] + ";rport" + s[m.Via.RPort.Off:]
		} else {
			s = strings.Replace(s, ";received=192.0.2.7", "", 1)
		}
		if m.HasRoute() {
			l := m.routes[0]
			s = s[:l.All.Off] + string(m.Bytes(l.All)) + s[l.All.Off:]
		}
		equal(t, name, s, string(raw))
	}
	if n < 50 {
		t.Errorf("only %d requests", n)
	}
}
