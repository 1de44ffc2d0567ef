package message

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
)

var fuzzEdit = Edit{
	URI: []byte("sip:10.1.1.1:8060"), Insert: []byte(ourVia + "Record-Route: <sip:cookie@10.9.9.9;lr>\r\n"), PopRoutes: 1, Hops: 69,
	Source: netip.AddrFrom4([4]byte{192, 0, 2, 7}), Port: 4242,
}

// FuzzScan feeds anything to the scan. Nothing may panic or point outside of the bytes; a message that passes must pass again
// as we write it, with all that belongs to the ends unchanged.
func FuzzScan(f *testing.F) {
	for _, raw := range fixtures(f) {
		f.Add(raw)
	}
	for _, c := range torture {
		f.Add(vector(f, c.name))
	}
	f.Add([]byte(request("Subject: \r", "X: \x00")))
	f.Add([]byte(request("Route: <sip:a>, <sip:b>", "Route: <sip:c>", "m: <sip:x>")))
	f.Add([]byte(with("Via", "v : SIP / 2.0 / UDP [::1] : 5 ;rport;received=1.1.1.1 ,", " SIP/2.0/TCP b")))
	f.Add([]byte(with("Via", "Via: SIP/2.0/UDP a;rport\"")))
	f.Add([]byte(with("Max-Forwards") + "body"))
	f.Add([]byte(with("Content-Length", "Timestamp: 1") + "body"))
	f.Add([]byte(response("SIP/2.0/UDP a;x=\",\", SIP/2.0/UDP b", "SIP/2.0/UDP c")))
	f.Add([]byte(response("SIP/2.0/UDP a", "SIP/2.0/UDP c")))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var m Message
		err := m.Scan(raw[:len(raw):len(raw)])
		checkSpans(t, &m)
		exercise(&m)
		switch {
		case err != nil:
		case m.Request:
			fuzzRequest(t, &m)
			fuzzReply(t, &m)
		default:
			fuzzResponse(t, &m)
		}
	})
}

func fuzzRequest(t *testing.T, m *Message) {
	out := m.AppendRequest(nil, &fuzzEdit)
	var n Message
	if err := n.Scan(out); err != nil {
		t.Fatalf("forwarded: %v\n%q", err, out)
	}
	sameEnds(t, m, &n, out)
	if !bytes.Equal(m.BodyBytes(), n.BodyBytes()) || m.CSeqNumber != n.CSeqNumber || !bytes.Equal(m.Bytes(m.CSeq.Value), n.Bytes(n.CSeq.Value)) {
		t.Errorf("CSeq or body changed:\n%q", out)
	}
	if n.Hops != 69 || n.Method != m.Method || n.ViaFields != m.ViaFields+1 || n.ContentLength < 0 {
		t.Errorf("hops %d, %v, %d Vias:\n%q", n.Hops, n.Method, n.ViaFields, out)
	}
	if last, ok := m.LastRoute(); ok {
		for _, keep := range []bool{false, true} {
			again := m.AppendRerouted(nil, last, keep)
			if err := n.Scan(again); err != nil && !errors.Is(err, ErrRequestLine) && !errors.Is(err, ErrNUL) && !errors.Is(err, ErrVersion) && !errors.Is(err, ErrNotSIP) {
				t.Fatalf("rerouted: %v\n%q", err, again)
			}
			if len(m.BodyBytes()) > 0 && !bytes.HasSuffix(again, m.BodyBytes()) {
				t.Errorf("body changed:\n%q", again)
			}
		}
		_ = n.Scan(out)
	}
	// The next hop takes our Via off its response; the client's must then be as it was but for the source.
	first := true
	n.EachVia(func(v *Via) bool {
		if first && (!bytes.Equal(n.Bytes(v.Host), m.Bytes(m.Via.Host)) || v.Port != m.Via.Port || !bytes.Equal(n.Bytes(v.Branch), m.Bytes(m.Via.Branch))) {
			t.Errorf("the client's Via changed:\n%q", out)
		}
		first = false
		return false
	})
	if first {
		t.Errorf("the client's Via is gone:\n%q", out)
	}
}

