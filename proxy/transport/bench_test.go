package transport

import (
	"crypto/sha256"
	"crypto/tls"
	"hash/crc32"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// invite is of the size of a real INVITE with its SDP.
var invite = []byte(startLine + strings.Repeat("Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKabcdef\r\n", 12) +
	"Content-Length: 500\r\n\r\n" + strings.Repeat("x", 500))

// pingPong returns a function that sends one message to a second Set, which
// sends it back, and waits for it.
func pingPong(tb testing.TB, proto Proto) func() {
	tb.Helper()
	local := uint8(proto - UDP)
	ca := newAuthority(tb, "ca")
	open := func(h Handler) *Set {
		s, _ := start(tb, Options{Handler: h, ClientTLS: ca.trust(), Listeners: []Listener{
			{Proto: UDP, Addr: loopback(1)}, {Proto: TCP, Addr: loopback(1)}, ca.listen(tb, loopback(1))}})
		return s
	}
	echo := &echoer{recorder: newRecorder(), ready: make(chan struct{})}
	far := open(echo)
	echo.set = far
	close(echo.ready)
	near := newRecorder()
	back := make(chan struct{}, 1)
	near.hook = func([]byte, Flow) { back <- struct{}{} }
	s := open(near)
	to := Flow{Proto: proto, Local: local, Remote: far.Addr(int(local))}
	return func() {
		if _, err := s.Send(to, invite); err != nil {
			tb.Fatal(err)
		}
		<-back
	}
}

type echoer struct {
	*recorder
	ready chan struct{}
	set   *Set
}

func (e *echoer) Receive(msg []byte, from Flow) {
	<-e.ready
	_, _ = e.set.Send(from, msg)
}

// Neither sending nor receiving allocates.
func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, proto := range []Proto{UDP, TCP} {
		trip := pingPong(t, proto)
		for range 100 {
			trip()
		}
		if n := testing.AllocsPerRun(1000, trip); n > 0 {
			t.Errorf("%s: %v allocations a round trip", proto, n)
		}
	}
}

// A round trip: two messages sent, two received, four goroutine switches.
func BenchmarkRoundTrip(b *testing.B) {
	for _, proto := range []Proto{UDP, TCP, TLS} {
		b.Run(proto.String(), func(b *testing.B) {
			trip := pingPong(b, proto)
			trip()
			b.ReportAllocs()
			for b.Loop() {
				trip()
			}
		})
	}
}

// What Send costs, the network's part included; nobody reads the datagrams.
func BenchmarkSendUDP(b *testing.B) {
	s, _ := start(b, Options{})
	sink, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(loopback(1)))
	if err != nil {
		b.Fatal(err)
	}
	defer sink.Close()
	_ = sink.SetReadBuffer(4096)
	to := Flow{Proto: UDP, Remote: localAddr(sink)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Send(to, invite); err != nil {
			b.Fatal(err)
		}
	}
}

// Many goroutines send to a peer that reads as fast as it can.
func BenchmarkSendTCP(b *testing.B) {
	s, _ := start(b, Options{MaxPending: 1 << 30})
	ln, err := net.Listen("tcp", loopback(1).String())
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, struct{ io.Reader }{c})
		_ = c.Close()
	}()
	to := Flow{Proto: TCP, Local: 1, Remote: netip.MustParseAddrPort(ln.Addr().String())}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Send(to, invite); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.StopTimer()
	_ = ln.Close()
	for _, c := range s.table.all() {
		s.CloseConn(c.id())
	}
	<-done
}

// What receiving costs when messages come many at a time.
func BenchmarkReceiveTCP(b *testing.B) {
	h := newRecorder()
	n, want := 0, 0
	all := make(chan struct{})
	h.hook = func([]byte, Flow) {
		if n++; n == want {
			close(all)
		}
	}
	s, _ := start(b, Options{Handler: h})
	c, err := net.Dial("tcp", s.Addr(1).String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	const batch = 32
	burst := []byte(strings.Repeat(string(invite), batch))
	want = (b.N + batch - 1) / batch * batch
	b.ReportAllocs()
	b.SetBytes(int64(len(invite)))
	b.ResetTimer()
	for range want / batch {
		if _, err := c.Write(burst); err != nil {
			b.Fatal(err)
		}
	}
	<-all
}

// The cost of a reachable peer's datagram while another peer is dead.
func BenchmarkSendUDPDeadPeer(b *testing.B) {
	s, _ := start(b, Options{Handler: quiet{}})
	dead := Flow{Proto: UDP, Remote: deadPort(b)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Send(dead, invite); err != nil {
			b.Fatal(err)
		}
	}
}

// Many clients, each of which waits for its answer; the server works for some
// 10 us on each datagram, as a proxy would.
func BenchmarkReaders(b *testing.B) {
	for _, readers := range []int{1, 2, 4} {
		b.Run(strconv.Itoa(readers), func(b *testing.B) {
			h := newRecorder()
			var set atomic.Pointer[Set]
			h.hook = func(msg []byte, from Flow) {
				for n := 0; n < 12; n++ {
					crc32.ChecksumIEEE(msg)
					sha256.Sum256(msg)
				}
				_, _ = set.Load().Send(from, msg)
			}
			s, _ := start(b, Options{Handler: h, Listeners: withReaders(readers)})
			set.Store(s)
			b.ReportAllocs()
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(s.Addr(0)))
				if err != nil {
					b.Error(err)
					return
				}
				defer c.Close()
				buf := make([]byte, 4096)
				for pb.Next() {
					if _, err := c.Write(invite); err != nil {
						b.Error(err)
						return
					}
					if _, err := c.Read(buf); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// A handshake and its end, both sides.
func BenchmarkHandshake(b *testing.B) {
	ca := newAuthority(b, "ca")
	s, _ := start(b, Options{Handler: quiet{}, Listeners: []Listener{ca.listen(b, loopback(1))}})
	config := &tls.Config{RootCAs: ca.pool, ServerName: "127.0.0.1"}
	for b.Loop() {
		c, err := tls.Dial("tcp", s.Addr(0).String(), config)
		if err != nil {
			b.Fatal(err)
		}
		_ = c.Close()
	}
}

// quiet is a Handler that does nothing.
type quiet struct{ Handler }

func (quiet) Receive([]byte, Flow)                      {}
func (quiet) Unreachable([]byte, netip.AddrPort, error) {}
func (quiet) Closed(uint64, netip.AddrPort, error)      {}
