package test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

// deadline is the default of failover.deadline: how long a client waits for its answer at most.
const deadline = 4 * time.Second

// answered is the final response to an INVITE.
type answered struct {
	text string
	took time.Duration
	err  error
}

// invite sends the daemon an INVITE as FreeSWITCH would, waits for its final response and ACKs that. To see it whole, as the
// simulated client does not show it.
func (l *lab) invite(c *net.UDPConn) answered {
	own, branch := c.LocalAddr().String(), fmt.Sprintf("z9hG4bK%x", time.Now().UnixNano())
	head := func(method, to string) string {
		return method + " sip:" + l.proxyAddr() + " SIP/2.0\r\nVia: SIP/2.0/UDP " + own + ";rport;branch=" + branch + "\r\nMax-Forwards: 70\r\n" +
			"From: <sip:" + own + ">;tag=t" + branch + "\r\nTo: <sip:" + l.proxyAddr() + ">" + to + "\r\nCall-ID: c" + branch + "\r\nCSeq: 1 " + method + "\r\n"
	}
	const sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=application 9 TCP/MRCPv2 1\r\na=setup:active\r\n" +
		"a=connection:new\r\na=resource:speechrecog\r\na=cmid:1\r\nm=audio 4000 RTP/AVP 0\r\na=sendonly\r\na=mid:1\r\n"
	to, err := net.ResolveUDPAddr("udp4", l.proxyAddr())
	if err != nil {
		return answered{err: err}
	}
	start := time.Now()
	invite := head("INVITE", "") + fmt.Sprintf("User-Agent: FreeSWITCH\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", len(sdp), sdp)
	if _, err := c.WriteTo([]byte(invite), to); err != nil {
		return answered{err: err}
	}
	buf := make([]byte, 65535)
	_ = c.SetReadDeadline(start.Add(15 * time.Second))
	for {
		n, err := c.Read(buf)
		if err != nil {
			return answered{err: err, took: time.Since(start)}
		}
		text := string(buf[:n])
		if strings.HasPrefix(text, "SIP/2.0 1") || !strings.HasPrefix(text, "SIP/2.0 ") {
			continue
		}
		took := time.Since(start)
		_, tag, _ := strings.Cut(text, "\r\nTo: ")
		tag, _, _ = strings.Cut(tag, "\r\n")
		_, tag, _ = strings.Cut(tag, ">")
		_, err = c.WriteTo([]byte(head("ACK", tag)+"Content-Length: 0\r\n\r\n"), to)
		return answered{text: text, took: took, err: err}
	}
}

// mustBeTold has n clients place an INVITE each at once, and checks that each is told by the deadline that nothing can take it,
// when to come back, and why.
func (l *lab) mustBeTold(n int) {
	l.t.Helper()
	answers := make(chan answered)
	for range n {
		c := l.udp(6)
		go func() { answers <- l.invite(c) }()
	}
	longest := time.Duration(0)
	for range n {
		a := <-answers
		longest = max(longest, a.took)
		for _, want := range []string{"SIP/2.0 480 ", "\r\nRetry-After: ", "\r\nReason: SIP;cause=480;text=\""} {
			if a.err != nil || !strings.Contains(a.text, want) {
				l.t.Errorf("answered after %v, %v, without %q:\n%s", a.took, a.err, want, a.text)
				break
			}
		}
	}
	l.t.Logf("the last of %d answers came after %v", n, longest.Round(time.Millisecond))
	if longest > deadline+300*time.Millisecond { // a timer's tick, and a busy machine
		l.t.Errorf("the last answer came after %v, want %v at most", longest, deadline)
	}
}

// Every server is silent, or answers 100 and then nothing, and no probe has shown it yet.
func TestAllSilent(t *testing.T) {
	l := newLab(t)
	d := l.start(l.cluster(l.group("a", l.uri(21, "udp"), l.uri(22, "udp"), l.uri(23, "tcp")), l.group("b", l.uri(24, "udp"))))
	for n := 21; n <= 24; n++ {
		s := l.simServer(n, sim.ServerOptions{})
		d.await("all are up", 5*time.Second, func() bool { return s.Stats().Options > 0 && d.up() >= n-20 })
		if s.SetFault(sim.Silent); n == 22 {
			s.SetFault(sim.Slow)
		}
	}
	l.mustBeTold(10)
	d.await("no lease is left", 5*time.Second, func() bool { return sum(d.metrics(), "mrcproxy_backend_sessions") == 0 })
}

// With one cluster's only server full or refusing, nothing but its own words, or ours, can be told.
func TestAllRefuse(t *testing.T) {
	l := newLab(t)
	d := l.start(l.cluster(l.group("a", l.uri(21, "udp"), l.uri(22, "udp"))))
	a, b := l.simServer(21, sim.ServerOptions{}), l.simServer(22, sim.ServerOptions{})
	d.await("both are up", 5*time.Second, func() bool { return d.up() == 2 })
	a.SetFault(sim.Refuse(503, 7*time.Second))
	b.SetFault(sim.Refuse(503, 0))
	l.mustBeTold(1)
	if got := l.invite(l.udp(6)); !strings.Contains(got.text, "\r\nRetry-After: 7\r\n") {
		t.Errorf("without the servers' Retry-After:\n%s", got.text)
	}
	b.SetFault(sim.Refuse(406, 0))
	if got := l.invite(l.udp(6)); !strings.HasPrefix(got.text, "SIP/2.0 406 ") {
		t.Errorf("a 503 and a 406 make\n%s", got.text)
	}
	if n := a.Stats().Invites + b.Stats().Invites; n != 6 {
		t.Errorf("%d INVITEs at the servers, want 6: each asked once a call", n)
	}
}