func fuzzReply(t *testing.T, m *Message) {
	out := m.AppendReply(nil, &Reply{Status: 480, ToTag: []byte("mq"), Header: "Retry-After: 5\r\n", Source: fuzzEdit.Source, Port: 4242})
	var n Message
	if err := n.Scan(out); err != nil {
		t.Fatalf("answered: %v\n%q", err, out)
	}
	if n.Request || n.Status != 480 || n.ViaFields != m.ViaFields || len(n.BodyBytes()) != 0 || n.CSeqNumber != m.CSeqNumber {
		t.Errorf("%d, %d Vias, body %q:\n%q", n.Status, n.ViaFields, n.BodyBytes(), out)
	}
	if !bytes.Equal(m.Bytes(m.From.Value), n.Bytes(n.From.Value)) || !bytes.Equal(m.Bytes(m.CallID.Value), n.Bytes(n.CallID.Value)) ||
		!bytes.HasPrefix(n.Bytes(n.To.Value), m.Bytes(m.To.Value)) || !bytes.Equal(m.Bytes(m.Via.Branch), n.Bytes(n.Via.Branch)) {
		t.Errorf("From, To, Call-ID or branch changed:\n%q", out)
	}
}

func fuzzResponse(t *testing.T, m *Message) {
	out := m.AppendResponse(nil)
	var n Message
	if err := n.Scan(out); err != nil && !errors.Is(err, ErrNoVia) && !errors.Is(err, ErrVia) {
		t.Fatalf("relayed: %v\n%q", err, out)
	}
	if n.Status != m.Status {
		t.Errorf("status %d, was %d", n.Status, m.Status)
	}
	sameEnds(t, m, &n, out)
	if n.End != 0 && !bytes.Equal(m.BodyBytes(), n.Raw[n.Body:]) {
		t.Errorf("body changed:\n%q", out)
	}
}

func sameEnds(t *testing.T, m, n *Message, out []byte) {
	if !bytes.Equal(m.Bytes(m.From.All), n.Bytes(n.From.All)) || !bytes.Equal(m.Bytes(m.To.All), n.Bytes(n.To.All)) ||
		!bytes.Equal(m.Bytes(m.CallID.All), n.Bytes(n.CallID.All)) || !bytes.Equal(m.Bytes(m.CSeq.All), n.Bytes(n.CSeq.All)) {
		t.Errorf("From, To, Call-ID or CSeq changed:\n%q", out)
	}
}

// FuzzValues feeds anything to what reads a value on its own.
func FuzzValues(f *testing.F) {
	for _, s := range []string{
		"sip:a:b@[::1]:5060;transport=tcp;lr?x=y", "sips:a?b@h", `"a\"<,>" <sip:b;x="y">;tag=1, <sip:c>`, "10.0.0.1", "[::ffff:1.2.3.4]", "fe80::1%eth0",
		`;a="\";b=";tag = "x" ; lr`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = b[:len(b):len(b)]
		all := Span{0, len(b)}
		inside := func(s Span) {
			if s.Off < 0 || s.End < s.Off || s.End > len(b) {
				t.Errorf("%v of %d", s, len(b))
			}
		}
		if u, ok := ParseURI(b); ok && (len(u.Host) == 0 || u.Port < 0 || u.Port > 65535) {
			t.Errorf("%+v", u)
		}
		if a, ok := ParseHost(b); ok {
			if again, ok := ParseHost(a.AppendTo(nil)); !ok || again != a {
				t.Errorf("%v is %v", a, again)
			}
		}
		inside(AddrSpec(b, all))
		tag, _ := addressTag(b, all)
		inside(tag)
		v, whole, _ := param(b, 0, len(b), "tag")
		inside(v)
		inside(whole)
		list, _ := values(b, all, nil)
		for i, s := range list {
			inside(s)
			if i > 0 && s.Off <= list[i-1].End {
				t.Errorf("values overlap: %v", list)
			}
		}
		var via Via
		if parseVia(b, 0, len(b), &via) {
			for _, s := range []Span{via.Value, via.Transport, via.Host, via.Branch, via.Received, via.RPort} {
				inside(s)
			}
			if via.Next < 0 || via.Next >= len(b) && via.Next != 0 {
				t.Errorf("next at %d of %d", via.Next, len(b))
			}
		}
	})
}
