// Forwarder is a yardstick: about the least that a record-routing proxy in Go does for each message. It keeps no transaction and no
// timer, checks nothing, and picks servers in turn. What mrcproxy costs beyond it, is for what it does.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

type forwarder struct {
	udp     *net.UDPConn
	network string
	via, rr []byte // the lines up to their variable part
	servers []netip.AddrPort
	next    atomic.Uint32
	mu      sync.Mutex
	streams map[netip.AddrPort]net.Conn
}

func main() {
	listen := flag.String("listen", "127.0.0.1:5060", "address")
	network := flag.String("net", "udp", "udp or tcp")
	to := flag.String("to", "", "servers, separated by commas")
	flag.Parse()
	f := &forwarder{network: *network, streams: map[netip.AddrPort]net.Conn{}}
	f.via = fmt.Appendf(nil, "Via: SIP/2.0/%s %s;branch=z9hG4bKf", strings.ToUpper(*network), *listen)
	f.rr = fmt.Appendf(nil, "Record-Route: <sip:%s;transport=%s;lr>\r\n", *listen, *network)
	for _, s := range strings.Split(*to, ",") {
		f.servers = append(f.servers, netip.MustParseAddrPort(s))
	}
	if err := f.serve(*listen); err != nil {
		fmt.Fprintln(os.Stderr, "forwarder:", err)
		os.Exit(1)
	}
}

func (f *forwarder) serve(listen string) error {
	if f.network == "tcp" {
		l, err := net.Listen("tcp", listen)
		if err != nil {
			return err
		}
		for {
			c, err := l.Accept()
			if err != nil {
				return err
			}
			f.add(c)
		}
	}
	var err error
	if f.udp, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(listen))); err != nil {
		return err
	}
	_ = f.udp.SetReadBuffer(4 << 20)
	in, out := make([]byte, 65536), make([]byte, 0, 65536)
	for {
		n, from, err := f.udp.ReadFromUDPAddrPort(in)
		if err != nil {
			return err
		}
		out = f.relay(out[:0], in[:n], from)
	}
}

func (f *forwarder) add(c net.Conn) {
	addr := c.RemoteAddr().(*net.TCPAddr).AddrPort()
	f.mu.Lock()
	f.streams[addr] = c
	f.mu.Unlock()
	go f.read(c, addr)
}

func (f *forwarder) read(c net.Conn, from netip.AddrPort) {
	defer c.Close()
	buf, out, n := make([]byte, 65536), make([]byte, 0, 65536), 0
	for {
		k, err := c.Read(buf[n:])
		if err != nil {
			return
		}
		n += k
		rest := buf[:n]
		for {
			head := bytes.Index(rest, []byte("\r\n\r\n"))
			if head < 0 {
				break
			}
			size := head + 4 + number(line(rest[:head+2], "Content-Length"))
			if size > len(rest) {
				break
			}
			out = f.relay(out[:0], rest[:size], from)
			rest = rest[size:]
		}
		n = copy(buf, rest)
	}
}

// line is the first header line of that name, with its end; nil if there is none.
func line(b []byte, name string) []byte {
	i := bytes.Index(b, []byte("\r\n"+name+":"))
	if i < 0 {
		return nil
	}
	b = b[i+2:]
	return b[:bytes.IndexByte(b, '\n')+1]
}

func number(line []byte) int {
	n, _ := strconv.Atoi(string(bytes.TrimSpace(line[bytes.IndexByte(line, ':')+1:])))
	return n
}

// relay sends a message on and returns what it sent, for its space.
func (f *forwarder) relay(out, b []byte, from netip.AddrPort) []byte {
	if bytes.HasPrefix(b, []byte("SIP/2.0")) {
		top := line(b, "Via")
		at := bytes.Index(b, top)
		out = append(out, b[:at]...)
		if i := bytes.IndexByte(top, ','); i >= 0 { // several in one line, as SIPp writes them
			out = append(append(out, "Via:"...), top[i+1:]...)
		}
		out = append(out, b[at+len(top):]...)
		next := line(out, "Via")
		if next == nil {
			return out
		}
		port := number(append([]byte(":"), param(next, "rport=")...))
		if addr, err := netip.ParseAddr(string(param(next, "received="))); err == nil {
			f.send(out, netip.AddrPortFrom(addr, uint16(port)))
		}
		return out
	}
	first := bytes.IndexByte(b, '\n') + 1
	if bytes.HasPrefix(b, []byte("OPTIONS")) {
		out = append(out, "SIP/2.0 200 OK\r\n"...)
		for _, name := range []string{"Via", "From", "To", "Call-ID", "CSeq", "Content-Length"} {
			out = append(out, line(b, name)...)
		}
		f.send(append(out, "\r\n"...), from)
		return out
	}
	to, ok := f.target(b[:first])
	if !ok {
		return out
	}
	top := line(b, "Via")
	out = append(out, b[:first]...)
	out = append(out, f.via...)
	out = append(append(out, param(top, "branch=")...), "\r\n"...)
	if bytes.HasPrefix(b, []byte("INVITE")) {
		out = append(out, f.rr...)
	}
	route := line(b, "Route")
	for rest := b[first:]; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n') + 1
		switch l := rest[:i]; {
		case i == 2: // the body
			return f.sent(append(out, rest...), to)
		case route != nil && bytes.Equal(l, route): // ours
		case &l[0] == &top[0]:
			out = append(out, bytes.Replace(l[:i-2], []byte(";rport"), fmt.Appendf(nil, ";rport=%d;received=%s", from.Port(), from.Addr().Unmap()), 1)...)
			out = append(out, "\r\n"...)
		default:
			out = append(out, l...)
		}
		rest = rest[i:]
	}
	return f.sent(out, to)
}

func (f *forwarder) sent(b []byte, to netip.AddrPort) []byte { f.send(b, to); return b }

// target is a server in turn, for an INVITE; for others the address in the request URI.
func (f *forwarder) target(first []byte) (netip.AddrPort, bool) {
	if bytes.HasPrefix(first, []byte("INVITE")) {
		return f.servers[int(f.next.Add(1))%len(f.servers)], true
	}
	uri := first[bytes.IndexByte(first, ':')+1:]
	uri = uri[:bytes.IndexByte(uri, ' ')]
	if i := bytes.IndexByte(uri, ';'); i >= 0 {
		uri = uri[:i]
	}
	a, err := netip.ParseAddrPort(string(uri))
	return a, err == nil
}

func param(line []byte, name string) []byte {
	i := bytes.Index(line, []byte(name))
	if i < 0 {
		return nil
	}
	v := line[i+len(name):]
	return v[:bytes.IndexAny(v, ";\r\n")]
}

func (f *forwarder) send(b []byte, to netip.AddrPort) {
	if f.network == "udp" {
		_, _ = f.udp.WriteToUDPAddrPort(b, to)
		return
	}
	f.mu.Lock()
	c := f.streams[to]
	f.mu.Unlock()
	if c == nil {
		var err error
		if c, err = net.Dial("tcp", to.String()); err != nil {
			return
		}
		f.add(c)
	}
	_, _ = c.Write(b)
}
