package test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

// siege is a daemon with one server, and ordinary sessions that go on while a test does its worst.
type siege struct {
	*daemon
	server *sim.Server
	end    func() figures
	lines0 int
}

const siegeCalls = 150

func newSiege(t *testing.T, keys string) *siege {
	l := newLab(t)
	s := &siege{server: l.simServer(21, sim.ServerOptions{})}
	s.daemon = l.start(l.head() + keys + `
otherwise: {cluster: asr}
clusters:
  - {name: asr, groups: [{backends: [{uri: "sip:` + l.ip(21) + `:8060"}]}]}
`)
	s.await("the server is up", 10*time.Second, func() bool { return s.up() == 1 })
	s.lines0 = s.lines("")
	s.end = l.startClient(clientRun{network: "udp", rate: 50, calls: siegeCalls, hold: 200 * time.Millisecond})
	return s
}

// survived checks that nothing of it all did harm: the ordinary sessions, the process, the server's good name, the log.
func (s *siege) survived(maxLines int) {
	t := s.lab.t
	t.Helper()
	if f := s.end(); f.int("SuccessfulCall(C)") != siegeCalls || f.int("FailedCall(C)") != 0 {
		t.Errorf("ordinary sessions: %s of %d succeeded, %s failed", f["SuccessfulCall(C)"], siegeCalls, f["FailedCall(C)"])
	}
	for _, network := range []string{"udp", "tcp"} {
		s.lab.dial(network, 5).establish(rawRequest{}).bye()
	}
	select {
	case <-s.done:
		t.Fatalf("the daemon has ended: %v", s.err)
	default:
	}
	m := s.metrics()
	if sum(m, "mrcproxy_dropped_total", `reason="panic"`) != 0 || s.logged("panic") || s.logged("DATA RACE") {
		t.Error("a message made the daemon panic, or shows a data race")
	}
	if sum(m, "mrcproxy_backend_up") != 1 || s.logged("backend down") {
		t.Error("bad messages have put the server into a bad light")
	}
	if n := s.lines("") - s.lines(`"msg":"session"`) - s.lines0; n > maxLines {
		t.Errorf("%d lines in the log, want %d at most", n, maxLines)
	}
}

func (s *siege) dropped(reason string) float64 {
	return sum(s.metrics(), "mrcproxy_dropped_total", `reason="`+reason+`"`)
}

// TestGarbage: what is no SIP message, or not a whole one, is counted and thrown away.
func TestGarbage(t *testing.T) {
	s := newSiege(t, "")
	p := s.lab.dial("udp", 6)
	noise := rand.New(rand.NewPCG(1, 2))
	random := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(noise.Uint32())
		}
		return string(b)
	}
	invite := (&rawRequest{}).text(p)
	garbage := []string{"x", "\xff\xfe", "hello\r\n\r\n", "SIP/2.0", "SIP/2.0 200 OK\r\n\r\n", "INVITE\r\n\r\n", "INVITE  SIP/2.0\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01",
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ": \r\n: \r\n\r\n", strings.Repeat("A", 65507), strings.Repeat("\n\r", 30000) + "x", strings.Repeat("\x00", 1000) + "y"}
	for range 200 {
		garbage = append(garbage, random(1+noise.IntN(1500)))
	}
	for _, g := range garbage {
		p.send(g)
	}
	s.await("the garbage is counted", 10*time.Second, func() bool { return s.dropped("malformed") >= float64(len(garbage)) })
	if got := s.dropped("malformed"); got != float64(len(garbage)) {
		t.Errorf("%v messages dropped as malformed, want %d", got, len(garbage))
	}
	if a, ok := p.read(50 * time.Millisecond); ok {
		t.Errorf("garbage was answered:\n%s", a.head)
	}

	// A datagram that ends too early gets a 400 once its Via and the headers that a response copies are there.
	body := strings.Index(invite, "\r\n\r\n") + 4
	for n := 20; n < len(invite); n += 7 {
		cut := strings.ReplaceAll(invite[:n], "raw-", fmt.Sprintf("cut%d-", n))
		before := s.dropped("malformed")
		p.send(cut)
		if !strings.Contains(cut, "User-Agent: ") {
			s.await("a part is counted", 10*time.Second, func() bool { return s.dropped("malformed") > before })
			continue
		}
		a := p.final("Call-ID: cut")
		if a.code != 400 || !strings.Contains(a.value("Warning"), `"`) {
			t.Errorf("%d of %d bytes (headers: %d): want 400 with a Warning, got\n%s", n, len(invite), body, a.head)
		}
	}

	// A flood of it fills no log, also when everything is to be logged.
	for range 20000 {
		p.send("flood\r\n\r\n")
	}
	// Keepalives are no messages.
	before := s.dropped("malformed")
	for _, k := range []string{"\r\n\r\n", "\r\n", "\x00\x00\x00\x00", "\r\n\r\n\r\n\r\n"} {
		p.send(k)
	}
	if a := p.ask(rawRequest{method: "OPTIONS"}); a.code != 200 {
		t.Errorf("OPTIONS after keepalives: %s", a.head)
	}
	if n := s.dropped("malformed") - before; n > 20000 {
		t.Errorf("keepalives are counted as malformed: %v", n)
	}
	s.survived(3)
}

