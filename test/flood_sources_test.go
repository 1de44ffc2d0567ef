package test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// floodInsider is the host of an allowed client that asks for too much.
const floodInsider = 60

// floodFriends is a network of allowed clients.
func floodFriends() string { return fmt.Sprintf("127.%d.240.0/24", netOfRun) }

// outsider is an address out of 10,000 of no allowed client, friend one of floodFriends.
func outsider() netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(netOfRun), byte(200 + rand.IntN(40)), byte(1 + rand.IntN(250))})
}
func friend() netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(netOfRun), 240, byte(1 + rand.IntN(250))})
}

// flood is senders of bad messages, each at a rate of its own, and bad connections.
type flood struct {
	l        *lab
	d        *daemon
	to       netip.AddrPort
	third    string // host:port of one who has nothing to do with it
	cookie   string // a valid Route of another dialog
	stop     context.CancelFunc
	all      sync.WaitGroup
	mu       sync.Mutex
	sent     map[string]int
	maxConns int
}

// flood starts them all.
func (l *lab) flood(d *daemon, third string) *flood {
	l.t.Helper()
	ctx, stop := context.WithCancel(l.t.Context())
	f := &flood{l: l, d: d, to: netip.MustParseAddrPort(l.proxyAddr()), third: third, stop: stop, sent: map[string]int{}}
	own := l.dial("udp", floodInsider).establish(rawRequest{})
	f.cookie = own.route
	own.bye()
	insider := func() netip.Addr { return netip.MustParseAddr(l.ip(floodInsider)) }
	for _, k := range []struct {
		name  string
		rate  int // datagrams a second
		from  func() netip.Addr
		write func(from netip.AddrPort) string
	}{
		{"garbage", 800, outsider, func(netip.AddrPort) string { return garbage() }},
		{"INVITE", 1000, outsider, func(a netip.AddrPort) string { return f.request("INVITE", a, a.String(), "") }},
		{"CANCEL", 400, outsider, func(a netip.AddrPort) string { return f.request("CANCEL", a, a.String(), "") }},
		{"CANCEL of a client", 200, friend, func(a netip.AddrPort) string { return f.request("CANCEL", a, a.String(), "") }},
		{"forged cookie", 600, friend, func(a netip.AddrPort) string { return f.inDialog(a) }},
		{"forged Via", 600, outsider, func(a netip.AddrPort) string {
			return f.request(pick("INVITE", "OPTIONS", "BYE", "REGISTER"), a, f.via(), "")
		}},
		{"forged Via of a client", 100, friend, func(a netip.AddrPort) string { return f.request("OPTIONS", a, f.via(), "") }},
		{"Route to a third host", 500, friend, func(a netip.AddrPort) string {
			return f.request(pick("INVITE", "OPTIONS", "MESSAGE"), a, a.String(), "Route: <sip:"+f.third+";lr>\r\n")
		}},
		{"response", 400, outsider, func(netip.AddrPort) string { return f.response() }},
		{"OPTIONS over the rate", 800, insider, func(a netip.AddrPort) string { return f.request("OPTIONS", a, a.String(), "") }},
		{"INVITE without a route", 100, friend, func(a netip.AddrPort) string { return f.request("INVITE", a, a.String(), "") }},
	} {
		f.all.Go(func() { f.datagrams(ctx, k.name, k.rate, k.from, k.write) })
	}
	f.all.Go(func() { f.crowd(ctx) })
	f.all.Go(func() { f.slow(ctx) })
	return f
}

func pick(l ...string) string { return l[rand.IntN(len(l))] }

// datagrams sends them from a socket that has every address of the loopback net, as one who forges them has.
func (f *flood) datagrams(ctx context.Context, name string, rate int, from func() netip.Addr, write func(netip.AddrPort) string) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{})
	if err != nil {
		f.l.t.Error(err)
		return
	}
	defer c.Close()
	var answers atomic.Int64
	f.all.Go(func() {
		b := make([]byte, 64<<10)
		for {
			if _, err := c.Read(b); err != nil && ctx.Err() != nil {
				return
			} else if err == nil {
				answers.Add(1)
			}
		}
	})
	port := c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	n, start := 0, time.Now()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.sent[name] = n
		if got := int(answers.Load()); got > n && name != "INVITE without a route" { // whose 488 is sent again until it is ACKed
			f.l.t.Errorf("%s: %d answers to %d datagrams", name, got, n)
		}
	}()
	pace := time.NewTicker(10 * time.Millisecond)
	defer pace.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
		}
		for due := min(n+rate/10, int(time.Since(start).Seconds()*float64(rate))); n < due; n++ { // a pause is not made up for at once
			a := netip.AddrPortFrom(from(), port)
			oob := unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: a.Addr().As4()})
			if _, _, err := c.WriteMsgUDPAddrPort([]byte(write(a)), oob, f.to); err != nil && ctx.Err() == nil {
				f.l.t.Errorf("%s: %v", name, err)
				return
			}
		}
	}
}

