package message

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// TestScanForms has the many ways of writing the same (RFC 3261 7.3, 20, 25).
func TestScanForms(t *testing.T) {
	text := func(s func(*Message) Span) func(*Message) string {
		return func(m *Message) string { return string(m.Bytes(s(m))) }
	}
	fromTag := text(func(m *Message) Span { return m.FromTag })
	toTag := text(func(m *Message) Span { return m.ToTag })
	callID := text(func(m *Message) Span { return m.CallID.Value })
	userAgent := text(func(m *Message) Span { return m.UserAgent.Value })
	contact := text(func(m *Message) Span { return m.Contact.Value })
	expires := text(func(m *Message) Span { return m.SessionExpires.Value })
	cseq := text(func(m *Message) Span { return m.CSeqMethod })
	reason := text(func(m *Message) Span { return m.Reason })
	body := func(m *Message) string { return string(m.BodyBytes()) }
	for _, c := range []struct {
		name string
		raw  string
		get  func(*Message) string
		want string
	}{
		{"folded value (7.3.1)", with("Call-ID", "Call-ID:", "  c@x"), callID, "c@x"},
		{"folded with a tab", with("From", "From: <sip:a@b>", "\t;tag=1"), fromTag, "1"},
		{"folded three times", with("From", "From:", " <sip:a@b>", "  ;x=1", " ; tag = 1"), fromTag, "1"},
		{"folded CSeq", with("CSeq", "CSeq: 7", " INVITE"), cseq, "INVITE"},
		{"fold of blanks only", with("Call-ID", "Call-ID: c@x", "   "), callID, "c@x"},
		{"compact From (7.3.3)", with("From", "f: <sip:a@b>;tag=1"), fromTag, "1"},
		{"compact From, capital", with("From", "F: <sip:a@b>;tag=1"), fromTag, "1"},
		{"compact To", with("To", "t: <sip:a@b>;tag=2"), toTag, "2"},
		{"compact Call-ID", with("Call-ID", "i:c"), callID, "c"},
		{"compact Contact", request("m: <sip:x>"), contact, "<sip:x>"},
		{"compact Session-Expires (RFC 4028 4)", request("x: 600"), expires, "600"},
		{"compact Content-Type", request("c: application/sdp"), text(func(m *Message) Span { return m.ContentType.Value }), "application/sdp"},
		{"Proxy-Require, by the letter", request("PROXY-require: foo", "Proxy-Require: bar"), text(func(m *Message) Span { return m.ProxyRequire.Value }), "foo"},
		{"compact Content-Length", with("Content-Length", "l: 2") + "ab", body, "ab"},
		{"space before the colon", with("Call-ID", "Call-ID \t : c"), callID, "c"},
		{"space before the colon of a compact form", with("Call-ID", "i : c"), callID, "c"},
		{"no space behind the colon", with("Call-ID", "Call-ID:c"), callID, "c"},
		{"white space at the end", with("Call-ID", "Call-ID: c \t"), callID, "c"},
		{"upper case names", with("From", "FROM: <sip:a@b>;tag=1"), fromTag, "1"},
		{"TAG in capitals", with("From", "From: <sip:a@b>;TAG=1"), fromTag, "1"},
		{"spaces around tag", with("From", "From: <sip:a@b> ; tag = 1 ;x"), fromTag, "1"},
		{"tag of a bare address (20.20)", with("From", "From: sip:a@b;tag=1"), fromTag, "1"},
		{"tag inside the brackets is the URI's", with("To", "To: <sip:a@b;tag=1>"), toTag, ""},
		{"tag of a name in quotes", with("To", `To: "x;tag=1 <sip:no>, y\"" <sip:a@b>;tag=2`), toTag, "2"},
		{"tag in a quoted parameter", with("To", `To: <sip:a@b>;x=";tag=1";tag=2`), toTag, "2"},
		{"parameter that ends like tag", with("To", "To: <sip:a@b>;xtag=1;tagx=2"), toTag, ""},
		{"name of tokens", with("To", "To: Anna B <sip:a@b>;tag=2"), toTag, "2"},
		{"tel address", with("To", "To: <tel:+43;x=1>;tag=2"), toTag, "2"},
		{"8-bit and NUL bytes in a name", with("From", "From: \"\xff\x00\xc3\xa4\" <sip:a@b>;tag=1"), fromTag, "1"},
		{"8-bit and NUL bytes in a value", request("User-Agent: \x00\xfe\x01"), userAgent, "\x00\xfe\x01"},
		{"NUL bytes in the body", with("Content-Length", "Content-Length: 3") + "\x00\r\n", body, "\x00\r\n"},
		{"bare LF", strings.ReplaceAll(request("User-Agent: x"), "\r\n", "\n"), userAgent, "x"},
		{"bare LF, folded", strings.ReplaceAll(with("Call-ID", "Call-ID:", " c"), "\r\n", "\n"), callID, "c"},
		{"the first of several Contacts", request("Contact: <sip:x>", "Contact: <sip:y>"), contact, "<sip:x>"},
		{"Content-Length twice, the same", with("Content-Length", "Content-Length: 2", "l: 2") + "ab", body, "ab"},
		{"no Content-Length: all there is (18.3)", with("Content-Length") + "abc", body, "abc"},
		{"bytes behind the body (18.3)", with("Content-Length", "Content-Length: 2") + "abc", body, "ab"},
		{"empty header", request("User-Agent:"), userAgent, ""},
		{"empty header before the end", request("User-Agent: "), userAgent, ""},
		{"header names that only look known", request("Froms: x", "Viaa: x", "y: 1", "Call-IX: z"), callID, "c@x"},
		{"lower case version", strings.Replace(request(), "SIP/2.0\r", "sip/2.0\r", 1), callID, "c@x"},
		{"reason of several words", lines(append([]string{"SIP/2.0 480 Not  now "}, answer...)...), reason, "Not  now "},
		{"empty reason (7.2)", lines(append([]string{"SIP/2.0 200 "}, answer...)...), reason, ""},
		{"no reason and no space", lines(append([]string{"SIP/2.0 200"}, answer...)...), reason, ""},
		{"no reason, bare LF", strings.ReplaceAll(lines(append([]string{"SIP/2.0 200"}, answer...)...), "\r\n", "\n"), reason, ""},
		{"8-bit reason", lines(append([]string{"SIP/2.0 200 \xc3\x96K"}, answer...)...), reason, "\xc3\x96K"},
		{"lower case version of a status", lines(append([]string{"sip/2.0 200 OK"}, answer...)...), reason, "OK"},
		{"CSeq of the highest number", with("CSeq", "CSeq: 4294967295 \t INVITE"), cseq, "INVITE"},
		{"CSeq with leading zeros", with("CSeq", "CSeq: 000000000000007 INVITE"), cseq, "INVITE"},
	} {
		t.Run(c.name, func(t *testing.T) { equal(t, "value", c.get(mustScan(t, c.raw)), c.want) })
	}
}

