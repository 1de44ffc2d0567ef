package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// wireFile names the file that a SIPp logs its messages to.
func (l *lab) wireFile(name string) string { return filepath.Join(l.dir, "wire-"+name+".log") }

// wireMessage is one message of such a file.
type wireMessage struct {
	answer
	start string // its first line
	sent  bool
}

// readWire reads what SIPp's -trace_msg has written so far.
func readWire(t *testing.T, file string) []wireMessage {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []wireMessage
	for part := range strings.SplitSeq(string(b), "\n-----------------------------------------------") {
		about, text, ok := strings.Cut(part, "\n\n")
		head, _, whole := strings.Cut(text, "\r\n\r\n")
		if !ok || !whole {
			continue
		}
		start, _, _ := strings.Cut(head, "\r\n")
		all = append(all, wireMessage{answer: answer{head: head + "\r\n"}, start: start, sent: strings.Contains(about, " message sent")})
	}
	return all
}

// wireDialog is what one side saw of a call.
type wireDialog struct {
	received     []string // the requests, by their methods
	recordRoutes []string // of the INVITE received, or of its 200: host:port/transport, the topmost first
	targets      []string // the Request-URIs of ACK and BYE received
	routes       []string // the Route values of those
}

// dialogsOf sorts messages by their Call-IDs; probes are left out.
func dialogsOf(all []wireMessage) map[string]wireDialog {
	m := map[string]wireDialog{}
	for _, msg := range all {
		cseq := msg.value("CSeq")
		if msg.sent || strings.HasSuffix(cseq, "OPTIONS") {
			continue
		}
		d := m[msg.value("Call-ID")]
		f := strings.Fields(msg.start)
		switch {
		case len(f) < 3:
			continue
		case f[0] == "SIP/2.0":
			if f[1] == "200" && strings.HasSuffix(cseq, "INVITE") {
				d.recordRoutes = hops(msg.values("Record-Route"))
			}
		case f[0] == "INVITE":
			d.received, d.recordRoutes = append(d.received, f[0]), hops(msg.values("Record-Route"))
		default:
			d.received, d.targets = append(d.received, f[0]), append(d.targets, f[1])
			d.routes = append(d.routes, msg.values("Route")...)
		}
		m[msg.value("Call-ID")] = d
	}
	return m
}

// hops reduces Record-Route values to host:port/transport.
func hops(values []string) (l []string) {
	for _, v := range values {
		for uri := range strings.SplitSeq(v, ",") {
			uri = strings.Trim(strings.TrimSpace(uri), "<>")
			addr, params, _ := strings.Cut(strings.TrimPrefix(uri, "sip:"), ";")
			addr = addr[strings.IndexByte(addr, '@')+1:]
			if !strings.Contains(addr, ":") {
				addr += ":5060"
			}
			network := "udp"
			for _, n := range []string{"tcp", "tls"} {
				if strings.Contains(strings.ToLower(params), "transport="+n) {
					network = n
				}
			}
			l = append(l, addr+"/"+network)
		}
	}
	return l
}