// TestLogFlood: with every message logged, a flood leaves a bounded number of lines.
func TestLogFlood(t *testing.T) {
	s := newSiege(t, "log: {level: debug}\n")
	p := s.lab.dial("udp", 6)
	start := time.Now()
	for range 30000 {
		p.send("flood\r\n\r\n")
	}
	if a := p.ask(rawRequest{method: "OPTIONS"}); a.code != 200 {
		t.Errorf("OPTIONS: %s", a.head)
	}
	seconds := int(time.Since(start).Seconds()) + 2
	s.survived(seconds*110 + 30 + 200) // a hundred lines of a kind in a second, then each thousandth
	if n := s.lines("malformed message"); n == 0 {
		t.Error("no malformed message is logged at level debug")
	}
}

// TestContentLength: what does not fit the message is answered 400; what is too much in a datagram is cut off. On a stream
// the next message cannot be found any more, so the connection ends (RFC 3261 18.3).
func TestContentLength(t *testing.T) {
	t.Parallel()
	s := newSiege(t, "")
	p := s.lab.dial("udp", 6)
	size := len(offer("speechrecog"))
	for _, length := range []string{fmt.Sprint(size + 1), "65535", "4294967296", "99999999999999999999", "-1", "abc", "1e3", " ", "0x10", fmt.Sprintf("%d\r\nContent-Length: %d", size, size-1)} {
		a := p.ask(rawRequest{length: length})
		if a.code != 400 || !strings.Contains(a.value("Warning"), "Content-Length") {
			t.Errorf("Content-Length %q: want 400 with a Warning about it, got\n%s", length, a.head)
		}
	}
	if n := s.dropped("malformed"); n != 10 {
		t.Errorf("%v messages dropped as malformed, want 10", n)
	}
	p.establish(rawRequest{length: fmt.Sprintf("%d\r\nl: %d", size, size)}).bye() // twice the same
	long := rawRequest{body: offer("speechrecog") + strings.Repeat("x", 500), length: fmt.Sprint(size)}
	p.establish(long).bye()
	if a := p.ask(rawRequest{body: "v=0\r\n", length: "0"}); a.code != 488 && a.code != 400 {
		t.Errorf("an INVITE without a body: %s", a.head)
	}

	framing := s.dropped("framing")
	for i, length := range []string{"-1", "abc", "99999999999999999999", "999999", "7\r\nl: 9"} {
		q := s.lab.dial("tcp", 6)
		q.send((&rawRequest{length: length}).text(q))
		if a, ok := q.read(5 * time.Second); ok {
			t.Errorf("Content-Length %q by TCP: answered\n%s", length, a.head)
		}
		if got, want := s.dropped("framing"), framing+float64(i)+1; got != want {
			t.Errorf("Content-Length %q by TCP: %v streams counted as not framed, want %v", length, got, want)
		}
	}
	// One that is too short makes the rest of the body stand where a message has to begin.
	q := s.lab.dial("tcp", 6)
	short := rawRequest{method: "OPTIONS", body: "abc\r\ndef\r\n", length: "3"}
	q.send(short.text(q))
	if a := q.final(short.callID); a.code != 200 {
		t.Errorf("OPTIONS before the stream breaks: %s", a.head)
	}
	if a, ok := q.read(5 * time.Second); ok {
		t.Errorf("the rest of a body was answered:\n%s", a.head)
	}
	s.survived(3)
}

// TestStreams: half messages, pieces, keepalives and several messages at once on TCP.
func TestStreams(t *testing.T) {
	t.Parallel()
	s := newSiege(t, "")
	for _, cut := range []int{1, 30, 200, 500} { // half of a message, then the end
		q := s.lab.dial("tcp", 6)
		q.send((&rawRequest{}).text(q)[:cut])
		_ = q.conn.(*net.TCPConn).CloseWrite()
		if b, err := io.ReadAll(q.conn); err != nil || len(b) > 0 {
			t.Errorf("half a message was answered: %q, %v", b, err)
		}
	}
	q := s.lab.dial("tcp", 6)
	q.send("\r\n\r\n")
	pong := make([]byte, 2)
	_ = q.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.ReadFull(q.conn, pong); err != nil || string(pong) != "\r\n" {
		t.Errorf("a ping was answered %q, %v", pong, err)
	}
	slow := rawRequest{method: "OPTIONS"}
	for _, b := range []byte(slow.text(q)) {
		q.send(string(b))
	}
	if a := q.final(slow.callID); a.code != 200 {
		t.Errorf("OPTIONS byte by byte: %s", a.head)
	}
	first, second := rawRequest{method: "OPTIONS"}, rawRequest{method: "OPTIONS", length: " 0"}
	q.send("\r\n" + first.text(q) + "\r\n\r\n" + second.text(q))
	for _, r := range []rawRequest{first, second} {
		if a := q.final(r.callID); a.code != 200 {
			t.Errorf("OPTIONS, two at once: %s", a.head)
		}
	}
	// Many connections that say nothing, or garbage.
	for i := range 200 {
		c := s.lab.dial("tcp", 7)
		if i%2 == 0 {
			c.send("garbage\r\n\r\n")
		}
	}
	s.survived(3)
}
