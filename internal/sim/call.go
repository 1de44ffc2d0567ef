package sim

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
)

// incoming is a message for a call and where it came from.
type incoming struct {
	m *message
	f flow
}

// call is one session of a Client. The goroutine in Client.Session owns it; others only
// send to in and read what never changes: id, tag and the client.
type call struct {
	c   *Client
	id  string
	tag string // our From tag
	in  chan incoming
	res Result

	cseq   uint32
	to     string // To of the dialog
	target string // Request-URI inside the dialog: the answer's Contact
	routes []string
	ack    []byte // the newest ACK of a 2xx
	acked  string // the branch of the INVITE it was for
	hop    hop    // where requests inside the dialog go
	every  time.Duration
}

// hop is a next hop.
type hop struct {
	network string
	addr    netip.AddrPort
}

func newCall(c *Client) *call {
	k := &call{c: c, id: newTag() + "-" + newTag(), tag: newTag(), in: make(chan incoming, 64), cseq: 123093295}
	k.to = "<sip:" + c.o.Proxy.String() + ">"
	k.res.CallID = k.id
	return k
}

// owns says whether a message with this call's Call-ID is of its dialog.
func (k *call) owns(m *message) bool {
	if m.method == "" {
		return m.fromTag() == k.tag
	}
	return m.toTag() == k.tag
}

func (k *call) run(ctx context.Context, hold time.Duration) error {
	established, err := k.place(ctx)
	if !established {
		return err
	}
	if herr := k.hold(ctx, hold); herr != nil {
		return herr
	}
	if k.res.ServerBye {
		return err
	}
	sent := time.Now()
	_, answer, berr := k.ask("BYE")
	if berr != nil && !k.res.ServerBye {
		return errors.Join(err, berr)
	}
	if answer != nil {
		k.res.ByeCode, k.res.ByeTook = answer.code, time.Since(sent)
	}
	return err
}

// establish takes over the 2xx's dialog and ACKs it.
func (k *call) establish(ok *message, branch string) error {
	k.to = ok.get("To")
	k.routes = ok.list("Record-Route")
	slices.Reverse(k.routes) // RFC 3261 12.1.2
	if k.target = uriOf(ok.get("Contact")); k.target == "" {
		return errors.New("2xx without Contact")
	}
	k.describe(ok)
	var err error
	if k.hop, err = k.c.nextHop(k.target, k.routes); err != nil {
		return err
	}
	k.every = refreshEvery(ok)
	k.confirm(branch)
	return nil
}

// nextHop is where a request with this target and route set goes. FreeSWITCH sends none
// over another transport than its own.
func (c *Client) nextHop(target string, routes []string) (hop, error) {
	if len(routes) > 0 {
		target = uriOf(routes[0])
	}
	network, addr, err := locate(target, c.o.Network)
	if err == nil && network != c.o.Network {
		err = ErrRouteTransport
	}
	return hop{network, addr}, err
}

// confirm sends the ACK of a 2xx to the INVITE with that branch: a transaction of its own
// (RFC 3261 13.2.2.4).
func (k *call) confirm(branch string) {
	k.ack, k.acked = k.request("ACK", newBranch()).bytes(), branch
	_ = k.c.ep.send(k.hop.network, k.hop.addr, k.ack)
}

// describe fills in what the answer says of the server.
func (k *call) describe(ok *message) {
	parts, host := parseSDP(ok.body)
	for _, m := range parts {
		if m.mrcp() {
			if f := strings.Fields(m.line); len(f) > 1 {
				k.res.Server = net.JoinHostPort(host, f[1])
			}
			k.res.Channel = m.attr("channel")
			break
		}
	}
	var u sip.Uri
	if err := sip.ParseUri(k.target, &u); err == nil {
		k.res.Server = u.HostPort()
	}
}

// refreshEvery is half the Session-Expires when the refresher is us, else 0 (RFC 4028 7.2).
func refreshEvery(ok *message) time.Duration {
	v := ok.get("Session-Expires")
	secs, _, _ := strings.Cut(v, ";")
	n, err := strconv.Atoi(strings.TrimSpace(secs))
	if err != nil || n <= 0 || param(v, "refresher") == "uas" {
		return 0
	}
	return time.Duration(n) * time.Second / 2
}

// hold keeps the session until its time is over, Drain, ctx's end or the server's BYE, and
// refreshes it. An error means the session is not to be ended with BYE.
func (k *call) hold(ctx context.Context, d time.Duration) error {
	over := time.NewTimer(d)
	defer over.Stop()
	var refresh <-chan time.Time
	if k.every > 0 {
		t := time.NewTicker(k.every)
		defer t.Stop()
		refresh = t.C
	}
	for !k.res.ServerBye {
		select {
		case in := <-k.in:
			k.stray(in)
		case <-refresh:
			if !k.refresh() {
				return nil
			}
		case <-over.C:
			return nil
		case <-k.c.over:
			return nil
		case <-ctx.Done():
			return nil
		case <-k.c.done:
			return net.ErrClosed
		}
	}
	return nil
}

// refresh sends a re-INVITE; false when the session is to be ended, as FreeSWITCH does
// after any failure.
func (k *call) refresh() bool {
	req, answer, err := k.ask("INVITE")
	if err != nil {
		return false
	}
	if answer.code >= 300 {
		_ = k.c.ep.send(k.hop.network, k.hop.addr, k.failAck(answer, req.branch(), k.target))
		return false
	}
	k.res.Refreshes++
	k.confirm(req.branch())
	return true
}

// ask sends a request in the session and awaits its final: from the proxy that has the session, or from the first of the
// others that has one, and then that is the session's.
func (k *call) ask(method string) (req, answer *message, err error) {
	hops := []hop{k.hop}
	for _, a := range k.c.o.Others {
		if a != k.hop.addr {
			hops = append(hops, hop{k.hop.network, a})
		}
	}
	for i, to := range hops {
		limit := k.c.o.Patience
		if i == len(hops)-1 {
			limit = t1ToEnd * k.c.o.T1
		}
		req = k.request(method, newBranch())
		answer, err = k.transact(req, to, limit)
		if err == nil && i > 0 {
			k.hop = to
			k.res.Moved++
		}
		if err == nil || errors.Is(err, net.ErrClosed) {
			break
		}
	}
	return req, answer, err
}

// stray takes a message nothing waits for: a request of the server, or a 2xx come again,
// which is ACKed again.
func (k *call) stray(in incoming) {
	switch in.m.method {
	case "":
		_, method := in.m.cseq()
		if method == "INVITE" && in.m.code/100 == 2 && in.m.branch() == k.acked {
			_ = k.c.ep.send(k.hop.network, k.hop.addr, k.ack)
		}
	case "ACK", "OPTIONS": // OPTIONS: mod_unimrcp never answers it
	case "BYE":
		k.res.ServerBye = true
		k.c.answer(in.m, in.f, 200, nil)
	case "INVITE":
		k.c.answer(in.m, in.f, 200, offerSDP(k.c.ep.addr.Addr(), k.c.o.Resource))
	case "UPDATE":
		k.c.answer(in.m, in.f, 200, nil)
	default:
		k.c.answer(in.m, in.f, 405, nil)
	}
}
