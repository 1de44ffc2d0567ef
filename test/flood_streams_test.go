package test

import (
	"context"
	"fmt"
	"net"
	"time"
)

// floodConns is how many connections there have to be at once.
const floodConns = 1200

// crowd is more connections than that from many allowed addresses: half of them say nothing at all, half say keepalives, an
// OPTIONS, or half of one.
func (f *flood) crowd(ctx context.Context) {
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	for i := range floodConns + 100 {
		c, err := f.connect(ctx, i%100+1)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			f.l.t.Errorf("connection %d: %v", i, err)
			return
		}
		open = append(open, c)
		from := c.LocalAddr().(*net.TCPAddr).AddrPort()
		options := f.request("OPTIONS", from, from.String(), "")
		switch i % 6 {
		case 0:
			_, _ = c.Write([]byte("\r\n\r\n"))
		case 1:
			_, _ = c.Write([]byte(options))
		case 2:
			_, _ = c.Write([]byte(options[:len(options)/2]))
		}
	}
	<-ctx.Done()
}

// slow is connections that send a message byte by byte and never come to its end; when one is closed, another is opened.
func (f *flood) slow(ctx context.Context) {
	pace := time.NewTicker(100 * time.Millisecond)
	defer pace.Stop()
	open := make([]net.Conn, 100)
	defer func() {
		for _, c := range open {
			if c != nil {
				_ = c.Close()
			}
		}
	}()
	for n := 0; ; n++ {
		for i, c := range open {
			if c == nil {
				if c, _ = f.connect(ctx, 101+i%50); c == nil {
					continue
				}
				open[i] = c
			}
			line := fmt.Sprintf("OPTIONS sip:%s SIP/2.0\r\n", f.to)
			b := byte('a')
			if n < len(line) {
				b = line[n]
			}
			if _, err := c.Write([]byte{b}); err != nil {
				_ = c.Close()
				open[i] = nil
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
		}
	}
}

// connect opens a connection from one of floodFriends.
func (f *flood) connect(ctx context.Context, n int) (net.Conn, error) {
	d := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, byte(netOfRun), 240, byte(n))}}
	return d.DialContext(ctx, "tcp4", f.to.String())
}
