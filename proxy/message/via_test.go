package message

import (
	"errors"
	"strings"
	"testing"
)

// TestVia has the forms of RFC 3261 20.42 and 25.1, where white space may stand around nearly everything.
func TestVia(t *testing.T) {
	type via struct {
		transport, host  string
		port             int
		branch, received string
		rport            string
		rportSet         bool
	}
	for _, c := range []struct {
		name, value string
		want        via
	}{
		{"plain", "SIP/2.0/UDP 10.0.0.1:5090;branch=z9hG4bKa", via{"UDP", "10.0.0.1", 5090, "z9hG4bKa", "", "", false}},
		{"no port, no parameters", "SIP/2.0/TCP host.example", via{transport: "TCP", host: "host.example"}},
		{"spaces around slashes and colon", "SIP / 2.0 \t/  UDP  10.0.0.1 : 5090 ; branch = z9 ; rport", via{"UDP", "10.0.0.1", 5090, "z9", "", "; rport", true}},
		{"folded everywhere", "SIP\r\n /\r\n 2.0/\r\n UDP\r\n 10.0.0.1\r\n :5090\r\n ;branch\r\n =\r\n z9", via{"UDP", "10.0.0.1", 5090, "z9", "", "", false}},
		{"lower case", "sip/2.0/udp h;BRANCH=z9", via{transport: "udp", host: "h", branch: "z9"}},
		{"IPv6 reference", "SIP/2.0/UDP [2001:db8::9]:5061;branch=z9", via{"UDP", "[2001:db8::9]", 5061, "z9", "", "", false}},
		{"IPv6 without a port", "SIP/2.0/UDP [2001:db8::9:1];branch=z9", via{transport: "UDP", host: "[2001:db8::9:1]", branch: "z9"}},
		{"IPv6 received (RFC 5118 4.5)", "SIP/2.0/UDP [::1];received=2001:db8::9;branch=z9", via{transport: "UDP", host: "[::1]", branch: "z9", received: ";received=2001:db8::9"}},
		{"rport with a value (RFC 3581 4)", "SIP/2.0/UDP h;rport=99;received=1.2.3.4", via{transport: "UDP", host: "h", received: ";received=1.2.3.4", rport: ";rport=99"}},
		{"rport with an empty value", "SIP/2.0/UDP h;rport= ;branch=z9", via{transport: "UDP", host: "h", branch: "z9", rport: ";rport= ", rportSet: true}},
		{"semicolon and comma in quotes", `SIP/2.0/UDP h;x=";branch=no,";branch=z9, SIP/2.0/UDP i;branch=no`, via{transport: "UDP", host: "h", branch: "z9"}},
		{"no branch here, one below", "SIP/2.0/UDP h,SIP/2.0/UDP i;branch=no;rport", via{transport: "UDP", host: "h"}},
		{"unknown transport", "SIP/2.0/SCTP h_x.example:1", via{transport: "SCTP", host: "h_x.example", port: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := mustScan(t, with("Via", "Via: "+c.value))
			v := &m.Via
			got := via{
				string(m.Bytes(v.Transport)), string(m.Bytes(v.Host)), v.Port, string(m.Bytes(v.Branch)), string(m.Bytes(v.Received)),
				string(m.Bytes(v.RPort)), v.RPortSet,
			}
			if got != c.want {
				t.Errorf("\n got %+v\nwant %+v", got, c.want)
			}
		})
	}
}