// request is one outside of a dialog, or a CANCEL, with this in its topmost Via, and more header lines. It has no MRCP in it.
func (f *flood) request(method string, from netip.AddrPort, sentBy, lines string) string {
	uri := pick("sip:"+f.to.String(), "sip:asr@"+f.to.String(), "sip:"+f.third)
	return fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%016x\r\n%sMax-Forwards: 70\r\nFrom: <sip:%s>;tag=%08x\r\nTo: <%s>\r\nCall-ID: %016x\r\n"+
		"CSeq: 1 %s\r\nContact: <sip:%s>\r\nContent-Length: 0\r\n\r\n", method, uri, sentBy, rand.Uint64(), lines, from, rand.Uint32(), uri, rand.Uint64(), method, f.third)
}

// via names a third host in every way that a Via can (RFC 3261 18.2.2, RFC 3581).
func (f *flood) via() string {
	host, _, _ := net.SplitHostPort(f.third)
	return f.third + pick("", ";rport", ";received="+host, ";maddr="+host, ";maddr="+host+";ttl=1", ";received="+host+";rport=5060")
}

// inDialog is a request that claims to be in one: with a cookie of another dialog, of one bit less, or of nobody.
func (f *flood) inDialog(from netip.AddrPort) string {
	route := f.cookie
	switch rand.IntN(3) {
	case 0:
		b := []byte(route)
		at := bytes.IndexByte(b, ':') + 1 + bytes.IndexByte(b[bytes.IndexByte(b, ':')+1:], ':') + 5 + rand.IntN(30)
		b[at] = "ABCDEFGHabcdefgh01234567"[rand.IntN(24)]
		route = string(b)
	case 1:
		route = "Route: <sip:" + f.to.String() + ";lr>, <sip:" + f.third + ";lr>\r\n"
	}
	msg := f.request(pick("BYE", "ACK", "INVITE", "UPDATE", "INFO"), from, from.String(), route)
	return strings.Replace(msg, "\r\nCall-ID", ";tag=x\r\nCall-ID", 1)
}

// response is one to a request that was never sent, to be passed on to a third host.
func (f *flood) response() string {
	return fmt.Sprintf("SIP/2.0 %s\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKmq%040x\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:b@c>;tag=2\r\n"+
		"Call-ID: %x\r\nCSeq: 1 INVITE\r\nContact: <sip:%[4]s>\r\nContent-Length: 0\r\n\r\n", pick("100 Trying", "180 Ringing", "200 OK", "486 Busy Here"), f.to, rand.Uint64(), f.third, rand.Uint64())
}

func garbage() string {
	b := make([]byte, 1+rand.IntN(1400))
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	if rand.IntN(4) == 0 {
		return "INVITE sip:x SIP/2.0\r\n" + string(b)
	}
	return string(b)
}

// end stops them all and says what they have sent.
func (f *flood) end() string {
	f.stop()
	f.all.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	total := 0
	var l []string
	for _, k := range slices.Sorted(maps.Keys(f.sent)) {
		total += f.sent[k]
		l = append(l, fmt.Sprintf("%s %d", k, f.sent[k]))
	}
	return fmt.Sprintf("%d datagrams (%s), %d connections at once", total, strings.Join(l, ", "), f.maxConns)
}

// watch lets it go on for so long, and gives the most memory that the daemon took.
func (f *flood) watch(length time.Duration) (most int) {
	f.l.t.Helper()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(length); time.Now().Before(end); <-tick.C {
		most = max(most, f.d.rss())
		f.maxConns = max(f.maxConns, int(sum(f.d.metrics(), "mrcproxy_transport_connections")))
	}
	if f.maxConns < floodConns {
		f.l.t.Errorf("%d connections at once, want %d", f.maxConns, floodConns)
	}
	return most
}

// bystander is a host that has nothing to do with any of it.
type bystander struct {
	addr string
	mu   sync.Mutex
	came []string
}

func (l *lab) bystander(n int) *bystander {
	l.t.Helper()
	b := &bystander{addr: l.ip(n) + ":5090"}
	for _, addr := range []string{b.addr, l.ip(n) + ":5060"} {
		pc, err := net.ListenPacket("udp4", addr)
		if err != nil {
			l.t.Fatal(err)
		}
		ln, err := net.Listen("tcp4", addr)
		if err != nil {
			l.t.Fatal(err)
		}
		l.t.Cleanup(func() { _, _ = pc.Close(), ln.Close() })
		go func() {
			buf := make([]byte, 64<<10)
			for {
				n, _, err := pc.ReadFrom(buf)
				if err != nil {
					return
				}
				b.note(string(buf[:n]))
			}
		}()
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				b.note("connection from " + c.RemoteAddr().String())
				_ = c.Close()
			}
		}()
	}
	return b
}

func (b *bystander) note(s string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.came = append(b.came, s)
}

func (b *bystander) got() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.came)
}
