package message

import (
	"flag"
	"net/netip"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with testdata/<name>.golden.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := "testdata/" + name + ".golden"
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, name, string(got), string(read(t, path)))
}

func response(via ...string) string {
	l := []string{"SIP/2.0 200 OK"}
	for _, v := range via {
		l = append(l, "Via: "+v)
	}
	return lines(append(l, "From: <sip:a@b>;tag=1", "To: <sip:c@d>;tag=2", "Call-ID: c", "CSeq: 7 INVITE", "Content-Length: 2")...) + "ok"
}

// TestAppendResponse takes the topmost Via value off, and nothing else (RFC 3261 16.7 step 3).
func TestAppendResponse(t *testing.T) {
	for _, c := range []struct{ name, raw, old, new string }{
		{"a line of its own", response("SIP/2.0/UDP a", "SIP/2.0/UDP b"), "Via: SIP/2.0/UDP a\r\n", ""},
		{"merged", response("SIP/2.0/UDP a;x , SIP/2.0/UDP b", "SIP/2.0/UDP c"), "SIP/2.0/UDP a;x , ", ""},
		{"merged without spaces", response("SIP/2.0/UDP a,SIP/2.0/UDP b"), "SIP/2.0/UDP a,", ""},
		{"merged and folded", response("\r\n SIP/2.0/UDP a,\r\n\tSIP/2.0/UDP b"), "SIP/2.0/UDP a,\r\n\t", ""},
		{"comma in quotes", response(`SIP/2.0/UDP a;x=",;", SIP/2.0/UDP b`), `SIP/2.0/UDP a;x=",;", `, ""},
		{"comma at the end", response("SIP/2.0/UDP a, ", "SIP/2.0/UDP b"), "Via: SIP/2.0/UDP a, \r\n", ""},
		{"ours alone", response("SIP/2.0/UDP a"), "Via: SIP/2.0/UDP a\r\n", ""},
		{"folded line", response("SIP/2.0/UDP a\r\n ;x", "SIP/2.0/UDP b"), "Via: SIP/2.0/UDP a\r\n ;x\r\n", ""},
		{"bytes behind the message (18.3)", response("SIP/2.0/UDP a") + "!", "Via: SIP/2.0/UDP a\r\n", ""},
		{"no Content-Length (18.3)", strings.Replace(response("SIP/2.0/UDP a", "SIP/2.0/UDP b"), "Content-Length: 2\r\n", "", 1),
			"Via: SIP/2.0/UDP a\r\n", "Content-Length: 2\r\n"},
		{"no Content-Length, merged", strings.Replace(response("SIP/2.0/UDP a, SIP/2.0/UDP b"), "Content-Length: 2\r\n", "", 1),
			"a, SIP/2.0/UDP b\r\n", "b\r\nContent-Length: 2\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.Count(c.raw, c.old) != 1 {
				t.Fatalf("%q is not there once", c.old)
			}
			got := string(mustScan(t, c.raw).AppendResponse([]byte("before")))
			equal(t, "response", got, "before"+strings.TrimSuffix(strings.Replace(c.raw, c.old, c.new, 1), "!"))
		})
	}
}

// TestAppendResponseFixtures puts a Via on top of each captured response, as a server would have found it, and takes it off.
func TestAppendResponseFixtures(t *testing.T) {
	for name, raw := range fixtures(t) {
		if m := mustScan(t, string(raw)); !m.Request {
			s := string(raw)
			on := mustScan(t, s[:m.Headers]+ourVia+s[m.Headers:])
			equal(t, name, string(on.AppendResponse(nil)), s)
			merged := mustScan(t, strings.Replace(s, "Via: ", strings.TrimSpace(ourVia)+" ,", 1))
			equal(t, name, string(merged.AppendResponse(nil)), s)
		}
	}
}

