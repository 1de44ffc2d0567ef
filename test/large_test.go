package test

import (
	"strings"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

// padded is an INVITE with a header that makes it about size bytes long, without its body.
func padded(size int) rawRequest {
	return rawRequest{lines: "X-Padding: " + strings.Repeat("p", size-400) + "\r\n"}
}

// TestLargeMessages: a long header is carried like any other while a datagram holds it. One too large for what it came by
// or has to go by is refused, and is no server's fault, however often it comes.
func TestLargeMessages(t *testing.T) {
	t.Parallel()
	s := newSiege(t, "")
	udp, tcp := s.lab.dial("udp", 6), s.lab.dial("tcp", 6)
	for _, p := range []*rawPeer{udp, tcp} {
		p.establish(padded(60 << 10)).bye()
	}

	// What fits one datagram as it comes does not as it leaves, with our Via and Record-Route.
	for range 8 {
		if a := udp.ask(padded(65507 - 300)); a.code != 513 || !strings.Contains(a.value("Warning"), "too_large") {
			t.Errorf("a full datagram: want 513, got\n%.300s", a.head)
		}
	}
	for range 8 {
		r := padded(60 << 10)
		r.body = offer("speechrecog") + strings.Repeat("x", 20<<10)
		if a := tcp.ask(r); a.code != 513 || !strings.Contains(a.value("Warning"), "too_large") {
			t.Errorf("80 KiB by TCP for a server by UDP: want 513, got\n%.300s", a.head)
		}
	}
	udp.establish(rawRequest{}).bye() // the server has not been taken out for it

	// More than 64 KiB of headers end a connection.
	q := s.lab.dial("tcp", 6)
	r := padded(70 << 10)
	_, _ = q.conn.Write([]byte(r.text(q))) // it may be closed before all is written
	if a, ok := q.read(5 * time.Second); ok {
		t.Errorf("70 KiB of headers were answered\n%.300s", a.head)
	}
	s.await("the stream is counted as not framed", 10*time.Second, func() bool { return s.dropped("framing") == 1 })

	// Many headers, a folded one, NULs, and bytes that are no UTF-8.
	for _, lines := range []string{strings.Repeat("X-Many: 1\r\n", 4000), "Subject: a\r\n b\r\n\tc\r\n", "X-Nul: a\x00b\r\n", "X-Bytes: \xff\xfe\x80\r\n"} {
		for _, p := range []*rawPeer{udp, tcp} {
			if a := p.ask(rawRequest{lines: lines}); a.code != 200 {
				t.Errorf("%.40q by %s: %.300s", lines, p.network, a.head)
			}
		}
	}
	s.survived(3)
}

// TestStrays: responses to nothing, and requests that belong to no one.
func TestStrays(t *testing.T) {
	t.Parallel()
	s := newSiege(t, "")
	p := s.lab.dial("udp", 6)
	d := p.establish(rawRequest{})
	before := s.server.Stats()
	branches := []string{"z9hG4bKnobody", "z9hG4bKmq", "z9hG4bKmq" + strings.Repeat("0", 34), "z9hG4bKmq" + strings.Repeat("f", 34), "z9hG4bKmq" + strings.Repeat("z", 34)}
	for _, b := range branches {
		for _, status := range []string{"100 Trying", "200 OK", "503 Service Unavailable"} {
			p.send("SIP/2.0 " + status + "\r\nVia: SIP/2.0/UDP " + s.lab.proxyAddr() + ";branch=" + b + "\r\nVia: SIP/2.0/UDP " + p.addr() + ";branch=z9hG4bKx\r\n" +
				"From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\nCall-ID: stray\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n")
		}
	}
	s.await("the responses are counted", 10*time.Second, func() bool { return s.dropped("stray_response") == float64(3*len(branches)) })
	if a, ok := p.read(50 * time.Millisecond); ok {
		t.Errorf("a response to nothing was sent on:\n%s", a.head)
	}
	ack := rawRequest{method: "ACK", toTag: "nobody"}
	p.send(ack.text(p)) // never answered
	for _, c := range []struct {
		r    rawRequest
		code int
	}{
		{rawRequest{method: "CANCEL"}, 481},
		{rawRequest{method: "BYE", toTag: "nobody"}, 481},
		{rawRequest{toTag: "nobody"}, 481},
		{rawRequest{method: "INFO", toTag: "nobody"}, 481},
		{rawRequest{method: "BYE"}, 403},
		{rawRequest{method: "REGISTER"}, 403},
		{rawRequest{method: "MESSAGE"}, 403},
		{rawRequest{method: "FOO"}, 403},
		{rawRequest{lines: "Route: <sip:" + s.lab.ip(21) + ":8060;lr>\r\n"}, 403},
		{rawRequest{lines: "Route: <sip:" + s.lab.proxyAddr() + ";lr>, <sip:" + s.lab.ip(21) + ":8060;lr>\r\n"}, 403},
		{rawRequest{lines: "Route: <sip:" + s.lab.ip(21) + ":8060;lr>\r\n", toTag: "nobody", method: "BYE"}, 481},
		{rawRequest{lines: "Proxy-Require: magic\r\n"}, 420},
		{rawRequest{uri: "http://a/b"}, 416},
		{rawRequest{lines: "Max-Forwards: 70\r\n"}, 400}, // there is one already
	} {
		if a := p.ask(c.r); a.code != c.code {
			t.Errorf("%s with To tag %q and %q: want %d, got\n%s", c.r.method, c.r.toTag, c.r.lines, c.code, a.head)
		}
	}
	after := s.server.Stats()
	if after.UnknownByes != before.UnknownByes || after.Refused != before.Refused {
		t.Errorf("something reached the server: before %+v, after %+v", before, after)
	}
	d.bye()
	s.survived(3)
}

// TestForged: a Record-Route of ours that was changed, or is taken to another dialog, opens no way to the server.
func TestForged(t *testing.T) {
	t.Parallel()
	s := newSiege(t, "")
	s.end() // the counts of the server are to be those of this test
	for _, network := range []string{"udp", "tcp"} {
		p := s.lab.dial(network, 6)
		mine, other := p.establish(rawRequest{}), p.establish(rawRequest{})
		before := s.inDialogs()
		at := strings.Index(mine.route, "@")
		for i := range at - len("Route: <sip:") { // each character of the first cookie
			forged := *mine
			k := len("Route: <sip:") + i
			c := "A"
			if mine.route[k] == 'A' {
				c = "B"
			}
			forged.route = mine.route[:k] + c + mine.route[k+1:]
			if network == "tcp" { // the second is its twin: both, or the first that is ours would do
				forged.route = strings.SplitAfter(forged.route, "\r\n")[0]
			}
			forged.refused("BYE")
		}
		for _, route := range []string{other.route, "", strings.Replace(mine.route, "sip:", "sip:AAAA", 1), "Route: <sip:" + s.lab.proxyAddr() + ";lr>\r\n"} {
			forged := *mine
			forged.route = route
			forged.refused("BYE")
			forged.refused("INFO")
		}
		stolen := *mine // the right cookie, with tags of no dialog
		stolen.toTag = "someone"
		msg := strings.Replace(stolen.request("BYE"), ";tag=t", ";tag=u", 1)
		p.send(msg)
		if a := p.final("BYE"); a.code != 481 {
			t.Errorf("tags of no dialog: want 481, got\n%s", a.head)
		}
		if after := s.inDialogs(); after != before {
			t.Errorf("%s: something reached the server: before %+v, after %+v", network, before, after)
		}
		mine.bye()
		other.bye()
	}
	if got := s.server.Stats(); got.Sessions != 0 || got.UnknownByes != 0 {
		t.Errorf("the server's counts: %+v", got)
	}
}

// inDialogs is what the server counts, but for probes, when all its sessions are ACKed.
func (s *siege) inDialogs() sim.ServerStats {
	s.lab.t.Helper()
	var st sim.ServerStats
	s.await("all sessions are ACKed", 10*time.Second, func() bool {
		st = s.server.Stats()
		return st.Acks == st.Answered
	})
	st.Options = 0
	return st
}

// refused sends a request in the dialog, which has to be answered 481.
func (d *dialog) refused(method string) {
	d.p.t.Helper()
	d.p.send(d.request(method))
	if a := d.p.final(method); a.code != 481 {
		d.p.t.Errorf("%s with %q: want 481, got\n%s", method, d.route, a.head)
	}
}
