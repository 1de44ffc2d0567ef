package sim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

const (
	dialTimeout  = 5 * time.Second
	writeTimeout = 2 * time.Second // a peer that does not read must not stop its neighbours
	socketBuffer = 4 << 20
)

// flow is where a message came from and where its answer goes.
type flow struct {
	network string // "udp" or "tcp"
	remote  netip.AddrPort
	conn    *tcpConn // of tcp
}

// tcpConn is a connection, accepted or dialed.
type tcpConn struct {
	net.Conn
	mu sync.Mutex // one message at a time
}

func (c *tcpConn) write(raw []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := c.Write(raw)
	if err != nil {
		_ = c.Close() // part of a message may be out: the stream is of no more use
	}
	return err
}

// endpoint is one address with a UDP socket, a TCP listener or both, and the connections
// that were accepted or dialed there. It hands every message to handle, from the goroutine
// that read it, so that messages of one socket stay in order.
type endpoint struct {
	addr   netip.AddrPort
	udp    *net.UDPConn
	tcp    *net.TCPListener
	handle func(*message, flow)
	ctx    context.Context // ends with close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  map[*tcpConn]struct{}
	dialMu sync.Mutex // held while dialing: sessions share the connection
	dialed map[netip.AddrPort]*tcpConn
}

// listen opens addr for the networks. With port 0 it finds one that is free for all of them.
func listen(addr netip.AddrPort, networks []string, handle func(*message, flow)) (*endpoint, error) {
	e := &endpoint{
		handle: handle, conns: map[*tcpConn]struct{}{}, dialed: map[netip.AddrPort]*tcpConn{},
	}
	var err error
	for range 20 { // a port free for TCP may be taken for UDP
		if err = e.open(addr, networks); err == nil || addr.Port() != 0 {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	if e.udp != nil {
		e.wg.Go(e.readUDP)
	}
	if e.tcp != nil {
		e.wg.Go(e.accept)
	}
	return e, nil
}

func (e *endpoint) open(addr netip.AddrPort, networks []string) (err error) {
	if slices.Contains(networks, "tcp") {
		if e.tcp, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr)); err != nil {
			return err
		}
		addr = netip.AddrPortFrom(addr.Addr(), uint16(e.tcp.Addr().(*net.TCPAddr).Port))
	}
	if slices.Contains(networks, "udp") {
		if e.udp, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr)); err != nil {
			if e.tcp != nil {
				_ = e.tcp.Close()
			}
			return err
		}
		_ = e.udp.SetReadBuffer(socketBuffer)
		addr = netip.AddrPortFrom(addr.Addr(), uint16(e.udp.LocalAddr().(*net.UDPAddr).Port))
	}
	e.addr = addr
	return nil
}

// close ends every socket at once and returns when their goroutines have.
func (e *endpoint) close() {
	e.mu.Lock()
	e.closed = true
	e.cancel()
	if e.udp != nil {
		_ = e.udp.Close()
	}
	if e.tcp != nil {
		_ = e.tcp.Close()
	}
	for c := range e.conns {
		_ = c.Close()
	}
	e.mu.Unlock()
	e.wg.Wait()
}

func (e *endpoint) readUDP() {
	parser, buf := newParser(), make([]byte, 65535)
	for {
		n, from, err := e.udp.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		m, err := parser.ParseSIP(slices.Clone(buf[:n]))
		if err != nil {
			continue // keepalives and noise
		}
		e.handle(fromSIP(m), flow{network: "udp", remote: netip.AddrPortFrom(from.Addr().Unmap(), from.Port())})
	}
}

func (e *endpoint) accept() {
	for {
		c, err := e.tcp.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			_ = e.adopt(c)
		}
	}
}

// adopt starts reading a connection; nil when the endpoint is closed.
func (e *endpoint) adopt(nc net.Conn) *tcpConn {
	c := &tcpConn{Conn: nc}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		_ = nc.Close()
		return nil
	}
	e.conns[c] = struct{}{}
	e.wg.Go(func() { e.readTCP(c) })
	return c
}

func (e *endpoint) readTCP(c *tcpConn) {
	remote := c.RemoteAddr().(*net.TCPAddr).AddrPort()
	remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	defer func() {
		_ = c.Close()
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.conns, c)
		if e.dialed[remote] == c {
			delete(e.dialed, remote)
		}
	}()
	stream, buf := newParser().NewSIPStream(), make([]byte, 16<<10)
	defer stream.Close()
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		err = stream.ParseSIPStream(buf[:n], func(m sip.Message) {
			e.handle(fromSIP(m), flow{network: "tcp", remote: remote, conn: c})
		})
		if err != nil && !errors.Is(err, sip.ErrParseSipPartial) {
			return // there is no boundary to resume at
		}
	}
}

// answer sends raw back on the flow.
func (e *endpoint) answer(f flow, raw []byte) error {
	if f.conn != nil {
		return f.conn.write(raw)
	}
	_, err := e.udp.WriteToUDPAddrPort(raw, f.remote)
	return err
}

// send sends a request. Over TCP it goes on the connection this end dialed to that address,
// which is made when there is none; accepted connections are never used.
func (e *endpoint) send(network string, to netip.AddrPort, raw []byte) error {
	switch network {
	case "udp":
		if e.udp == nil {
			return fmt.Errorf("send to %s: no UDP socket", to)
		}
		return e.answer(flow{network: "udp", remote: to}, raw)
	case "tcp":
		c, reused, err := e.dial(to)
		if err != nil {
			return err
		}
		err = c.write(raw)
		if err != nil && reused { // it broke since: once more on a new one
			if c, _, err = e.dial(to); err == nil {
				err = c.write(raw)
			}
		}
		return err
	}
	return fmt.Errorf("send to %s: transport %q is not simulated", to, network)
}

func (e *endpoint) dial(to netip.AddrPort) (c *tcpConn, reused bool, err error) {
	e.dialMu.Lock()
	defer e.dialMu.Unlock()
	e.mu.Lock()
	c = e.dialed[to]
	e.mu.Unlock()
	if c != nil {
		return c, true, nil
	}
	d := net.Dialer{Timeout: dialTimeout, LocalAddr: &net.TCPAddr{IP: e.addr.Addr().AsSlice()}}
	nc, err := d.DialContext(e.ctx, "tcp", to.String())
	if err != nil {
		return nil, false, err
	}
	if c = e.adopt(nc); c == nil {
		return nil, false, net.ErrClosed
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, alive := e.conns[c]; alive {
		e.dialed[to] = c
	}
	return c, false, nil
}