// TestAppendReply has responses of our own (RFC 3261 8.2.6.2): the copied headers, the To tag, received and rport.
func TestAppendReply(t *testing.T) {
	nat := netip.MustParseAddr("192.0.2.7")
	tail := "Call-ID: c@x\r\nCSeq: 7 INVITE\r\n"
	from := "From: <sip:10.0.0.1:5090>;tag=f\r\n"
	via := "Via: SIP/2.0/UDP 10.0.0.1:5090;branch=z9hG4bKa\r\n"
	for _, c := range []struct {
		name, raw string
		reply     Reply
		want      string
	}{
		{"486", request(), Reply{Status: 486, ToTag: []byte("mq1")},
			"SIP/2.0 486 Busy Here\r\n" + via + from + "To: <sip:10.0.0.9:8060>;tag=mq1\r\n" + tail},
		{"reason and header", request(), Reply{Status: 480, Reason: "No server", Header: "Retry-After: 5\r\n", ToTag: []byte("t")},
			"SIP/2.0 480 No server\r\n" + via + from + "To: <sip:10.0.0.9:8060>;tag=t\r\n" + tail + "Retry-After: 5\r\n"},
		{"100 has no tag of ours (8.2.6.2)", request(), Reply{Status: 100},
			"SIP/2.0 100 Trying\r\n" + via + from + "To: <sip:10.0.0.9:8060>\r\n" + tail},
		{"100 copies Timestamp (8.2.6.1)", request("TIMESTAMP : 54 0.1"), Reply{Status: 100},
			"SIP/2.0 100 Trying\r\n" + via + from + "To: <sip:10.0.0.9:8060>\r\n" + tail + "TIMESTAMP : 54 0.1\r\n"},
		{"others do not", request("Timestamp: 54"), Reply{Status: 480},
			"SIP/2.0 480 Temporarily Unavailable\r\n" + via + from + "To: <sip:10.0.0.9:8060>\r\n" + tail},
		{"a tag that is there stays (8.2.6.2)", with("To", "t: sip:a@b;TAG = 2"), Reply{Status: 481, ToTag: []byte("mq1")},
			"SIP/2.0 481 Call/Transaction Does Not Exist\r\n" + via + from + "t: sip:a@b;TAG = 2\r\n" + tail},
		{"folded To", with("To", "To:", " <sip:a@b>", " ;x=y "), Reply{Status: 404, ToTag: []byte("t")},
			"SIP/2.0 404 Not Found\r\n" + via + from + "To:\r\n <sip:a@b>\r\n ;x=y;tag=t\r\n" + tail},
		{"all Vias in order", with("Via", "Via: SIP/2.0/UDP a;rport, SIP/2.0/UDP b", "v: SIP/2.0/UDP c;rport"), Reply{Status: 400, Source: nat, Port: 9},
			"SIP/2.0 400 Bad Request\r\nVia: SIP/2.0/UDP a;rport=9;received=192.0.2.7, SIP/2.0/UDP b\r\nv: SIP/2.0/UDP c;rport\r\n" + from +
				"To: <sip:10.0.0.9:8060>\r\n" + tail},
		{"received before rport (RFC 3581 4)", with("Via", "Via: SIP/2.0/UDP a;received=6.6.6.6;rport;branch=z9"), Reply{Status: 400, Source: nat, Port: 9},
			"SIP/2.0 400 Bad Request\r\nVia: SIP/2.0/UDP a;branch=z9;rport=9;received=192.0.2.7\r\n" + from + "To: <sip:10.0.0.9:8060>\r\n" + tail},
		{"rport before received", with("Via", "Via: SIP/2.0/UDP a;rport;branch=z9;received=6.6.6.6"), Reply{Status: 400, Source: nat, Port: 9},
			"SIP/2.0 400 Bad Request\r\nVia: SIP/2.0/UDP a;branch=z9;rport=9;received=192.0.2.7\r\n" + from + "To: <sip:10.0.0.9:8060>\r\n" + tail},
		{"source as in sent-by", request(), Reply{Status: 400, Source: netip.MustParseAddr("10.0.0.1"), Port: 5090},
			"SIP/2.0 400 Bad Request\r\n" + via + from + "To: <sip:10.0.0.9:8060>\r\n" + tail},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := string(mustScan(t, c.raw).AppendReply([]byte("before"), &c.reply))
			equal(t, "reply", got, "before"+c.want+"Content-Length: 0\r\n\r\n")
			mustScan(t, strings.TrimPrefix(got, "before"))
		})
	}
}

