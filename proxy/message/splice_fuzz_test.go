package message

import (
	"bytes"
	"errors"
	"testing"
)

const fuzzVia = "Via: SIP/2.0/UDP 10.9.9.9:5060;branch=z9hG4bKours\r\n"

// FuzzSplice has every message of our own made from anything that passes the scan: what we send must pass the scan as well,
// be the message it is meant to be, and carry what RFC 3261 takes from the one received.
func FuzzSplice(f *testing.F) {
	for _, raw := range fixtures(f) {
		f.Add(raw, []byte("<sip:cookie@10.9.9.9;lr>"), uint8(1))
	}
	for _, c := range torture {
		f.Add(vector(f, c.name), []byte("<sip:a;lr>, <sip:strict>"), uint8(2))
	}
	f.Add([]byte(response("SIP/2.0/UDP a", "SIP/2.0/UDP b")), []byte("<sip:a>,\r\n <sip:b>, \"x\" <sip:c;lr>;y"), uint8(3))
	f.Fuzz(func(t *testing.T, raw, routes []byte, n uint8) {
		var m Message
		if m.Scan(raw[:len(raw):len(raw)]) != nil {
			return
		}
		if m.Request {
			fuzzHops(t, &m)
			fuzzPops(t, &m, int(n))
			return
		}
		fuzzInDialog(t, &m)
		if bytes.ContainsAny(routes, "\r\n\x00") { // the line that the proxies behind us would have put there
			return
		}
		var with Message
		line := "Record-Route: " + string(routes) + "\r\n"
		if with.Scan([]byte(string(raw[:m.Headers])+line+string(raw[m.Headers:]))) == nil {
			fuzzInDialog(t, &with)
		}
	})
}

// made scans what we wrote. Its start line may be broken where the peer's own URI is.
func made(t *testing.T, what string, out []byte, foreignURI bool) (n Message, ok bool) {
	t.Helper()
	err := n.Scan(out)
	if foreignURI && (errors.Is(err, ErrRequestLine) || errors.Is(err, ErrNUL) || errors.Is(err, ErrVersion) || errors.Is(err, ErrNotSIP)) {
		return n, false
	}
	if err != nil {
		t.Fatalf("%s: %v\n%q", what, err, out)
	}
	return n, true
}

func fuzzHops(t *testing.T, m *Message) {
	for _, method := range []Method{Cancel, Ack} {
		h := Hop{Method: method, URI: m.Bytes(m.URI), Via: []byte(fuzzVia)}
		if method == Ack {
			h.To = []byte("To: <sip:b>;tag=theirs\r\n")
		}
		out := m.AppendHop(nil, &h)
		n, _ := made(t, method.String(), out, false)
		to := m.Bytes(m.To.All)
		if h.To != nil {
			to = h.To
		}
		if n.Method != method || n.ViaFields != 1 || n.CSeqNumber != m.CSeqNumber || len(n.BodyBytes()) != 0 || n.HasRoute() || n.Hops != 70 ||
			!bytes.Equal(n.Bytes(n.URI), m.Bytes(m.URI)) || !bytes.Equal(n.Bytes(n.To.All), to) ||
			!bytes.Equal(n.Bytes(n.From.All), m.Bytes(m.From.All)) || !bytes.Equal(n.Bytes(n.CallID.All), m.Bytes(m.CallID.All)) {
			t.Errorf("%v (RFC 3261 9.1, 17.1.1.3):\n%q", method, out)
		}
	}
}

// fuzzPops takes Route values off: of those that are there so many less are left, and they are the last.
func fuzzPops(t *testing.T, m *Message, k int) {
	before, ok := m.Routes(nil)
	if !ok || m.nroutes == maxRouteLines {
		return
	}
	e := fuzzEdit
	e.PopRoutes = min(k, 3) // the engine takes two off at most
	out := m.AppendRequest(nil, &e)
	n, _ := made(t, "forwarded", out, false)
	after, _ := n.Routes(nil)
	want := before[min(e.PopRoutes, len(before)):]
	if len(after) != len(want) {
		t.Fatalf("%d of %d Route values are left, %d taken off:\n%q", len(after), len(before), e.PopRoutes, out)
	}
	for i := range want {
		if !bytes.Equal(n.Bytes(after[i]), m.Bytes(want[i])) {
			t.Errorf("Route value %d is %q, was %q", i, n.Bytes(after[i]), m.Bytes(want[i]))
		}
	}
}

func fuzzInDialog(t *testing.T, m *Message) {
	routes, ok := m.RecordRoutes(nil)
	if !ok {
		return
	}
	for _, method := range []Method{Ack, Bye} {
		out := m.AppendInDialog(nil, method, []byte("sip:10.1.1.1:8060"), []byte(fuzzVia), routes)
		n, ok := made(t, method.String(), out, true)
		if !ok {
			continue
		}
		cseq := m.CSeqNumber
		if method == Bye {
			cseq++
		}
		if n.Method != method || n.ViaFields != 1 || n.CSeqNumber != cseq || len(n.BodyBytes()) != 0 ||
			!bytes.Equal(n.Bytes(n.To.All), m.Bytes(m.To.All)) || !bytes.Equal(n.Bytes(n.From.All), m.Bytes(m.From.All)) {
			t.Errorf("%v (RFC 3261 12.2.1.1):\n%q", method, out)
		}
		if left, ok := n.Routes(nil); !ok || len(left) != len(routes) {
			t.Errorf("%v: %d Route values from %d Record-Routes:\n%q", method, len(left), len(routes), out)
		}
	}
}
