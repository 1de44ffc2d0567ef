package message

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParseURI(t *testing.T) {
	type uri struct {
		secure          bool
		user, host      string
		port            int
		transport, want string // want: "lr", or "" for none
	}
	for text, want := range map[string]uri{
		"sip:10.0.0.9:8060":                            {false, "", "10.0.0.9", 8060, "", ""},
		"SIP:host":                                     {false, "", "host", 0, "", ""},
		"sips:anna@host":                               {true, "anna", "host", 0, "", ""},
		"sip:anna:secret@host:5060":                    {false, "anna", "host", 5060, "", ""},
		"sip:anna:se:cret@host":                        {false, "anna", "host", 0, "", ""},
		"sip:@host":                                    {false, "", "host", 0, "", ""},
		"sip:host;transport=TCP;lr":                    {false, "", "host", 0, "TCP", "lr"},
		"sip:host;LR;Transport=tcp":                    {false, "", "host", 0, "tcp", "lr"},
		"sip:host;lr=on":                               {false, "", "host", 0, "", "lr"},
		"sip:host;xlr;lrx;xtransport=udp":              {false, "", "host", 0, "", ""},
		"sip:+43;lr;transport=udp@host;transport=tcp":  {false, "+43;lr;transport=udp", "host", 0, "tcp", ""},
		"sip:[2001:db8::9]":                            {false, "", "[2001:db8::9]", 0, "", ""},
		"sip:a@[2001:db8::9]:5061;lr":                  {false, "a", "[2001:db8::9]", 5061, "", "lr"},
		"sip:host?subject=x":                           {false, "", "host", 0, "", ""},
		"sip:host:1;lr?subject=;transport=udp":         {false, "", "host", 1, "", "lr"},
		"sip:a?b@host":                                 {false, "a?b", "host", 0, "", ""}, // user-unreserved has "?"
		"sip:a?b@host:5?c=d":                           {false, "a?b", "host", 5, "", ""},
		"sip:ckA.-_~%20:x@10.0.0.1:65535;transport=ws": {false, "ckA.-_~%20", "10.0.0.1", 65535, "ws", ""},
	} {
		u, ok := ParseURI([]byte(text))
		lr := ""
		if u.LR {
			lr = "lr"
		}
		got := uri{u.Secure, string(u.User), string(u.Host), u.Port, string(u.Transport), lr}
		if !ok || got != want {
			t.Errorf("%s: %v\n got %+v\nwant %+v", text, ok, got, want)
		}
	}
	for _, text := range []string{
		"", "sip", "sip:", "sips:", "tel:+43", "http://host", " sip:host", "sip:a@", "sip:;lr", "sip::5060", "sip:host:", "sip:host:x", "sip:host:65536",
		"sip:host:-1", "sip:[::1", "sip:[::1]5060", "sip:[::1]:", "sip:?x=y", "<sip:host>",
	} {
		if u, ok := ParseURI([]byte(text)); ok {
			t.Errorf("%q is taken: %+v", text, u)
		}
	}
}

func TestParseHost(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.9": "10.0.0.9", "255.255.255.255": "255.255.255.255", "0.0.0.0": "0.0.0.0", "[::1]": "::1", "::1": "::1",
		"[2001:DB8::9]": "2001:db8::9", "[::ffff:10.0.0.9]": "10.0.0.9", "010.0.0.09": "10.0.0.9",
	} {
		if a, ok := ParseHost([]byte(text)); !ok || a != netip.MustParseAddr(want) {
			t.Errorf("%s: %v %v", text, a, ok)
		}
	}
	for _, text := range []string{
		"", "[]", "[", "]", "host", "dead.beef", "10.0.0", "10.0.0.", "10.0.0.9.", ".10.0.0", "10..0.9", "10.0.0.256", "10.0.0.0009", "10.0.0.9.8", "10.0.0.9:5060",
		"[::1", "::1]", "[[::1]]", "1:2", strings.Repeat(":", 46), "10.0.0.x", "\x00",
	} {
		if a, ok := ParseHost([]byte(text)); ok {
			t.Errorf("%q is %v", text, a)
		}
	}
}

