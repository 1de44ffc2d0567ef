package sim

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestMRCPBytes holds what is written and read by hand against messages whose length was counted by hand, too (RFC 6787
// 5.1: message-length counts itself).
func TestMRCPBytes(t *testing.T) {
	want := "MRCP/2.0 89 4294967295 407 COMPLETE\r\nChannel-Identifier: 43cf1c1757314a15@speechrecog\r\n\r\n"
	if got := mrcpText("4294967295 407 COMPLETE", []string{"Channel-Identifier: 43cf1c1757314a15@speechrecog"}, ""); string(got) != want {
		t.Errorf("%q, want %q", got, want)
	}
	for n := range 1100 {
		if b := mrcpText("1 200 COMPLETE", nil, strings.Repeat("x", n)); !strings.HasPrefix(string(b), "MRCP/2.0 "+strconv.Itoa(len(b))+" ") {
			t.Fatalf("%d bytes: %.20q", len(b), b)
		}
	}
	in := "MRCP/2.0 125 SPEAK 2\r\nChannel-Identifier: d008206481204ed0@speechsynth\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhi\r\n\r\n"
	r := bufio.NewReader(strings.NewReader(in + in))
	for range 2 {
		m, err := readMRCP(r)
		if err != nil || m.method != "SPEAK" || m.id != "2" || m.fields["channel-identifier"] != "d008206481204ed0@speechsynth" || m.body != "hi\r\n\r\n" {
			t.Errorf("%+v, %v", m, err)
		}
	}
	if _, err := readMRCP(r); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	if _, err := readMRCP(bufio.NewReader(strings.NewReader("MRCP/2.0 x STOP 1\r\n\r\n"))); err == nil {
		t.Error("no length")
	}
}

// controlled is an established session with its MRCP connection, spoken by hand.
type controlled struct {
	net.Conn
	r       *bufio.Reader
	channel string
	ok      *message
}

// control sets up a session for a resource.
func (p *peer) control(s *Server, resource string) *controlled {
	p.t.Helper()
	m := p.invite("udp", s, newTag())
	m.body = offerSDP(p.ep.addr.Addr(), resource)
	p.send("udp", s.Addr(), m)
	ok := p.next(code(200)).m
	p.ack("udp", s, ok)
	media, host := parseSDP(ok.body)
	c, err := net.Dial("tcp", net.JoinHostPort(host, strings.Fields(media[0].line)[1]))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return &controlled{Conn: c, r: bufio.NewReader(c), channel: media[0].attr("channel"), ok: ok}
}

// ask sends a request and gives the start lines of what comes, up to COMPLETE.
func (c *controlled) ask(t *testing.T, method string) []string {
	t.Helper()
	_, _ = c.Write(mrcpText(method+" 1", []string{"Channel-Identifier: " + c.channel, "No-Input-Timeout: 50"}, ""))
	var lines []string
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return append(lines, err.Error())
		}
		if rest, ok := strings.CutPrefix(line, "MRCP/2.0 "); ok {
			_, rest, _ = strings.Cut(strings.TrimSpace(rest), " ")
			lines = append(lines, rest)
		}
		if cause, ok := strings.CutPrefix(strings.TrimSpace(line), "Completion-Cause: "); ok {
			lines = append(lines, cause)
		}
		if strings.TrimSpace(line) == "" && strings.Contains(strings.Join(lines, "|"), " COMPLETE") {
			return lines
		}
	}
}

func TestMRCP(t *testing.T) {
	s := startServer(t, ServerOptions{MRCP: true})
	p := newPeer(t)
	for _, c := range []struct {
		resource, method string
		fault            Fault
		want             string
	}{
		{"speechrecog", "GET-PARAMS", None, "1 200 COMPLETE"},
		{"speechrecog", "GET-PARAMS", EngineDead, "1 407 COMPLETE"},
		{"speechrecog", "RECOGNIZE", EngineFails, "1 200 IN-PROGRESS|RECOGNITION-COMPLETE 1 COMPLETE|006 recognizer-error"},
		{"speechrecog", "RECOGNIZE", None, "1 200 IN-PROGRESS|RECOGNITION-COMPLETE 1 COMPLETE|002 no-input-timeout"},
		{"speechsynth", "SPEAK", Mute, "1 200 IN-PROGRESS|SPEAK-COMPLETE 1 COMPLETE|000 normal"},
		{"speechsynth", "SPEAK", EngineFails, "1 200 IN-PROGRESS|SPEAK-COMPLETE 1 COMPLETE|004 error"},
		{"speechsynth", "JUMP", None, "1 401 COMPLETE"},
	} {
		s.SetFault(c.fault)
		ch := p.control(s, c.resource)
		if got := strings.Join(ch.ask(t, c.method), "|"); got != c.want {
			t.Errorf("%s, %v: %s, want %s", c.method, c.fault, got, c.want)
		}
		s.SetFault(None)
		p.send("udp", s.Addr(), p.inDialog("BYE", "udp", s.Addr(), ch.ok, 2))
		p.next(code(200))
		_ = ch.Close()
	}
	await(t, s, func(st ServerStats) bool { return st.Channels == 0 && st.Sessions == 0 && st.HangUps == 0 })
}

