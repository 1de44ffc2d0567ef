package transport

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func withReaders(n int) []Listener {
	return []Listener{{Proto: UDP, Addr: loopback(1), Readers: n}}
}

// The datagrams of one source are handled in order, whichever reader has it.
func TestReadersOrder(t *testing.T) {
	const sources, each, window = 50, 2000, 4
	type source struct {
		conn *net.UDPConn
		free chan struct{} // as many datagrams may be under way: nothing is dropped
		next atomic.Uint32
	}
	bySource := map[netip.AddrPort]*source{}
	for i := range sources {
		c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(loopback(byte(2+i%5))))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		bySource[localAddr(c)] = &source{conn: c, free: make(chan struct{}, window)}
	}
	var all sync.WaitGroup
	all.Add(sources * each)
	h := newRecorder()
	h.hook = func(msg []byte, from Flow) {
		src := bySource[from.Remote]
		if src == nil || len(msg) != 5 {
			t.Errorf("%q from %+v", msg, from)
			return
		}
		if n := binary.BigEndian.Uint32(msg[1:]); !src.next.CompareAndSwap(n, n+1) {
			t.Errorf("%s: number %d, want %d", from.Remote, n, src.next.Load())
		}
		<-src.free
		all.Done()
	}
	s, _ := start(t, Options{Handler: h, Listeners: withReaders(4)})
	begun := time.Now()
	for _, src := range bySource {
		go func() {
			b := []byte("n....")
			for i := range uint32(each) {
				src.free <- struct{}{}
				binary.BigEndian.PutUint32(b[1:], i)
				if _, err := src.conn.WriteToUDPAddrPort(b, s.Addr(0)); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(6 * patience):
		t.Fatal("not all came")
	}
	var shares []uint64
	busy := 0
	for _, u := range s.socks[0].udp {
		shares = append(shares, u.in.Load())
		if u.in.Load() > 0 {
			busy++
		}
	}
	t.Logf("%d datagrams in %v, by reader: %d", sources*each, time.Since(begun), shares)
	if busy < 2 {
		t.Errorf("one reader has them all: %d", shares)
	}
	if st := s.Stats(); st.DatagramsIn != sources*each || st.ReceiveDrops != 0 {
		t.Errorf("%+v", st)
	}
}

// Datagrams leave from one address, whichever socket takes them, and in order
// for each destination.
func TestReadersSend(t *testing.T) {
	s, r := start(t, Options{Listeners: withReaders(4)})
	used := map[int]bool{}
	for range 20 {
		peer, got := start(t, Options{})
		for i := range 20 {
			if _, err := s.Send(Flow{Proto: UDP, Remote: peer.Addr(0)}, []byte(message(i))); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 20 {
			if m := await(t, got.got); m.msg != message(i) || m.from.Remote != s.Addr(0) {
				t.Fatalf("got %+v", m)
			}
		}
		if _, err := peer.Send(Flow{Proto: UDP, Remote: s.Addr(0)}, []byte(message(1))); err != nil {
			t.Fatal(err)
		}
		if m := await(t, r.got); m.from != (Flow{Proto: UDP, Remote: peer.Addr(0)}) {
			t.Errorf("from %+v", m.from)
		}
		used[pick(peer.Addr(0), 4)] = true
	}
	if len(used) < 2 {
		t.Errorf("one socket sends them all: %v", used)
	}
	if st := s.Stats(); st.DatagramsOut != 400 || st.DatagramsIn != 20 {
		t.Errorf("%+v", st)
	}
}

func TestPick(t *testing.T) {
	for n := 1; n <= 8; n++ {
		counts := make([]int, n)
		for port := range uint16(8000) {
			for _, a := range []string{"10.1.2.3", "10.1.2.4", "2001:db8::5"} {
				counts[pick(netip.AddrPortFrom(netip.MustParseAddr(a), port), n)]++
			}
		}
		for i, c := range counts {
			if c < 24000/n/2 {
				t.Errorf("%d sockets: %d of 24000 for number %d", n, c, i)
			}
		}
	}
}

// Refusals come to the socket of the kernel's choice: each of them is told, and
// costs no other destination a datagram.
func TestReadersUnreachable(t *testing.T) {
	s, r := start(t, Options{Listeners: withReaders(4)})
	live, liveGot := start(t, Options{})
	const n, rounds = 20, 20
	var dead []netip.AddrPort
	for range n {
		dead = append(dead, deadPort(t))
	}
	for range rounds {
		for i, to := range dead {
			for _, to := range []netip.AddrPort{to, live.Addr(0)} {
				if _, err := s.Send(Flow{Proto: UDP, Remote: to}, []byte(message(i))); err != nil {
					t.Fatal(err)
				}
			}
		}
		for range n {
			u := await(t, r.unreachable)
			if !errors.Is(u.err, syscall.ECONNREFUSED) || !strings.HasPrefix(u.head, "OPTIONS") {
				t.Errorf("%+v", u)
			}
			await(t, liveGot.got)
		}
	}
	none(t, r.unreachable)
}

// Sharing is among the readers of one listener: a second process that is
// started by mistake does not get a part of the traffic.
func TestReadersInUse(t *testing.T) {
	s, _ := start(t, Options{Listeners: withReaders(3)})
	if len(s.socks[0].udp) != 3 {
		t.Fatalf("%d sockets", len(s.socks[0].udp))
	}
	for _, readers := range []int{0, 1, 2} {
		_, err := Listen(Options{Handler: newRecorder(), Listeners: []Listener{{Proto: UDP, Addr: s.Addr(0), Readers: readers}}})
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%d readers: %v", readers, err)
		}
	}
}
