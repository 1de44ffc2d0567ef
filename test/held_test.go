package test

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// heldSessions is how many sessions TestHeld holds: MRCPROXY_HELD, or few.
func heldSessions(t *testing.T) int {
	text := os.Getenv("MRCPROXY_HELD")
	if text == "" {
		return 3000
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1000 {
		t.Fatalf("MRCPROXY_HELD=%q: want a number of sessions, 1000 or more", text)
	}
	return n
}

// yesServer answers every INVITE, re-INVITE and BYE with 200 and keeps nothing: it is there for a hundred thousand sessions.
func (l *lab) yesServer(n int) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(l.ip(n)), Port: 8060})
	if err != nil {
		l.t.Fatal(err)
	}
	_ = c.SetReadBuffer(4 << 20)
	l.t.Cleanup(func() { _ = c.Close() })
	contact := "Contact: <sip:" + l.ip(n) + ":8060>\r\n"
	go func() {
		in, out := make([]byte, 64<<10), make([]byte, 0, 64<<10)
		for {
			n, from, err := c.ReadFromUDPAddrPort(in)
			if err != nil {
				return
			}
			if bytes.HasPrefix(in[:n], []byte("ACK")) {
				continue
			}
			out = append(out[:0], "SIP/2.0 200 OK\r\n"...)
			for line := range bytes.SplitAfterSeq(in[:n], []byte("\r\n")) {
				switch {
				case bytes.HasPrefix(line, []byte("Via:")), bytes.HasPrefix(line, []byte("From:")), bytes.HasPrefix(line, []byte("Call-ID:")),
					bytes.HasPrefix(line, []byte("CSeq:")), bytes.HasPrefix(line, []byte("Record-Route:")):
					out = append(out, line...)
				case bytes.HasPrefix(line, []byte("To:")):
					out = append(out, bytes.TrimSuffix(line, []byte("\r\n"))...)
					if !bytes.Contains(line, []byte(";tag=")) {
						out = append(out, ";tag=fa2f23d04aba4d19"...)
					}
					out = append(out, "\r\n"...)
				}
			}
			out = append(out, contact...)
			if bytes.HasPrefix(in[:n], []byte("INVITE")) {
				out = append(out, "Session-Expires: 1800;refresher=uac\r\n"...)
			}
			_, _ = c.WriteToUDPAddrPort(append(out, "Content-Length: 0\r\n\r\n"...), from)
		}
	}()
}

// crowd is a client with any number of sessions, from one socket.
type crowd struct {
	t      *testing.T
	conn   *net.UDPConn
	self   string
	serial int

	mu     sync.Mutex
	free   *sync.Cond
	flying map[string]*member // by Call-ID: a response is waited for
}

// member is one session; what its BYE needs is kept in one string.
type member struct {
	callID, route string
	sent          time.Time
	text          string // the request in flight
	then          func(*member, string)
}

func (l *lab) crowd(n int) *crowd {
	conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.ParseIP(l.ip(n)), Port: 5090}, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(l.proxyAddr())))
	if err != nil {
		l.t.Fatal(err)
	}
	_ = conn.SetReadBuffer(4 << 20)
	l.t.Cleanup(func() { _ = conn.Close() })
	c := &crowd{t: l.t, conn: conn, self: conn.LocalAddr().String(), flying: map[string]*member{}}
	c.free = sync.NewCond(&c.mu)
	go c.receive()
	go c.resend()
	return c
}

func (c *crowd) receive() {
	in := make([]byte, 64<<10)
	for {
		n, err := c.conn.Read(in)
		if err != nil {
			return
		}
		text := string(in[:n])
		if !strings.HasPrefix(text, "SIP/2.0 2") {
			if !strings.HasPrefix(text, "SIP/2.0 1") {
				c.t.Errorf("answered\n%s", text)
			}
			continue
		}
		_, rest, _ := strings.Cut(text, "Call-ID: ")
		id, _, _ := strings.Cut(rest, "\r\n")
		c.mu.Lock()
		m := c.flying[id]
		if m != nil && strings.Contains(text, " "+m.text[:3]) { // of the request in flight, and not a late one of another
			delete(c.flying, id)
			c.free.Signal()
		} else {
			m = nil
		}
		c.mu.Unlock()
		if m != nil {
			m.then(m, text)
		}
	}
}

// resend is timers A and E, roughly.
func (c *crowd) resend() {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-c.t.Context().Done():
			return
		case <-tick.C:
		}
		c.mu.Lock()
		for _, m := range c.flying {
			if time.Since(m.sent) > time.Second {
				m.sent = time.Now()
				_, _ = c.conn.Write([]byte(m.text))
			}
		}
		c.mu.Unlock()
	}
}

// most is how many requests may be under way at once.
const most = 32

func (c *crowd) send(m *member, text string, then func(*member, string)) {
	c.mu.Lock()
	for len(c.flying) >= most {
		c.free.Wait()
	}
	m.text, m.sent, m.then = text, time.Now(), then
	c.flying[m.callID] = m
	c.mu.Unlock()
	_, _ = c.conn.Write([]byte(text))
}

