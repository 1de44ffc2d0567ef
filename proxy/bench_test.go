package proxy

import (
	"bytes"
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mrcproxy/balancer"
	"mrcproxy/internal/session"
	"mrcproxy/proxy/transport"
)

// silent is an Observer, and quiet a Balancer, that keep nothing.
type silent struct{}

func (silent) InviteDone(*Invite)         {}
func (silent) FailedOver(string, string)  {}
func (silent) Dropped(DropReason)         {}
func (silent) Late(*balancer.Backend)     {}
func (silent) Unroutable(*Invite, string) {}

type quiet struct{ *balancer.Balancer }

func (quiet) Report(*balancer.Backend, Outcome) {}

// answering is a network that hands what is sent to whoever waits for it: by Call-ID, since that is what the caller
// chose.
type answering struct {
	*fakeNet
	p    *Proxy
	wait sync.Map // Call-ID -> *caller
}

func (n *answering) Send(_ transport.Flow, b []byte) (uint64, error) {
	if c, ok := n.wait.Load(callIDOf(b)); ok {
		c, _ := c.(*caller)
		c.got = append(c.got[:0], b...)
	}
	return 0, nil
}

// automatic makes the lab one that keeps nothing of what happens, and may be used by many goroutines.
func (l *lab) automatic() *answering {
	n := &answering{fakeNet: l.net, p: l.p}
	l.table = session.NewTable(session.Options{OnEnd: func(*session.Session, session.Reason) {}})
	l.p.obs, l.p.bal, l.p.net, l.p.sessions = silent{}, quiet{l.bal.Balancer}, n, l.table
	return n
}

func callIDOf(b []byte) int64 {
	i := bytes.Index(b, []byte("Call-ID: "))
	j := bytes.IndexByte(b[i:], '\r')
	n, _ := strconv.ParseInt(string(b[i+len("Call-ID: "):i+j]), 10, 64)
	return n
}

// caller places calls with messages made beforehand, but for Call-ID and branch, and plays the server, too.
type caller struct {
	from, server     transport.Flow
	invite, ack, bye string // with the Call-ID to be filled in
	got, out         []byte
	answer           []byte
}

var callIDs atomic.Int64

func newCaller(l *lab, i int) *caller {
	c := l.udp(fmt.Sprintf("10.2.%d.%d:5090", i/250, i%250+1))
	srv := l.udp(serverA)
	const id = "%016d"
	inv := c.request("fs-recog-udp-01-INVITE").set("Call-ID", id)
	inv.set("Via", "SIP/2.0/UDP "+c.sentBy+";rport;branch=z9hG4bKi"+id)
	k := &caller{from: c.flow(), server: srv.flow(), invite: inv.String(), answer: []byte(l.fixture("fs-recog-udp-03-200-INVITE").without("Via", "From", "To", "Call-ID", "CSeq").String())}
	for _, m := range []struct {
		to   *string
		name string
	}{{&k.ack, "fs-recog-udp-04-ACK"}, {&k.bye, "fs-recog-udp-05-BYE"}} {
		r := c.request(m.name).set("Call-ID", id).set("Route", "%s")
		*m.to = r.set("Via", "SIP/2.0/UDP "+c.sentBy+";rport;branch=z9hG4bK"+r.method()+id).String()
	}
	return k
}

// fill puts the Call-ID, and the Route where there is one, into a message.
func (c *caller) fill(text string, id int64, route []byte) []byte {
	c.out = c.out[:0]
	for {
		i := strings.IndexByte(text, '%')
		if i < 0 {
			c.out = append(c.out, text...)
			return c.out
		}
		c.out = append(c.out, text[:i]...)
		if text[i+1] == 's' {
			c.out = append(c.out, route...)
			text = text[i+2:]
			continue
		}
		for k := int64(1e15); k > 0; k /= 10 {
			c.out = append(c.out, byte('0'+id/k%10))
		}
		text = text[i+len("%016d"):]
	}
}

// reply is the 200 to what the server got: its Via, From, To, Call-ID and CSeq, and Record-Route in an INVITE's.
func (c *caller) reply(req []byte) []byte {
	head, _, _ := bytes.Cut(req, []byte("\r\n\r\n"))
	c.out = append(c.out[:0], "SIP/2.0 200 OK\r\n"...)
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		switch string(line[:min(len(line), 3)]) {
		case "Via", "Rec", "Fro", "Cal", "CSe":
			c.out = append(append(c.out, line...), "\r\n"...)
		case "To:":
			c.out = append(c.out, line...)
			if !bytes.Contains(line, []byte("tag=")) {
				c.out = append(c.out, ";tag=U7FcUc7vKX5rD"...)
			}
			c.out = append(c.out, "\r\n"...)
		}
	}
	if bytes.HasPrefix(req, []byte("INVITE")) {
		return append(c.out, c.answer[len("SIP/2.0 200 OK\r\n"):]...)
	}
	return append(c.out, "Content-Length: 0\r\n\r\n"...)
}

