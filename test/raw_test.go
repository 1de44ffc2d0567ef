package test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// rawPeer is a client that writes its messages itself, byte by byte.
type rawPeer struct {
	t       *testing.T
	network string // "UDP" or "TCP"
	conn    net.Conn
	in      *bufio.Reader
}

// dial makes a peer on host n, connected to the daemon.
func (l *lab) dial(network string, n int) *rawPeer {
	l.t.Helper()
	d := net.Dialer{Timeout: 5 * time.Second}
	if d.LocalAddr = net.Addr(&net.UDPAddr{IP: net.ParseIP(l.ip(n))}); network == "tcp" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(l.ip(n))}
	}
	c, err := d.Dial(network, l.proxyAddr())
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = c.Close() })
	return &rawPeer{t: l.t, network: strings.ToUpper(network), conn: c, in: bufio.NewReaderSize(c, 64<<10)}
}

func (p *rawPeer) addr() string { return p.conn.LocalAddr().String() }

// send writes a message; over UDP it is one datagram.
func (p *rawPeer) send(msg string) {
	p.t.Helper()
	if _, err := p.conn.Write([]byte(msg)); err != nil {
		p.t.Fatalf("send: %v", err)
	}
}

// answer is a response that came in, up to its body.
type answer struct {
	code int
	head string
}

// values are those of a header in order; its name in its usual spelling.
func (a answer) values(name string) []string {
	var l []string
	for line := range strings.SplitSeq(a.head, "\r\n") {
		if v, ok := strings.CutPrefix(line, name+": "); ok {
			l = append(l, v)
		}
	}
	return l
}

func (a answer) value(name string) string { return strings.Join(a.values(name), ", ") }

// read takes the next message; false when none comes in time, or the connection ends.
func (p *rawPeer) read(limit time.Duration) (answer, bool) {
	_ = p.conn.SetReadDeadline(time.Now().Add(limit))
	var head strings.Builder
	for {
		line, err := p.in.ReadString('\n')
		if err != nil {
			return answer{}, false
		}
		head.WriteString(line)
		if line != "\r\n" {
			continue
		}
		if head.Len() > len("\r\n") { // else a keepalive's answer
			break
		}
		head.Reset()
	}
	a := answer{head: head.String()}
	n, _ := strconv.Atoi(a.value("Content-Length"))
	if _, err := p.in.Discard(n); err != nil {
		return answer{}, false
	}
	if f := strings.Fields(a.head); len(f) > 1 && f[0] == "SIP/2.0" {
		a.code, _ = strconv.Atoi(f[1])
	}
	return a, true
}

// final is the final response to the request that has this text in it, such as its Call-ID.
func (p *rawPeer) final(text string) answer {
	p.t.Helper()
	a, ok := p.finalWithin(6*time.Second, text)
	if !ok {
		p.t.Fatalf("no final response for %q", text)
	}
	return a
}

func (p *rawPeer) finalWithin(limit time.Duration, text string) (answer, bool) {
	for end := time.Now().Add(limit); ; {
		a, ok := p.read(time.Until(end))
		if !ok || a.code >= 200 && strings.Contains(a.head, text) {
			return a, ok
		}
	}
}

// rawRequest is a request as FreeSWITCH writes it. What is empty has a usual value.
type rawRequest struct {
	method string // INVITE
	uri    string // the daemon's address
	callID string // a new one
	toTag  string
	cseq   int    // 100
	ua     string // ASR_MRCP_CLIENT_FS_BAIDU
	lines  string // more header lines, each with its CRLF
	body   string // an offer of MRCPv2 for an INVITE
	length string // Content-Length, when it is to be wrong
}

var rawSerial atomic.Int64

