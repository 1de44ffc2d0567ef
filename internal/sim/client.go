package sim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Errors of Result.Err; a cancelled context and net.ErrClosed (after Close) come besides.
var (
	// ErrNoAnswer: no final response came within 64*T1 (Timers B and F).
	ErrNoAnswer = errors.New("no final response")
	// ErrRouteTransport: the answer's Record-Route or Contact names another transport than the
	// client's. FreeSWITCH then sends neither ACK nor BYE, and so does this client.
	ErrRouteTransport = errors.New("route set names another transport: no ACK, no BYE")
)

// ClientOptions say what a Client is and where it sends.
type ClientOptions struct {
	Proxy     netip.AddrPort // where INVITEs go
	Network   string         // "udp" or "tcp"; default udp
	Bind      netip.AddrPort // its own address, port 0: any free one. Default: the one towards Proxy
	UserAgent string         // default ASR_MRCP_CLIENT_FS
	Resource  string         // default speechrecog
	Contact   bool           // put a Contact in the INVITE; FreeSWITCH does not
	T1        time.Duration  // RFC 3261 T1, all other timers scale with it; default 500 ms

	// Others serve its sessions, too: a request in a session whose proxy has no final response to it within Patience goes to
	// the first of them that has, and so do those after it. Proxy may be among them. FreeSWITCH does not do so by itself; an
	// address that moves to another machine does it.
	Others   []netip.AddrPort
	Patience time.Duration // default 64*T1
}

// Result is what became of one session.
type Result struct {
	Code        int           // final code of the INVITE; 0: none came
	Reason      string        // its Reason header
	Err         error         // what went wrong besides a final code; nil for an orderly session
	Setup       time.Duration // INVITE to final
	Server      string        // host:port of the server, from the answer's Contact, else its SDP
	Channel     string        // a=channel of the answer's SDP
	ByeCode     int           // final code of our BYE; 0: none came or none was sent
	ByeTook     time.Duration // our BYE to its final; 0 where none came
	ServerBye   bool          // the server ended it
	CallID      string
	Retransmits int // requests sent again
	Refreshes   int // session timer refreshes answered 2xx
	Moved       int // requests in the session that another proxy than the one before answered
}

// Client places sessions as FreeSWITCH's mod_unimrcp does, all from one socket: over UDP
// one port; over TCP one connection to each next hop, from an ephemeral port, while the
// port in its Via and From listens too. Its methods are safe for concurrent use.
type Client struct {
	o    ClientOptions
	ep   *endpoint
	done chan struct{} // closed by Close
	over chan struct{} // closed by Drain

	mu      sync.Mutex
	closed  bool
	drained bool
	calls   map[string]*call // by Call-ID
	sent    *answers         // finals to the requests of servers
	past    map[string]bool  // Call-IDs of sessions that were established and ended lately
	old     lingering
	orphans int
	active  sync.WaitGroup // sessions under way
}

// NewClient opens the client's socket. It connects to nothing yet.
func NewClient(o ClientOptions) (*Client, error) {
	if o.Network == "" {
		o.Network = "udp"
	}
	if o.Network != "udp" && o.Network != "tcp" {
		return nil, fmt.Errorf("new client: transport %q is not simulated", o.Network)
	}
	if o.UserAgent == "" {
		o.UserAgent = "ASR_MRCP_CLIENT_FS"
	}
	if o.Resource == "" {
		o.Resource = "speechrecog"
	}
	if o.T1 == 0 {
		o.T1 = defaultT1
	}
	if o.Patience == 0 {
		o.Patience = t1ToEnd * o.T1
	}
	if !o.Bind.IsValid() || o.Bind.Addr().IsUnspecified() {
		ip, err := towards(o.Proxy)
		if err != nil {
			return nil, fmt.Errorf("new client: %w", err)
		}
		o.Bind = netip.AddrPortFrom(ip, o.Bind.Port())
	}
	c := &Client{
		o: o, done: make(chan struct{}), over: make(chan struct{}), calls: map[string]*call{},
		sent: newAnswers(t1ToEnd * o.T1), past: map[string]bool{}, old: lingering{keep: t1ToEnd * o.T1},
	}
	c.mu.Lock() // no message is taken before ep is set
	defer c.mu.Unlock()
	ep, err := listen(o.Bind, []string{o.Network}, c.handle)
	if err != nil {
		return nil, fmt.Errorf("new client on %s: %w", o.Bind, err)
	}
	c.ep = ep
	return c, nil
}