// TestViaErrors: with a sent-by that can be read the answer has somewhere to go, whatever the parameters are.
func TestViaErrors(t *testing.T) {
	for name, value := range map[string]string{
		"no parameter":          "SIP/2.0/UDP h;",
		"two semicolons":        "SIP/2.0/UDP h;;branch=z9",
		"only semicolons":       "SIP/2.0/UDP h;;,;,,",
		"parameter no token":    "SIP/2.0/UDP h;<x>;branch=z9",
		"word behind host":      "SIP/2.0/UDP h x;branch=z9",
		"word behind another":   "SIP/2.0/UDP h;x y;branch=z9",
		"quote behind rport":    `SIP/2.0/UDP h;rport"`,
		"word behind rport":     "SIP/2.0/UDP h;rport x;branch=z9",
		"word behind branch":    "SIP/2.0/UDP h;branch=z9 x",
		"value behind received": `SIP/2.0/UDP h;received="1"2`,
		"open quote":            `SIP/2.0/UDP h;x="y`,
	} {
		var m Message
		if err := m.Scan([]byte(with("Via", "Via: "+value))); !errors.Is(err, ErrVia) || string(m.Bytes(m.Via.Host)) != "h" {
			t.Errorf("%s: %v, host %q", name, err, m.Bytes(m.Via.Host))
		}
		checkSpans(t, &m)
		exercise(&m)
	}
	for name, value := range map[string]string{
		"empty":                  "",
		"another protocol":       "HTTP/1.1/TCP h",
		"no transport":           "SIP/2.0 h",
		"empty transport":        "SIP/2.0/ ;branch=x",
		"no sent-by":             "SIP/2.0/UDP",
		"no sent-by, parameters": "SIP/2.0/UDP ;branch=z9",
		"IPv6 without brackets":  "SIP/2.0/UDP 2001:db8::9;branch=z9",
		"open bracket":           "SIP/2.0/UDP [2001:db8::9;branch=z9",
		"port 0":                 "SIP/2.0/UDP h:0",
		"port 65536":             "SIP/2.0/UDP h:65536",
		"empty port":             "SIP/2.0/UDP h:;branch=z9",
		"port of letters":        "SIP/2.0/UDP h:5o;branch=z9",
		"something behind host":  "SIP/2.0/UDP h@i",
		"empty first value":      ", SIP/2.0/UDP h",
		"open quote and a comma": `SIP/2.0/UDP h;x="y, SIP/2.0/UDP i`,
	} {
		var m Message
		if err := m.Scan([]byte(with("Via", "Via: "+value))); !errors.Is(err, ErrNoVia) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEachVia looks for loops (RFC 3261 16.3 step 4) below the topmost value, merged into one field (7.3.1) or not.
func TestEachVia(t *testing.T) {
	hosts := func(m *Message, limit int) (string, bool) {
		var all []string
		ok := m.EachVia(func(v *Via) bool {
			all = append(all, string(m.Bytes(v.Host)))
			return len(all) != limit
		})
		return strings.Join(all, " "), ok
	}
	one := "Via: SIP/2.0/UDP a"
	for _, c := range []struct {
		name   string
		lines  []string
		limit  int
		want   string
		ok     bool
		fields int
	}{
		{"one", []string{one}, 0, "", true, 1},
		{"two fields", []string{one, "v: SIP/2.0/UDP b"}, 0, "b", true, 2},
		{"merged", []string{one + ", SIP/2.0/UDP b ,SIP/2.0/UDP c"}, 0, "b c", true, 1},
		{"merged and folded", []string{one + ",", " SIP/2.0/UDP b,", "\tSIP/2.0/UDP c"}, 0, "b c", true, 1},
		{"both", []string{one + ",SIP/2.0/UDP b", "VIA : SIP/2.0/UDP c,SIP/2.0/UDP d", "v:SIP/2.0/UDP e"}, 0, "b c d e", true, 3},
		{"stopped in the first field", []string{one + ",SIP/2.0/UDP b", "v: SIP/2.0/UDP c"}, 1, "b", true, 2},
		{"stopped in the second", []string{one, "v: SIP/2.0/UDP b, SIP/2.0/UDP c", "v: SIP/2.0/UDP d"}, 2, "b c", true, 3},
		{"comma at the end", []string{one + ", "}, 0, "", true, 1},
		{"garbage below", []string{one + ", garbage"}, 0, "", false, 1},
		{"garbage in the second field", []string{one, "Via: SIP/2.0/UDP b, garbage"}, 0, "b", false, 2},
		{"Via in the body", []string{one, "", "Via: SIP/2.0/UDP body"}, 0, "", true, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw := with("Via", c.lines...)
			if strings.Contains(c.name, "body") {
				raw = with("Content-Length") + "Via: SIP/2.0/UDP body\r\n"
				raw = strings.Replace(raw, "Via: SIP/2.0/UDP 10.0.0.1:5090;branch=z9hG4bKa", one, 1)
			}
			m := mustScan(t, raw)
			got, ok := hosts(m, c.limit)
			if got != c.want || ok != c.ok || m.ViaFields != c.fields {
				t.Errorf("%q %v, %d fields; want %q %v, %d", got, ok, m.ViaFields, c.want, c.ok, c.fields)
			}
		})
	}
}