func (c *crowd) text(m *member, method, to string, cseq int) string {
	c.serial++
	body := ""
	if method == "INVITE" {
		body = offer("speechrecog")
	}
	return fmt.Sprintf("%s sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bKheld%d\r\n%sMax-Forwards: 70\r\n", method, c.conn.RemoteAddr(), c.self, c.serial, m.route) +
		fmt.Sprintf("From: <sip:%s>;tag=3cKUNm0ZeKmrD\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\nUser-Agent: ASR_MRCP_CLIENT_FS\r\n", c.self, to, m.callID, cseq, method) +
		fmt.Sprintf("Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// settled waits until nothing is under way.
func (c *crowd) settled() {
	c.t.Helper()
	await(c.t, "everything is answered", 30*time.Second, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.flying) == 0
	})
}

// place establishes n sessions. The requests go out from here; the ACKs from the receiver.
func (c *crowd) place(n int) []*member {
	c.t.Helper()
	all := make([]*member, n)
	for i := range all {
		c.serial++
		m := &member{callID: fmt.Sprintf("e5fc2843-608f-1240-a785-%012x", c.serial)}
		all[i] = m
		to := "<sip:" + c.conn.RemoteAddr().String() + ">"
		ack := c.text(m, "ACK", to+";tag=fa2f23d04aba4d19", 1)
		c.send(m, c.text(m, "INVITE", to, 1), func(m *member, ok string) {
			for line := range strings.SplitSeq(ok, "\r\n") {
				if r, found := strings.CutPrefix(line, "Record-Route: "); found {
					m.route = "Route: " + r + "\r\n" + m.route
				}
			}
			_, _ = c.conn.Write([]byte(strings.Replace(ack, "Max-Forwards", m.route+"Max-Forwards", 1)))
		})
	}
	c.settled()
	return all
}

func (c *crowd) end(all []*member) {
	c.t.Helper()
	for _, m := range all {
		c.send(m, c.text(m, "BYE", "<sip:x>;tag=fa2f23d04aba4d19", 2), func(*member, string) {})
	}
	c.settled()
}

// cpu is what the daemon has used so far.
func (d *daemon) cpu() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.cmd.Process.Pid))
	if err != nil {
		d.lab.t.Fatal(err)
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// resident is its memory in MB.
func (d *daemon) resident() int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	kb, _ := strconv.Atoi(strings.Fields(rest)[0])
	return kb >> 10
}

// aCall is the CPU time of one call, the median of several rounds.
func (d *daemon) aCall(c *crowd, calls int) time.Duration {
	var all []time.Duration
	for range 5 {
		before := d.cpu()
		for done := 0; done < calls; done += 100 {
			c.end(c.place(100))
		}
		all = append(all, (d.cpu()-before)/time.Duration(calls))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// Many held sessions cost memory and a file, and calls no more than few do: the daemon is killed with all of them, has them
// again when it answers, and serves their BYEs.
func TestHeld(t *testing.T) {
	n := heldSessions(t)
	l := newLab(t)
	l.plain()
	l.yesServer(21)
	d := l.start(patient(l.cluster(l.group("a", l.uri(21, "udp")))))
	d.await("the server is up", 5*time.Second, func() bool { return d.up() == 1 })
	c := l.crowd(5)
	few := c.place(100)
	calls := min(n/3, 10000)
	d.aCall(c, calls/5) // warm
	cheap, small := d.aCall(c, calls), d.resident()

	began := time.Now()
	many := c.place(n - len(few))
	t.Logf("%d sessions placed in %v", n, time.Since(began).Round(time.Millisecond))
	d.wantHeld(n)
	with := d.aCall(c, calls)
	t.Logf("a call: %v CPU beside %d sessions, %v beside %d: %+.1f %%", cheap, len(few), with, n, 100*(float64(with)/float64(cheap)-1))
	if allowed := cheap * 115 / 100; n >= 100000 && with > allowed {
		t.Errorf("a call costs %v beside %d sessions, want at most %v", with, n, allowed)
	}
	if n >= 100000 {
		d.await("no transaction is left but of probes", time.Minute, func() bool { return sum(d.metrics(), "mrcproxy_transactions") < 20 })
		t.Logf("memory without transactions: %d MB", d.resident())
	}
	l.written()
	size := sum(d.metrics(), "mrcproxy_journal_size_bytes")
	t.Logf("memory: %d MB, after it had been %d MB with %d sessions; journal %.1f MB", d.resident(), small, len(few), size/1e6)

	d.kill(syscall.SIGKILL)
	began = time.Now()
	d.run()
	t.Logf("answers %v after its start, with %d MB", time.Since(began).Round(time.Millisecond), d.resident())
	d.wantHeld(n)
	c.end(append(few, many...))
	d.await("no session is left", 5*time.Second, func() bool { return sum(d.metrics(), "mrcproxy_backend_sessions") == 0 })
	if m := d.metrics(); sum(m, "mrcproxy_sessions_ended_total", "bye_client") != float64(n) {
		t.Errorf("ended %v", nonZero(m, "mrcproxy_sessions_ended_total"))
	}
}

// wantHeld checks the count of sessions, now.
func (d *daemon) wantHeld(n int) {
	d.lab.t.Helper()
	if m := d.metrics(); sum(m, "mrcproxy_backend_sessions") != float64(n) || sum(m, "mrcproxy_sessions") != float64(n) {
		d.lab.t.Errorf("%v sessions at the server, %v in all, want %d", sum(m, "mrcproxy_backend_sessions"), sum(m, "mrcproxy_sessions"), n)
	}
}