// call is INVITE, 200, ACK, BYE, 200.
func (c *caller) call(p *Proxy, n *answering) bool {
	id := callIDs.Add(1)
	n.wait.Store(id, c)
	defer n.wait.Delete(id)
	p.Receive(c.fill(c.invite, id, nil), c.from)
	p.Receive(c.reply(c.got), c.server)
	if !bytes.HasPrefix(c.got, []byte("SIP/2.0 200")) {
		return false
	}
	i := bytes.Index(c.got, []byte("Record-Route: ")) + len("Record-Route: ")
	route := append([]byte(nil), c.got[i:i+bytes.IndexByte(c.got[i:], '\r')]...)
	p.Receive(c.fill(c.ack, id, route), c.from)
	p.Receive(c.fill(c.bye, id, route), c.from)
	p.Receive(c.reply(c.got), c.server)
	return bytes.HasPrefix(c.got, []byte("SIP/2.0 200"))
}

// BenchmarkCall is the engine's part in a whole call: INVITE, 200, ACK, BYE, 200, with routing by User-Agent or by SDP,
// over a network that costs nothing. The peers' part in it is measured by the sub-benchmark "peers".
func BenchmarkCall(b *testing.B) {
	yes := true
	for _, bb := range []struct {
		name  string
		route Route
	}{{"user-agent", Route{Name: "r", Cluster: "asr", UserAgent: faulty{}}}, {"sdp", Route{Name: "r", Cluster: "asr", MRCP: &yes, Resource: "speechrecog"}}} {
		b.Run(bb.name, func(b *testing.B) {
			l := newLab(b, setup{routing: func(r *Routing) { r.Routes = []Route{bb.route} }, limit: 1 << 30})
			net := l.automatic()
			c := newCaller(l, 0)
			// Finished transactions stay for 32 s. The clock runs ahead so that their number stays that of 3000 calls/s.
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%30 == 0 {
					l.p.base = l.p.base.Add(-tick)
					l.p.txs.Tick(l.p.now(), l.p.fire)
				}
				if !c.call(l.p, net) {
					b.Fatalf("%s", c.got)
				}
			}
		})
	}
	b.Run("peers", func(b *testing.B) {
		l := newLab(b, setup{})
		c := newCaller(l, 0)
		req := append([]byte(nil), c.fill(c.invite, 1, nil)...)
		bye := append([]byte(nil), c.fill(c.bye, 1, nil)...)
		b.ReportAllocs()
		for b.Loop() {
			c.fill(c.invite, 1, nil)
			c.reply(req)
			c.fill(c.ack, 1, nil)
			c.fill(c.bye, 1, nil)
			c.reply(bye)
		}
	})
}

// TestCallAllocations: a whole call allocates a fixed number of times: for what a session keeps, the lease, and the messages that
// transactions hold. `make allocations` counts them: under the race detector pools forget.
func TestCallAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	l := newLab(t, setup{routing: func(r *Routing) { r.Routes = []Route{{Name: "r", Cluster: "asr", UserAgent: faulty{}}} }, limit: 1 << 30})
	net, c := l.automatic(), newCaller(l, 0)
	i := 0
	call := func() {
		if i++; i%5 == 0 { // the clock runs ahead: transactions end after 32 s
			l.p.base = l.p.base.Add(-tick)
			l.p.txs.Tick(l.p.now(), l.p.fire)
		}
		if !c.call(l.p, net) {
			t.Fatalf("%s", c.got)
		}
	}
	for range 5 * int(100*time.Second/tick) { // until as many transactions end as begin
		call()
	}
	id := int64(1)
	peers := testing.AllocsPerRun(1000, func() { // what of it the test allocates
		net.wait.Store(id, c)
		net.wait.Delete(id)
		c.reply([]byte("INVITE sip:a SIP/2.0\r\n\r\n"))
		route = append([]byte(nil), "0123456789"...)
		id++
	})
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection empties pools
	const most = 6
	if n := testing.AllocsPerRun(20000, call) - peers; n > most {
		t.Errorf("%v allocations a call, more than %v", n, most)
	} else {
		t.Logf("%v allocations a call", n)
	}
}

// TestAllocationsKept: what a call that is over leaves for the 32 s in which it absorbs retransmissions: two pairs, and the
// response to the BYE.
func TestAllocationsKept(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes all larger")
	}
	l := newLab(t, setup{limit: 1 << 30})
	net, c := l.automatic(), newCaller(l, 0)
	const n, most = 20000, 1400
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	for range n {
		if !c.call(l.p, net) {
			t.Fatalf("%s", c.got)
		}
	}
	each := (heap() - before) / n
	t.Logf("%d bytes a call, %d of them of messages", each, l.p.txs.Kept()/n)
	if l.p.txs.Len() != 2*n || each > most {
		t.Errorf("%d bytes a call, want at most %d; %d transactions", each, most, l.p.txs.Len())
	}
}

var route []byte
