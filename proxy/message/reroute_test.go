package message

import (
	"strings"
	"testing"
)

// TestAppendRerouted: the Request-URI and one Route value change places (RFC 3261 16.4, 16.6 step 6).
func TestAppendRerouted(t *testing.T) {
	const uri = "sip:10.0.0.9:8060"
	for _, c := range []struct {
		name     string
		raw      string
		value    int // which Route value; -1: the last
		keep     bool
		old, new string // what becomes of the Route fields
		want     string // the new Request-URI
	}{
		{"only value", request("Route: <sip:a>", "X: y"), -1, false, "Route: <sip:a>\r\n", "", "sip:a"},
		{"only value, kept", request("Route: <sip:a>", "X: y"), 0, true, "Route: <sip:a>\r\n", "Route: <" + uri + ">\r\n", "sip:a"},
		{"last of two fields", request("Route: <sip:a;lr>", "Route: <sip:b>"), -1, false, "Route: <sip:b>\r\n", "", "sip:b"},
		{"last of one field", request("Route: <sip:a;lr> ,", " <sip:b;x=y>;z"), -1, false, ",\r\n <sip:b;x=y>;z", "", "sip:b;x=y"},
		{"first of one field", request("Route: <sip:a> , <sip:b;lr>"), 0, true, "<sip:a> , <sip:b;lr>\r\n", "<sip:b;lr>\r\nRoute: <" + uri + ">\r\n", "sip:a"},
		{"the one between", request("Route: <sip:a;lr>, \"x,\" <sip:b>,<sip:c;lr>"), 1, true,
			" \"x,\" <sip:b>,<sip:c;lr>\r\n", " <sip:c;lr>\r\nRoute: <" + uri + ">\r\n", "sip:b"},
		{"first of three fields", request("Route: <sip:a>", "Route: <sip:b;lr>", "X: y", "ROUTE : <sip:c;lr>"), 0, true,
			"Route: <sip:a>\r\nRoute: <sip:b;lr>\r\nX: y\r\nROUTE : <sip:c;lr>\r\n",
			"Route: <sip:b;lr>\r\nX: y\r\nROUTE : <sip:c;lr>\r\nRoute: <" + uri + ">\r\n", "sip:a"},
		{"of more fields than are kept", request("Route: <sip:a;lr>", "Route: <sip:b;lr>", "Route: <sip:c;lr>", "Route: <sip:d;lr>", "Route: <sip:e;lr>, <sip:f>"), -1, false,
			", <sip:f>", "", "sip:f"},
		{"comma at the end", request("Route: <sip:a>, "), -1, false, "Route: <sip:a>, \r\n", "", "sip:a"},
		{"body and noise behind it", with("Content-Length", "Route: <sip:a>", "Content-Length: 2") + "ab", -1, false, "Route: <sip:a>\r\n", "", "sip:a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := mustScan(t, c.raw)
			at, ok := m.LastRoute()
			if !ok {
				t.Fatal("no last Route")
			}
			if c.value >= 0 {
				routes, _ := m.Routes(nil)
				at = routes[c.value]
			}
			got := string(m.AppendRerouted([]byte("before"), at, c.keep))
			want := strings.Replace(strings.Replace(c.raw, uri+" SIP", c.want+" SIP", 1), c.old, c.new, 1)
			equal(t, "rerouted", got, "before"+want)
			n := mustScan(t, strings.TrimPrefix(got, "before"))
			equal(t, "Request-URI", string(n.Bytes(n.URI)), c.want)
		})
	}
	m := mustScan(t, request())
	equal(t, "a value that is not there", string(m.AppendRerouted(nil, Span{}, true)), request())
	if _, ok := m.LastRoute(); ok {
		t.Error("there is no Route")
	}
	if _, ok := mustScan(t, request(`Route: "a, <sip:b>`)).LastRoute(); ok {
		t.Error("the last Route cannot be told")
	}
}

// TestIsStrict: a strict router's URI has no lr parameter, whatever else has one (RFC 3261 19.1.1).
func TestIsStrict(t *testing.T) {
	for value, want := range map[string]bool{
		"<sip:a>": true, "<sip:a>;lr": true, "<sips:lr@a:5061;maddr=b>": true, "<sip:a?lr>": true, "<sip:a;lrx>": true,
		"<sip:a;lr>": false, "<sip:a;LR=on>": false, "<sips:a; lr ;x>": false, "<tel:1>": false, "": false,
	} {
		m := mustScan(t, request("Route: "+value))
		var at Span
		if routes, _ := m.Routes(nil); len(routes) > 0 {
			at = routes[0]
		}
		if got := m.IsStrict(at); got != want {
			t.Errorf("%s: %v", value, got)
		}
	}
}

// TestAppendInDialogStrict: our own ACK and BYE to a server behind a strict router (RFC 3261 12.2.1.1).
func TestAppendInDialogStrict(t *testing.T) {
	ok := mustScan(t, lines("SIP/2.0 200 OK", "Via: SIP/2.0/UDP a", "Record-Route: <sip:far;lr>", "Record-Route: <sip:near>", "From: <sip:a>;tag=1", "To: <sip:b>;tag=2",
		"Call-ID: c", "CSeq: 7 INVITE", "Contact: <sip:server>", "Content-Length: 0"))
	routes, _ := ok.RecordRoutes(nil)
	m := mustScan(t, string(ok.AppendInDialog(nil, Bye, []byte("sip:x"), []byte(ourVia), routes)))
	equal(t, "Request-URI", string(m.Bytes(m.URI)), "sip:near")
	list, _ := m.Routes(nil)
	if len(list) != 2 || string(m.Bytes(list[0])) != "<sip:far;lr>" || string(m.Bytes(list[1])) != "<sip:server>" {
		t.Errorf("Route:\n%s", m.Raw)
	}
}