// TestAppendReplyMalformed: a request that cannot be proxied still gets an answer that its client can match (16.3 step 1).
func TestAppendReplyMalformed(t *testing.T) {
	for name, raw := range map[string]string{
		"version": strings.Replace(request(), "SIP/2.0\r", "SIP/3.0\r", 1), "CSeq": with("CSeq", "CSeq: 7 BYE"), "hops": with("Max-Forwards", "Max-Forwards: x"),
		"URI": strings.Replace(request(), "sip:10.0.0.9:8060 ", "", 1), "no end": strings.TrimSuffix(request(), "\r\n"), "twice": request("To: <sip:other>"),
	} {
		var m Message
		if m.Scan([]byte(raw)) == nil {
			t.Errorf("%s: no error", name)
		}
		re := mustScan(t, string(m.AppendReply(nil, &Reply{Status: 400, ToTag: []byte("t")})))
		equal(t, name+" branch", string(re.Bytes(re.Via.Branch)), "z9hG4bKa")
		equal(t, name+" Call-ID", string(re.Bytes(re.CallID.Value)), "c@x")
		equal(t, name+" From tag", string(re.Bytes(re.FromTag)), "f")
		equal(t, name+" To", string(re.Bytes(re.To.Value)), "<sip:10.0.0.9:8060>;tag=t")
		if re.CSeqNumber != 7 {
			t.Errorf("%s: CSeq %d", name, re.CSeqNumber)
		}
	}
}

// TestAppendHop: CANCEL (RFC 3261 9.1) and the ACK to a failure (17.1.1.3) carry the INVITE's From, Call-ID and CSeq number,
// one Via, the branch's; the CANCEL has the INVITE's To, the ACK the response's.
func TestAppendHop(t *testing.T) {
	invite := mustScan(t, string(fixture(t, "umc-recog-udp-01-INVITE")))
	busy := mustScan(t, response("SIP/2.0/UDP a"))
	uri := []byte("sip:10.1.1.1:8060")
	golden(t, "hop-CANCEL", invite.AppendHop(nil, &Hop{Method: Cancel, URI: uri, Via: []byte(ourVia)}))
	golden(t, "hop-ACK", invite.AppendHop(nil, &Hop{Method: Ack, URI: uri, Via: []byte(ourVia), To: busy.Bytes(busy.To.All)}))
	for _, method := range []Method{Cancel, Ack} {
		m := mustScan(t, string(invite.AppendHop(nil, &Hop{Method: method, URI: uri, Via: []byte(ourVia)})))
		if m.Method != method || m.CSeqNumber != invite.CSeqNumber || m.ViaFields != 1 || m.Hops != 70 || m.ContentLength != 0 {
			t.Errorf("%v: %+v", method, m)
		}
		equal(t, "To", string(m.Bytes(m.To.All)), string(invite.Bytes(invite.To.All)))
	}
}

// TestAppendInDialog: the ACK and BYE that end a session nobody wants (RFC 3261 12.2.1.1, 13.2.2.4).
func TestAppendInDialog(t *testing.T) {
	ok := mustScan(t, string(fixture(t, "fs-via-kamailio-udp-to-udp-05-server-side-200-INVITE")))
	fallback := []byte("sip:10.1.1.1:8060")
	routes, good := ok.RecordRoutes(nil)
	if !good || len(routes) != 1 {
		t.Fatal(routes)
	}
	golden(t, "dialog-ACK", ok.AppendInDialog(nil, Ack, fallback, []byte(ourVia), nil))
	golden(t, "dialog-BYE", ok.AppendInDialog(nil, Bye, fallback, []byte(ourVia), routes))
	two := mustScan(t, strings.Replace(response("SIP/2.0/UDP a"), "From", "Record-Route: <sip:1;lr>, <sip:2;lr>\r\nRecord-Route: <sip:3;lr>;x\r\nFrom", 1))
	routes, _ = two.RecordRoutes(nil)
	m := mustScan(t, string(two.AppendInDialog(nil, Bye, fallback, []byte(ourVia), routes)))
	equal(t, "URI without a Contact", string(m.Bytes(m.URI)), string(fallback))
	back, _ := m.Routes(nil)
	var set []string
	for _, r := range back {
		set = append(set, string(m.Bytes(r)))
	}
	equal(t, "Route set, reversed (12.1.2)", strings.Join(set, " "), "<sip:3;lr>;x <sip:2;lr> <sip:1;lr>")
	if m.CSeqNumber != 8 || m.Method != Bye {
		t.Errorf("CSeq %d %v", m.CSeqNumber, m.Method)
	}
}

func TestReasonPhrase(t *testing.T) {
	for code := 100; code < 700; code++ {
		if ReasonPhrase(code) == "" {
			t.Errorf("%d has none", code)
		}
	}
	equal(t, "480", ReasonPhrase(480), "Temporarily Unavailable")
	equal(t, "481", ReasonPhrase(481), "Call/Transaction Does Not Exist")
	equal(t, "487", ReasonPhrase(487), "Request Terminated")
}