var answer = []string{"Via: SIP/2.0/UDP 10.0.0.1", "From: <sip:a@b>;tag=1", "To: <sip:c@d>;tag=2", "Call-ID: c", "CSeq: 7 INVITE", "Content-Length: 0"}

// TestMethods: methods are case-sensitive (RFC 3261 7.1), and one that we do not know must be relayed (16.3).
func TestMethods(t *testing.T) {
	for text, want := range map[string]Method{
		"INVITE": Invite, "ACK": Ack, "BYE": Bye, "CANCEL": Cancel, "OPTIONS": Options, "UPDATE": Update,
		"invite": Other, "INFO": Other, "INVITES": Other, "!%x": Other,
	} {
		m := mustScan(t, strings.ReplaceAll(request(), "INVITE", text))
		if m.Method != want || string(m.Bytes(m.MethodText)) != text || string(m.Bytes(m.CSeqMethod)) != text {
			t.Errorf("%s is %q", text, m.Method)
		}
	}
}

// TestScanErrors has what must not be proxied. All but the first group can be answered: the fields that a response needs
// are set in spite of the error.
func TestScanErrors(t *testing.T) {
	start := func(line string) string {
		return strings.Replace(request(), "INVITE sip:10.0.0.9:8060 SIP/2.0", line, 1)
	}
	status := func(line string) string { return lines(append([]string{line}, answer...)...) }
	for _, c := range []struct {
		name string
		raw  string
		want error
		dead bool // nothing to answer
	}{
		{"nothing", "", ErrNotSIP, true},
		{"keepalive (RFC 5626 4.4.1)", "\r\n\r\n", ErrNotSIP, true},
		{"no line end", "INVITE sip:a SIP/2.0", ErrNotSIP, true},
		{"HTTP", start("GET / HTTP/1.1"), ErrNotSIP, true},
		{"binary", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\n\x00", ErrNotSIP, true},
		{"leading space", start(" INVITE sip:a SIP/2.0"), ErrNotSIP, true},
		{"method no token", start("INV/ITE sip:a SIP/2.0"), ErrNotSIP, true},
		{"status of four digits", status("SIP/2.0 2000 OK"), ErrStatus, true},
		{"status of two digits", status("SIP/2.0 20 OK"), ErrStatus, true},
		{"status 099", status("SIP/2.0 099 x"), ErrStatus, true},
		{"status 700", status("SIP/2.0 700 x"), ErrStatus, true},
		{"status of letters", status("SIP/2.0 OK 200"), ErrStatus, true},
		{"status line of version 3", status("SIP/3.0 200 OK"), ErrStatus, true},
		{"no Via", with("Via"), ErrNoVia, true},

		{"version 3.0 (21.5.6)", start("INVITE sip:a SIP/3.0"), ErrVersion, false},
		{"version 2.00", start("INVITE sip:a SIP/2.00"), ErrVersion, false},
		{"trailing space (RFC 3261 7.1)", start("INVITE sip:a SIP/2.0 "), ErrRequestLine, false},
		{"trailing space and version 3.0", start("INVITE sip:a SIP/3.0\t "), ErrVersion, false},
		{"no Request-URI", start("INVITE SIP/2.0"), ErrRequestLine, false},
		{"empty Request-URI", start("INVITE  SIP/2.0"), ErrRequestLine, false},
		{"two spaces", start("INVITE  sip:a SIP/2.0"), ErrRequestLine, false},
		{"space in the Request-URI", start("INVITE sip:a b SIP/2.0"), ErrRequestLine, false},
		{"tab in the Request-URI", start("INVITE sip:a\tb SIP/2.0"), ErrRequestLine, false},
		{"Request-URI without a scheme", start("INVITE 10.0.0.9 SIP/2.0"), ErrRequestLine, false},
		{"Request-URI with an empty scheme", start("INVITE :10.0.0.9 SIP/2.0"), ErrRequestLine, false},
		{"folded start line (7.3.1)", start("INVITE sip:a SIP/2.0\r\n Via: x"), ErrHeader, false},
		{"Request-URI of a scheme that is none", start("INVITE 1sip:a SIP/2.0"), ErrRequestLine, false},
		{"Request-URI of a scheme with a slash", start("INVITE s/p:a SIP/2.0"), ErrRequestLine, false},
		{"Request-URI in angle brackets", start("INVITE <sip:a> SIP/2.0"), ErrRequestLine, false},
		{"angle bracket in the Request-URI", start("INVITE sip:a> SIP/2.0"), ErrRequestLine, false},
		{"quote in the Request-URI", start("INVITE sip:\"a\" SIP/2.0"), ErrRequestLine, false},
		{"DEL in the Request-URI", start("INVITE sip:\x7f SIP/2.0"), ErrRequestLine, false},
		{"headers in the Request-URI (19.1.1)", start("INVITE sip:a?b@c?d=e SIP/2.0"), ErrRequestLine, false},
		{"headers in a sips Request-URI", start("INVITE SIPS:c?d=e SIP/2.0"), ErrRequestLine, false},
		{"line without a colon", request("Subject"), ErrHeader, false},
		{"line without a name", request(": x"), ErrHeader, false},
		{"no From", with("From"), ErrMissing, false},
		{"no To", with("To"), ErrMissing, false},
		{"no Call-ID", with("Call-ID"), ErrMissing, false},
		{"no CSeq", with("CSeq"), ErrMissing, false},
		{"empty Call-ID", with("Call-ID", "Call-ID: "), ErrMissing, false},
		{"From twice (7.3.1)", request("f: <sip:x@y>;tag=2"), ErrDuplicate, false},
		{"To twice", request("To: <sip:x@y>"), ErrDuplicate, false},
		{"Call-ID twice", request("i: other"), ErrDuplicate, false},
		{"CSeq twice", request("CSeq: 7 INVITE"), ErrDuplicate, false},
		{"Max-Forwards twice", request("Max-Forwards: 70"), ErrDuplicate, false},
		{"From without an address", with("From", "From: Anna"), ErrAddress, false},
		{"From with an open quote", with("From", `From: "Anna <sip:a@b>;tag=1`), ErrAddress, false},
		{"From with an open bracket", with("From", "From: <sip:a@b;tag=1"), ErrAddress, false},
		{"To with an open quoted parameter", with("To", `To: <sip:a@b>;x="y`), ErrAddress, false},
		{"name with a comma and no quotes (20.10)", with("From", "From: Bell, A. <sip:a@b>;tag=1"), ErrAddress, false},
		{"something behind the quoted name", with("From", `From: "Bell"@ <sip:a@b>;tag=1`), ErrAddress, false},
		{"something behind the tag", with("To", "To: <sip:a@b>;tag=1 x"), ErrAddress, false},
		{"something behind the tag's name", with("To", `To: <sip:a@b>;tag"=1`), ErrAddress, false},
		{"To with a backslash at the end", with("To", `To: "Anna\`), ErrAddress, false},
		{"CSeq too large (20.16)", with("CSeq", "CSeq: 4294967296 INVITE"), ErrCSeq, false},
		{"CSeq far too large", with("CSeq", "CSeq: 99999999999999999999999 INVITE"), ErrCSeq, false},
		{"CSeq negative", with("CSeq", "CSeq: -1 INVITE"), ErrCSeq, false},
		{"CSeq without a method", with("CSeq", "CSeq: 7"), ErrCSeq, false},
		{"CSeq without a space", with("CSeq", "CSeq: 7INVITE"), ErrCSeq, false},
		{"CSeq without a number", with("CSeq", "CSeq: INVITE"), ErrCSeq, false},
		{"CSeq of two methods", with("CSeq", "CSeq: 7 INVITE BYE"), ErrCSeq, false},
		{"CSeq of another method (8.1.1.5)", with("CSeq", "CSeq: 7 BYE"), ErrCSeq, false},
		{"CSeq of another method, unknown", strings.Replace(request(), "INVITE sip", "NEW sip", 1), ErrMethod, false},
		{"CSeq in other case", with("CSeq", "CSeq: 7 invite"), ErrCSeq, false},
		{"Max-Forwards 256 (20.22)", with("Max-Forwards", "Max-Forwards: 256"), ErrMaxForwards, false},
		{"Max-Forwards negative", with("Max-Forwards", "Max-Forwards: -1"), ErrMaxForwards, false},
		{"Max-Forwards empty", with("Max-Forwards", "Max-Forwards:"), ErrMaxForwards, false},
		{"Content-Length too large for the datagram (18.3)", with("Content-Length", "Content-Length: 3") + "ab", ErrContentLength, false},
		{"Content-Length without bound", with("Content-Length", "Content-Length: 99999999999999999999"), ErrContentLength, false},
		{"Content-Length negative", with("Content-Length", "Content-Length: -1"), ErrContentLength, false},
		{"Content-Length empty", with("Content-Length", "Content-Length:"), ErrContentLength, false},
		{"Content-Length twice, not the same", request("l: 1") + "a", ErrContentLength, false},
		{"header section without an end", strings.TrimSuffix(request(), "\r\n"), ErrUnterminated, false},
		{"last line without an end", request()[:len(request())-3], ErrUnterminated, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var m Message
			if err := m.Scan([]byte(c.raw)); !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			checkSpans(t, &m)
			exercise(&m)
			if answerable := !m.Via.Value.Empty(); answerable == c.dead {
				t.Errorf("topmost Via read: %v", answerable)
			}
		})
	}
}

// exercise calls all that may be called on a message, whatever its state.
func exercise(m *Message) {
	src := netip.MustParseAddr("2001:db8::1")
	var buf [16]Span
	m.Routes(buf[:0])
	rr, _ := m.RecordRoutes(buf[:0])
	m.EachVia(func(*Via) bool { return true })
	m.Bytes(m.URI)
	m.BodyBytes()
	ParseURI(m.Bytes(m.URI))
	ParseHost(m.Bytes(m.Via.Host))
	for _, n := range []string{"via", "from", "contact", "x", "retry-after"} {
		m.Field(n)
	}
	AddrSpec(m.Raw, m.Contact.Value)
	m.AppendRequest(nil, &Edit{URI: []byte("sip:x"), Insert: []byte("X: y\r\n"), PopRoutes: 3, Hops: 1, Source: src, Port: 1})
	m.AppendResponse(nil)
	m.AppendReply(nil, &Reply{Status: 100, ToTag: []byte("t"), Source: src, Port: 1})
	m.AppendHop(nil, &Hop{Method: Cancel})
	m.AppendInDialog(nil, Bye, []byte("sip:x"), nil, rr)
	m.AppendTo(nil)
}

// TestTruncated cuts messages at every byte: whatever is left, nothing panics and no position lies outside of it.
func TestTruncated(t *testing.T) {
	rich := lines("INVITE sip:a@[::1]:5060 SIP/2.0", `Via : SIP / 2.0 / UDP [2001:db8::9] : 50 ; rport ; branch = "x\"y";received=1.2.3.4 , SIP/2.0/TCP b`, "Route: <sip:a;lr>,", " \"x,y\" <sip:b;lr>",
		"f: \"a\\\"b,\" <sip:a@b> ;TAG = 1", "To: sip:c", "i: x", "CSeq: 1 INVITE", "m: <sip:q>", "Record-Route: <sip:r>", "l: 4") + "abcd"
	mustScan(t, rich)
	all := map[string][]byte{"rich": []byte(rich)}
	for _, n := range []string{"fs-recog-udp-01-INVITE", "fs-via-kamailio-udp-to-udp-05-server-side-200-INVITE", "umc-CANCEL-udp"} {
		all[n] = fixture(t, n)
	}
	for name, raw := range all {
		t.Run(name, func(t *testing.T) {
			for i := range raw {
				cut := append(make([]byte, 0, i), raw[:i]...)
				var m Message
				if err := m.Scan(cut[:i:i]); err == nil {
					t.Errorf("the first %d of %d bytes are taken for a message", i, len(raw))
				}
				checkSpans(t, &m)
				exercise(&m)
			}
		})
	}
}

// TestScanReuse: a Message keeps nothing of the message before.
func TestScanReuse(t *testing.T) {
	var used, fresh Message
	if err := used.Scan(fixture(t, "fs-via-kamailio-udp-to-udp-05-server-side-200-INVITE")); err != nil {
		t.Fatal(err)
	}
	raw := []byte(request())
	if err := errors.Join(used.Scan(raw), fresh.Scan(raw)); err != nil {
		t.Fatal(err)
	}
	used.Raw, fresh.Raw = nil, nil
	if a, b := used, fresh; a.Via != b.Via || a.From != b.From || a.RecordRoute != b.RecordRoute || a.Contact != b.Contact ||
		a.SessionExpires != b.SessionExpires || a.Status != b.Status || a.routes != b.routes || a.nroutes != b.nroutes || a.UserAgent != b.UserAgent {
		t.Errorf("%+v\n%+v", a, b)
	}
}