// towards is the local address from which the system would send to peer; nothing is sent.
func towards(peer netip.AddrPort) (netip.Addr, error) {
	nc, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(peer))
	if err != nil {
		return netip.Addr{}, err
	}
	defer nc.Close()
	return nc.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), nil
}

// Addr is the address in its Via and From.
func (c *Client) Addr() netip.AddrPort { return c.ep.addr }

// Orphans is the number of 2xx that came for an INVITE already given up. Each was ACKed
// and BYEd at once, as sofia-sip does.
func (c *Client) Orphans() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.orphans
}

// Drain ends the holding of all sessions, also of those to come: an established one sends
// its BYE, one that is being placed does as soon as it is established. It waits for none.
func (c *Client) Drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.drained {
		c.drained = true
		close(c.over)
	}
}

// Close ends every session where it stands, with net.ErrClosed and without BYE, and
// returns when all goroutines and sessions have ended. Cancel their contexts and await
// the sessions first for an orderly end.
func (c *Client) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	close(c.done)
	c.mu.Unlock()
	c.ep.close()
	c.active.Wait()
	return nil
}

// Session is one session from INVITE to the end: INVITE, ACK, hold, BYE. It ends before
// hold by the server's BYE (ServerBye), and by Drain or when ctx ends, with BYE. When ctx ends before
// the answer, it sends CANCEL as soon as a provisional allows it (RFC 3261 9.1), and a
// 2xx that crosses is ACKed and BYEd; Err is then the context's error. After a provisional
// it waits for the final as long as ctx does, as FreeSWITCH waits for ever.
func (c *Client) Session(ctx context.Context, hold time.Duration) Result {
	k := newCall(c)
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return Result{CallID: k.id, Err: net.ErrClosed}
	}
	c.calls[k.id] = k
	c.active.Add(1)
	c.mu.Unlock()
	defer c.active.Done()
	k.res.Err = k.run(ctx, hold)
	c.forget(k)
	return k.res
}

// forget ends the routing of messages to k and serves those that are queued.
func (c *Client) forget(k *call) {
	c.mu.Lock()
	delete(c.calls, k.id)
	if k.res.Code/100 == 2 {
		c.past[k.id] = true
		c.old.add(func() { delete(c.past, k.id) })
	}
	c.mu.Unlock()
	for {
		select {
		case in := <-k.in:
			k.stray(in)
		default:
			return
		}
	}
}

// handle gives a message to the call it belongs to; the endpoint's goroutines call it.
func (c *Client) handle(m *message, f flow) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	if m.method != "" {
		if raw := c.sent.sent[m.txKey(m.method)]; raw != nil {
			_ = c.ep.answer(answerFlow(m, f), raw)
			return
		}
	}
	if k := c.calls[m.get("Call-ID")]; k != nil && k.owns(m) {
		select {
		case k.in <- incoming{m, f}:
		default: // lost, as a datagram may be
		}
		return
	}
	_, method := m.cseq()
	switch {
	case m.method == "" && method == "INVITE" && m.code >= 200:
		unwanted := m.code < 300 && !c.past[m.get("Call-ID")]
		if unwanted {
			c.orphans++
		}
		c.active.Go(func() { c.orphan(m, unwanted) })
	case m.method == "ACK" || m.method == "OPTIONS" || m.method == "": // never answered
	default:
		c.answerLocked(m, f, 481, nil)
	}
}

// answer answers a request of a server and remembers that for its retransmissions.
func (c *Client) answer(m *message, f flow, code int, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answerLocked(m, f, code, body)
}

func (c *Client) answerLocked(m *message, f flow, code int, body []byte) {
	res := respond(m, f, code, newTag())
	res.add("User-Agent", c.o.UserAgent)
	res.add("Allow", allow)
	res.add("Supported", supported)
	if body != nil {
		res.add("Content-Type", "application/sdp")
		res.body = body
	}
	raw := res.bytes()
	c.sent.put(m.txKey(m.method), raw)
	_ = c.ep.answer(answerFlow(m, f), raw)
}