// TestAddrSpec takes the URI out of name-addr and addr-spec (RFC 3261 20).
func TestAddrSpec(t *testing.T) {
	for text, want := range map[string]string{
		"<sip:a@b>":                       "sip:a@b",
		"<sip:a@b;transport=tcp>;q=1":     "sip:a@b;transport=tcp",
		"sip:a@b;q=1":                     "sip:a@b", // the parameter is the header's
		"sip:a@b":                         "sip:a@b",
		`"x <sip:no>, ;y" <sip:a@b>`:      "sip:a@b",
		`"x\"<sip:no>" <sip:a@b>`:         "sip:a@b",
		"Anna B <sip:a@b>":                "sip:a@b",
		"< sip:a@b >":                     "sip:a@b",
		"<sip:a@b>, <sip:c@d>":            "sip:a@b",
		"sip:a@b, <sip:c@d>":              "sip:a@b",
		"sip:a@b,sip:c@d;q=1":             "sip:a@b",
		"<sip:a,b@c>, <sip:d>":            "sip:a,b@c",
		"":                                "",
		"<>":                              "",
		"<sip:a@b":                        "",
		`"open <sip:a@b>`:                 "",
		`"open, <sip:a@b>`:                "",
		`"Anna"`:                          "",
		`"Anna`:                           "",
		"<sip:a@b;maddr=[::1]?x=y>;lr":    "sip:a@b;maddr=[::1]?x=y",
		"\"\xff\" <sip:\xc3\xa4@b>;lr;=,": "sip:\xc3\xa4@b",
	} {
		b := []byte("--" + text + "--") // positions count from the message's start
		s := AddrSpec(b, Span{2, 2 + len(text)})
		equal(t, text, string(b[s.Off:s.End]), want)
	}
}

// TestRoutes reads Route and Record-Route values over several fields and merged ones (RFC 3261 7.3.1, 20.34).
func TestRoutes(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []string
		want   string
		ok     bool
	}{
		{"none", nil, "", true},
		{"one", []string{"<sip:a;lr>"}, "<sip:a;lr>", true},
		{"two fields", []string{"<sip:a;lr>", "<sip:b;lr>;x=y"}, "<sip:a;lr>|<sip:b;lr>;x=y", true},
		{"merged", []string{"<sip:a;lr> , <sip:b;lr>,<sip:c>"}, "<sip:a;lr>|<sip:b;lr>|<sip:c>", true},
		{"merged, folded and separate", []string{"<sip:a>,\r\n <sip:b>", "<sip:c>"}, "<sip:a>|<sip:b>|<sip:c>", true},
		{"commas in quotes and brackets", []string{`"x, <y>" <sip:a,b>, <sip:c>`}, `"x, <y>" <sip:a,b>|<sip:c>`, true},
		{"empty values", []string{" , <sip:a>,, <sip:b>, ", ""}, "<sip:a>|<sip:b>", true},
		{"open quote", []string{`<sip:a>, "x <sip:b>, <sip:c>`}, "<sip:a>", false},
		{"open bracket", []string{"<sip:a>, <sip:b, <sip:c"}, "<sip:a>", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var route, record []string
			for _, v := range c.values {
				route = append(route, "ROUTE : "+v)
				record = append(record, "Record-Route: "+v)
			}
			m := mustScan(t, request(append(route, record...)...))
			join := func(s []Span) string {
				var all []string
				for _, v := range s {
					all = append(all, string(m.Bytes(v)))
				}
				return strings.Join(all, "|")
			}
			got, ok := m.Routes(nil)
			equal(t, "Route", join(got), c.want)
			got, ok2 := m.RecordRoutes(nil)
			equal(t, "Record-Route", join(got), c.want)
			if ok != c.ok || ok2 != c.ok {
				t.Errorf("ok %v, %v", ok, ok2)
			}
			if m.HasRoute() != (c.values != nil) {
				t.Errorf("HasRoute %v", m.HasRoute())
			}
		})
	}
	m := mustScan(t, request("Route: <sip:1>", "Route: <sip:2>", "Route: <sip:3>", "Route: <sip:4>", "Route: <sip:5>"))
	if r, ok := m.Routes(nil); len(r) != 5 || !ok { // more than the scan keeps
		t.Errorf("%d of 5 fields, %v", len(r), ok)
	}
}

// TestField finds what the scan does not keep, under either name, in the header section only.
func TestField(t *testing.T) {
	m := mustScan(t, with("Content-Length", "k : timer", "RETRY-AFTER:\r\n 18 (x)", "Subject:", "Supported: later", "Content-Length: 13")+"X-Late: body\n")
	equal(t, "compact", string(m.Field("supported")), "timer")
	equal(t, "folded", string(m.Field("retry-after")), "18 (x)")
	if v := m.Field("subject"); v == nil || len(v) != 0 {
		t.Errorf("an empty field is %q", v)
	}
	for _, n := range []string{"x-late", "s", "retry", "retry-after2", ""} {
		if v := m.Field(n); v != nil {
			t.Errorf("%q is %q", n, v)
		}
	}
	for long, short := range map[string]string{
		"via": "v", "from": "f", "to": "t", "call-id": "i", "contact": "m", "content-type": "c", "content-length": "l", "content-encoding": "e",
		"subject": "s", "supported": "k", "session-expires": "x", "refer-to": "r", "event": "o", "allow-events": "u", "route": "\x00",
	} {
		equal(t, long, string(rune(compactOf(long))), short)
	}
}
