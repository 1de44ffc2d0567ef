package sim

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fast is a T1 for scenes that end by a timer: 64*T1 is 640 ms.
const fast = 10 * time.Millisecond

// patience ends a scene that hangs.
const patience = 20 * time.Second

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience, fmt.Errorf("the scene did not end"))
	t.Cleanup(cancel)
	return ctx
}

func startServer(t *testing.T, o ServerOptions) *Server {
	t.Helper()
	s, err := StartServer(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func newClient(t *testing.T, o ClientOptions) *Client {
	t.Helper()
	c, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func await(t *testing.T, s *Server, ok func(ServerStats) bool) {
	t.Helper()
	if err := s.Await(testContext(t), ok); err != nil {
		t.Fatal(err)
	}
}

// start places a session in the background.
func start(ctx context.Context, c *Client, hold time.Duration) <-chan Result {
	out := make(chan Result, 1)
	go func() { out <- c.Session(ctx, hold) }()
	return out
}

func bothNetworks(t *testing.T, scene func(t *testing.T, network string)) {
	for _, n := range []string{"udp", "tcp"} {
		t.Run(n, func(t *testing.T) { scene(t, n) })
	}
}

// peer is the other end of a scene, spoken by hand.
type peer struct {
	t  *testing.T
	ep *endpoint
	in chan incoming
}

func newPeer(t *testing.T) *peer {
	t.Helper()
	p := &peer{t: t, in: make(chan incoming, 256)}
	ep, err := listen(netip.MustParseAddrPort("127.0.0.1:0"), []string{"udp", "tcp"},
		func(m *message, f flow) { p.in <- incoming{m, f} })
	if err != nil {
		t.Fatal(err)
	}
	p.ep = ep
	t.Cleanup(ep.close)
	return p
}

// next is the next message that is wanted; others are dropped.
func (p *peer) next(want func(*message) bool) incoming {
	p.t.Helper()
	end := time.After(patience)
	for {
		select {
		case in := <-p.in:
			if want(in.m) {
				return in
			}
		case <-end:
			p.t.Fatal("the awaited message did not come")
		}
	}
}

func code(n int) func(*message) bool {
	return func(m *message) bool { return m.method == "" && m.code == n }
}

func final(m *message) bool { return m.method == "" && m.code >= 200 }

func method(name string) func(*message) bool {
	return func(m *message) bool { return m.method == name }
}

func (p *peer) send(network string, to netip.AddrPort, m *message) {
	p.t.Helper()
	if err := p.ep.send(network, to, m.bytes()); err != nil {
		p.t.Fatal(err)
	}
}

// request builds a request out of nothing, with the INVITE's headers where it is one.
func (p *peer) request(name, network string, to netip.AddrPort, callID, branch string) *message {
	m := &message{method: name, uri: "sip:" + to.String()}
	m.add("Via", viaOf(network, p.ep.addr, branch))
	m.add("Max-Forwards", "70")
	m.add("From", "<sip:"+p.ep.addr.String()+">;tag=peer")
	m.add("To", "<sip:"+to.String()+">")
	m.add("Call-ID", callID)
	m.add("CSeq", "1 "+name)
	if name == "INVITE" {
		m.add("Content-Type", "application/sdp")
		m.body = offerSDP(p.ep.addr.Addr(), "speechrecog")
	}
	return m
}

// inDialog builds a request inside the dialog of a 200.
func (p *peer) inDialog(name, network string, to netip.AddrPort, ok *message, cseq int) *message {
	m := p.request(name, network, to, ok.get("Call-ID"), newBranch())
	for i := range m.headers {
		switch m.headers[i].name {
		case "To":
			m.headers[i].value = ok.get("To")
		case "CSeq":
			m.headers[i].value = fmt.Sprintf("%d %s", cseq, name)
		}
	}
	return m
}
