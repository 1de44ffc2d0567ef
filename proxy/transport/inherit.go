package transport

import (
	"fmt"
	"net"
	"os"
)

// inheritUDP makes a listener of sockets that others opened.
func (s *Set) inheritUDP(i uint8, l Listener) (socket, error) {
	sock := socket{Listener: l, addr: l.Addr}
	for _, f := range l.Inherited {
		p, err := net.FilePacketConn(f)
		_ = f.Close()
		if err != nil {
			sock.close()
			return socket{}, fmt.Errorf("inherit: %w", err)
		}
		pc, ok := p.(*net.UDPConn)
		if !ok {
			_ = p.Close()
			sock.close()
			return socket{}, fmt.Errorf("inherit: a %s socket, not UDP", p.LocalAddr().Network())
		}
		u, err := s.newUDP(i, pc, !l.Addr.Addr().Is4())
		if err == nil {
			sock.udp = append(sock.udp, u)
			err = s.opt.tuneUDP(u.raw)
		}
		if err != nil {
			sock.close()
			return socket{}, fmt.Errorf("inherit: %w", err)
		}
	}
	sock.udp[0].checkBuffer()
	return sock, nil
}

// inheritTCP makes a listener of a socket that others opened. There must be one:
// each of several has connections of its own, and one goroutine accepts.
func inheritTCP(files []*os.File) (net.Listener, error) {
	if len(files) > 1 {
		for _, f := range files {
			_ = f.Close()
		}
		return nil, fmt.Errorf("inherit: %d sockets of one stream address", len(files))
	}
	ln, err := net.FileListener(files[0])
	_ = files[0].Close()
	if err != nil {
		return nil, fmt.Errorf("inherit: %w", err)
	}
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		_ = ln.Close()
		return nil, fmt.Errorf("inherit: a %s socket, not TCP", ln.Addr().Network())
	}
	raw, err := tcp.SyscallConn()
	if err == nil {
		err = tuneTCP("", "", raw)
	}
	if err != nil {
		_ = tcp.Close()
		return nil, fmt.Errorf("inherit: %w", err)
	}
	return tcp, nil
}
