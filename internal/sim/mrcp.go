package sim

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// mrcpMessage is a request as it came. It is cut and read here with as little code as will do, so that it shares none
// with the codec that is tested against it.
type mrcpMessage struct {
	method string
	id     string
	fields map[string]string // by name in lower case
	body   string
}

// readMRCP reads one request (RFC 6787 5.1, 5.2).
func readMRCP(r *bufio.Reader) (m mrcpMessage, err error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return m, err
	}
	words := strings.Fields(line)
	if len(words) != 4 || words[0] != "MRCP/2.0" {
		return m, fmt.Errorf("not a request: %q", line)
	}
	length, err := strconv.Atoi(words[1])
	if err != nil || length < len(line) || length > 1<<20 {
		return m, fmt.Errorf("length of %q", line)
	}
	rest := make([]byte, length-len(line))
	if _, err := io.ReadFull(r, rest); err != nil {
		return m, err
	}
	head, body, _ := strings.Cut(string(rest), "\r\n\r\n")
	m = mrcpMessage{method: words[2], id: words[3], fields: map[string]string{}, body: body}
	for f := range strings.SplitSeq(head, "\r\n") {
		name, value, _ := strings.Cut(f, ":")
		m.fields[strings.ToLower(name)] = strings.TrimSpace(value)
	}
	return m, nil
}

// mrcpText is a response or event: what stands between length and header, such as "7 200 COMPLETE", the fields, a body.
func mrcpText(start string, fields []string, body string) []byte {
	rest := " " + start + "\r\n"
	for _, f := range fields {
		rest += f + "\r\n"
	}
	rest += "\r\n" + body
	for n := len(rest); ; n++ { // until the length counts its own digits
		if text := "MRCP/2.0 " + strconv.Itoa(n) + rest; len(text) == n {
			return []byte(text)
		}
	}
}

// control is one MRCP connection; it may carry the channels of several sessions.
type control struct {
	p    *process
	conn net.Conn
	mu   sync.Mutex // one message at a time
}

// say sends a response or event on a channel. A client that is gone hears nothing.
func (c *control) say(channel, start string, more ...string) {
	c.sayBody(channel, start, "", "", more...)
}

func (c *control) sayBody(channel, start, kind, body string, more ...string) {
	fields := append([]string{"Channel-Identifier: " + channel}, more...)
	if body != "" {
		fields = append(fields, "Content-Type: "+kind, "Content-Length: "+strconv.Itoa(len(body)))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, _ = c.conn.Write(mrcpText(start, fields, body))
}

// acceptMRCP takes MRCP connections until the process ends.
func (p *process) acceptMRCP() {
	for {
		conn, err := p.mrcp.Accept()
		if err != nil {
			return // closed: there is no other way for it to end here
		}
		p.s.mu.Lock()
		if p.dead || p.s.fault.kind() == ChannelDropped {
			_ = conn.Close()
		} else {
			c := &control{p: p, conn: conn}
			p.controls[c] = true
			p.s.count(&p.s.stats.Channels, 1)
			p.wg.Go(c.serve)
		}
		p.s.mu.Unlock()
	}
}

// serve takes the requests of one connection. A session whose connection closes is hung up, as UniMRCP does.
func (c *control) serve() {
	p := c.p
	r := bufio.NewReader(c.conn)
	for {
		m, err := readMRCP(r)
		if err != nil {
			break
		}
		p.onMRCP(c, m)
	}
	_ = c.conn.Close()
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if p.dead { // its counts are gone already
		return
	}
	delete(p.controls, c)
	p.s.count(&p.s.stats.Channels, -1)
	for _, d := range p.dialogs {
		if d.engine != nil && d.engine.control == c {
			p.hangUp(d)
		}
	}
}

// onMRCP takes one request.
func (p *process) onMRCP(c *control, m mrcpMessage) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if p.dead {
		return
	}
	p.s.count(&p.s.stats.Methods, 1)
	channel := m.fields["channel-identifier"]
	d := p.channelOf(channel)
	fault := p.s.fault
	switch {
	case fault.kind() == Silent || fault.kind() == EngineHangs:
	case d == nil:
		c.say(channel, m.id+" 405 COMPLETE")
	case fault.kind() == EngineDead:
		c.say(channel, m.id+" 407 COMPLETE")
	default:
		d.engine.control = c
		d.engine.do(channel, m, fault)
	}
}

// channelOf is the session that a channel belongs to.
func (p *process) channelOf(channel string) *dialog {
	id, _, _ := strings.Cut(channel, "@")
	for _, d := range p.dialogs {
		if d.channel == id && d.engine != nil {
			return d
		}
	}
	return nil
}

// openMRCP listens for MRCP.
func (p *process) openMRCP() (err error) {
	p.mrcp, err = net.ListenTCP("tcp", &net.TCPAddr{IP: p.s.o.Addr.Addr().AsSlice(), Port: int(p.s.o.MRCPPort)})
	if err != nil {
		return err
	}
	p.wg.Go(p.acceptMRCP)
	return nil
}

// closeMRCP ends the listener and every connection; dead is set.
func (p *process) closeMRCP() {
	if p.mrcp == nil {
		return
	}
	_ = p.mrcp.Close()
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	for c := range p.controls {
		_ = c.conn.Close()
	}
	for _, d := range p.dialogs {
		d.engine.close()
	}
}

// mrcpPort is what an answer names: where nothing listens while channels are refused.
func (p *process) mrcpPort() uint16 {
	switch {
	case p.s.fault.kind() == ChannelRefused:
		return 1
	case p.mrcp != nil:
		return uint16(p.mrcp.Addr().(*net.TCPAddr).Port)
	case p.s.o.MRCPPort != 0:
		return p.s.o.MRCPPort
	}
	return p.ep.addr.Port()
}