// text writes the request, and is the same again for a retransmission only.
func (r *rawRequest) text(p *rawPeer) string {
	n := rawSerial.Add(1)
	to := p.conn.RemoteAddr().String()
	def := func(s *string, usual string) {
		if *s == "" {
			*s = usual
		}
	}
	def(&r.method, "INVITE")
	def(&r.uri, "sip:"+to)
	def(&r.callID, fmt.Sprintf("raw-%d", n))
	def(&r.ua, "ASR_MRCP_CLIENT_FS_BAIDU")
	if r.cseq == 0 {
		r.cseq = 100
	}
	if r.method == "INVITE" && r.body == "" {
		r.body = offer("speechrecog")
	}
	def(&r.length, strconv.Itoa(len(r.body)))
	tag := ""
	if r.toTag != "" {
		tag = ";tag=" + r.toTag
	}
	kind := ""
	if r.body != "" {
		kind = "Content-Type: application/sdp\r\n"
	}
	return fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/%s %s;rport;branch=z9hG4bKraw%d\r\n%sMax-Forwards: 70\r\nFrom: <sip:%[4]s>;tag=t%[7]s\r\nTo: <sip:%[8]s>%[9]s\r\n"+
		"Call-ID: %[7]s\r\nCSeq: %[10]d %[1]s\r\nUser-Agent: %[11]s\r\n%[12]sContent-Length: %[13]s\r\n\r\n%[14]s",
		r.method, r.uri, p.network, p.addr(), n, r.lines, r.callID, to, tag, r.cseq, r.ua, kind, r.length, r.body)
}

// offer is the SDP of an INVITE for a resource of MRCPv2.
func offer(resource string) string {
	return "v=0\r\no=FreeSWITCH 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=application 9 TCP/MRCPv2 1\r\na=setup:active\r\n" +
		"a=connection:new\r\na=resource:" + resource + "\r\na=cmid:1\r\nm=audio 4000 RTP/AVP 0\r\na=sendonly\r\na=mid:1\r\n"
}

// ask sends the request, over UDP again when nothing comes, and gives its final response; one to an INVITE that is a
// failure is ACKed.
func (p *rawPeer) ask(r rawRequest) answer {
	p.t.Helper()
	msg := r.text(p)
	p.send(msg)
	a, ok := p.finalWithin(time.Second, r.callID)
	for try := 0; !ok && try < 5; try++ {
		if p.network == "UDP" {
			p.send(msg)
		}
		a, ok = p.finalWithin(time.Second, r.callID)
	}
	if !ok {
		p.t.Fatalf("no final response to\n%.2000s", msg)
	}
	if r.method == "INVITE" && a.code >= 300 {
		via, _, _ := strings.Cut(msg[strings.Index(msg, "Via: "):], "\r\n")
		p.send(fmt.Sprintf("ACK %s SIP/2.0\r\n%s\r\nMax-Forwards: 70\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d ACK\r\nContent-Length: 0\r\n\r\n",
			r.uri, via, a.value("From"), a.value("To"), r.callID, r.cseq))
	}
	return a
}

// dialog is a session that a rawPeer has.
type dialog struct {
	p      *rawPeer
	callID string
	toTag  string
	target string // the 200's Contact
	route  string // Route lines
	server string // host:port of the Contact
	cseq   int
}

// establish places a session and ACKs its 200.
func (p *rawPeer) establish(r rawRequest) *dialog {
	p.t.Helper()
	a := p.ask(r)
	if a.code != 200 {
		p.t.Fatalf("INVITE: %s", a.head)
	}
	d := &dialog{p: p, cseq: 100, callID: a.value("Call-ID")}
	_, d.toTag, _ = strings.Cut(a.value("To"), ";tag=")
	d.target = strings.Trim(a.value("Contact"), "<>")
	d.server, _, _ = strings.Cut(strings.TrimPrefix(d.target, "sip:"), ";")
	d.server = d.server[strings.IndexByte(d.server, '@')+1:]
	rr := a.values("Record-Route")
	for i := len(rr) - 1; i >= 0; i-- {
		d.route += "Route: " + rr[i] + "\r\n"
	}
	d.p.send(d.request("ACK"))
	return d
}

func (d *dialog) request(method string) string {
	if method != "ACK" {
		d.cseq++
	}
	r := rawRequest{method: method, uri: d.target, callID: d.callID, toTag: d.toTag, cseq: d.cseq, lines: d.route}
	return r.text(d.p)
}

// bye ends the session.
func (d *dialog) bye() {
	d.p.t.Helper()
	d.p.send(d.request("BYE"))
	if a := d.p.final("BYE"); a.code != 200 {
		d.p.t.Fatalf("BYE: %s", a.head)
	}
}

// lines counts the log's lines that contain all the parts.
func (d *daemon) lines(parts ...string) int {
	n := 0
	b := d.logText()
next:
	for line := range bytes.SplitSeq(b, []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		for _, p := range parts {
			if !bytes.Contains(line, []byte(p)) {
				continue next
			}
		}
		n++
	}
	return n
}