// TestMRCPGone: a session whose MRCP connection closes is hung up.
func TestMRCPGone(t *testing.T) {
	s := startServer(t, ServerOptions{MRCP: true})
	p := newPeer(t)
	c := p.control(s, "speechrecog")
	c.ask(t, "GET-PARAMS")
	_ = c.Close()
	p.next(method("BYE"))
	await(t, s, func(st ServerStats) bool { return st.Channels == 0 && st.Sessions == 0 && st.HangUps == 1 })
}

// TestMRCPNotThere: no session, no channel, and with ChannelRefused no connection.
func TestMRCPNotThere(t *testing.T) {
	s := startServer(t, ServerOptions{MRCP: true})
	p := newPeer(t)
	c := p.control(s, "speechrecog")
	c.channel = "none@speechrecog"
	if got := c.ask(t, "GET-PARAMS"); got[0] != "1 405 COMPLETE" {
		t.Errorf("%q", got)
	}
	s.SetFault(ChannelDropped)
	if got := p.control(s, "speechrecog").ask(t, "STOP"); strings.Contains(strings.Join(got, "|"), "COMPLETE") { // an EOF or a reset
		t.Errorf("dropped, and %q", got)
	}
	s.SetFault(ChannelRefused)
	p.send("udp", s.Addr(), p.invite("udp", s, "refused"))
	ok := p.next(func(m *message) bool { return code(200)(m) && m.get("Call-ID") == "refused" }).m
	if !strings.Contains(string(ok.body), "m=application 1 TCP/MRCPv2") {
		t.Errorf("%s", ok.body)
	}
}

// TestOnly: what comes by the other transport is not heard.
func TestOnly(t *testing.T) {
	s := startServer(t, ServerOptions{})
	p := newPeer(t)
	for _, network := range []string{"udp", "tcp"} {
		s.SetFault(Only(network))
		for _, other := range []string{"udp", "tcp"} {
			p.send(other, s.Addr(), p.request("OPTIONS", other, s.Addr(), "ping-"+other, newBranch()))
		}
		if m := p.next(code(200)).m; m.get("Call-ID") != "ping-"+network {
			t.Errorf("%v: answered %s", Only(network), m.get("Call-ID"))
		}
	}
}

func TestLateAndFlap(t *testing.T) {
	s := startServer(t, ServerOptions{})
	s.SetFault(Late(60 * time.Millisecond))
	c := newClient(t, ClientOptions{Proxy: s.Addr()})
	if r := c.Session(testContext(t), 0); r.Code != 200 || r.Setup < 60*time.Millisecond {
		t.Errorf("%+v", r)
	}
	ctx, stop := context.WithCancel(t.Context())
	flapping := make(chan struct{})
	go func() {
		defer close(flapping)
		s.Flap(ctx, 20*time.Millisecond, Refuse(480, 0))
	}()
	seen := map[int]bool{}
	for end := time.Now().Add(patience); len(seen) < 2 && time.Now().Before(end); {
		seen[c.Session(testContext(t), 0).Code] = true
	}
	stop()
	<-flapping
	if !seen[200] || !seen[480] || c.Session(testContext(t), 0).Code != 200 {
		t.Errorf("codes seen: %v", seen)
	}
}

func TestFaultNames(t *testing.T) {
	for f, want := range map[Fault]string{
		EngineDead: "engine dead", EngineHangs: "engine hangs", EngineFails: "engine fails", Misrecognises: "misrecognises", Deaf: "deaf", Mute: "mute",
		ChannelRefused: "channel refused", ChannelDropped: "channel dropped", Late(5 * time.Second): "late by 5s", Only("tcp"): "only tcp", Only("udp"): "only udp",
	} {
		if f.String() != want {
			t.Errorf("%q, want %q", f, want)
		}
	}
}
