package transport

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// deadPort returns an address where nothing listens.
func deadPort(t testing.TB) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(loopback(77)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return localAddr(c)
}

func TestUDPOrderAndFlow(t *testing.T) {
	s, r := start(t, Options{})
	peer, peerGot := start(t, Options{})
	const n = 200
	for i := range n {
		if _, err := peer.Send(Flow{Proto: UDP, Remote: s.Addr(0)}, []byte(message(i))); err != nil {
			t.Fatal(err)
		}
	}
	want := Flow{Proto: UDP, Remote: peer.Addr(0)}
	for i := range n {
		if got := await(t, r.got); got.msg != message(i) || got.from != want {
			t.Fatalf("message %d: %+v, want from %+v", i, got, want)
		}
	}
	// A Flow that came in is one to send to; an IPv4 address in IPv6 form too.
	want.Remote = netip.AddrPortFrom(netip.AddrFrom16(want.Remote.Addr().As16()), want.Remote.Port())
	if _, err := s.Send(want, []byte("answer")); err != nil {
		t.Fatal(err)
	}
	if got := await(t, peerGot.got); got.msg != "answer" {
		t.Errorf("got %+v", got)
	}
	if st := s.Stats(); st.DatagramsIn != n || st.DatagramsOut != 1 {
		t.Errorf("%+v", st)
	}
}

// RFC 5626 keepalives and what NATs are sent: nothing for the Handler.
func TestUDPKeepalive(t *testing.T) {
	s, r := start(t, Options{})
	peer, peerGot := start(t, Options{})
	for _, d := range []string{"\r\n\r\n", "\r\n", "", "\x00", "\x00\x00\x00\x00", "\n", "\r\n" + message(1)} {
		if _, err := peer.Send(Flow{Proto: UDP, Remote: s.Addr(0)}, []byte(d)); err != nil {
			t.Fatal(err)
		}
	}
	if got := await(t, r.got); got.msg != message(1) {
		t.Errorf("got %q", got.msg)
	}
	none(t, r.got)
	none(t, peerGot.got)
}

func TestUDPUnreachable(t *testing.T) {
	s, r := start(t, Options{})
	dead := deadPort(t)
	payload := message(1) + strings.Repeat("x", 1000)
	for range 3 { // the reader is parked each time
		if _, err := s.Send(Flow{Proto: UDP, Remote: dead}, []byte(payload)); err != nil {
			t.Fatal(err)
		}
		got := await(t, r.unreachable)
		if got.to != dead || !errors.Is(got.err, syscall.ECONNREFUSED) {
			t.Errorf("got %v %v, want %v", got.to, got.err, dead)
		}
		if len(got.head) < 100 || !strings.HasPrefix(payload, got.head) {
			t.Errorf("head %q", got.head)
		}
	}
	none(t, r.unreachable)
}

// A dead peer costs no other peer a datagram, and each of its refusals is told,
// whoever is told of the first by the kernel: the reader or a sender.
func TestUDPDeadPeerHarmsNoOther(t *testing.T) {
	s, r := start(t, Options{})
	live, liveGot := start(t, Options{})
	dead := deadPort(t)
	const n = 500
	for i := range n {
		if _, err := s.Send(Flow{Proto: UDP, Remote: dead}, []byte(message(i))); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Send(Flow{Proto: UDP, Remote: live.Addr(0)}, []byte(message(i))); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if got := await(t, liveGot.got); got.msg != message(i) {
			t.Fatalf("message %d: %q", i, got.msg)
		}
	}
	for i := range n {
		if got := await(t, r.unreachable); got.head != message(i) {
			t.Fatalf("refusal %d: %q", i, got.head)
		}
	}
}

// The same from many goroutines, while the reader drains.
func TestUDPDeadPeerManySenders(t *testing.T) {
	s, r := start(t, Options{})
	live, liveGot := start(t, Options{})
	dead := deadPort(t)
	const senders, n = 8, 200
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for i := range n {
				for _, to := range []netip.AddrPort{dead, live.Addr(0)} {
					if _, err := s.Send(Flow{Proto: UDP, Remote: to}, []byte(message(i))); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	for range senders * n {
		await(t, liveGot.got)
		await(t, r.unreachable)
	}
	none(t, r.unreachable)
}

// After refusals the reader sleeps: an error mark must not make it spin.
func TestUDPReaderDoesNotSpin(t *testing.T) {
	s, r := start(t, Options{})
	dead := deadPort(t)
	for range 10 {
		_, _ = s.Send(Flow{Proto: UDP, Remote: dead}, []byte("x"))
	}
	for range 10 {
		await(t, r.unreachable)
	}
	// One that spins does all the time; what else this process has to do, as to collect garbage, it does not.
	const silence = 100 * time.Millisecond
	least := time.Hour
	for range 5 {
		var before, after unix.Rusage
		_ = unix.Getrusage(unix.RUSAGE_SELF, &before)
		time.Sleep(silence)
		_ = unix.Getrusage(unix.RUSAGE_SELF, &after)
		least = min(least, time.Duration(after.Utime.Nano()+after.Stime.Nano()-before.Utime.Nano()-before.Stime.Nano()))
	}
	if least > silence/4 {
		t.Errorf("%v of CPU time at least in %v of silence", least, silence)
	}
}

// Unreachable may send, even to the dead peer: no lock is held.
func TestUDPUnreachableMaySend(t *testing.T) {
	h := &resender{recorder: newRecorder()}
	ready := make(chan struct{})
	h.ready = ready
	s, _ := start(t, Options{Handler: h})
	live, liveGot := start(t, Options{})
	h.set, h.to = s, live.Addr(0)
	close(ready)
	if _, err := s.Send(Flow{Proto: UDP, Remote: deadPort(t)}, []byte(message(7))); err != nil {
		t.Fatal(err)
	}
	if got := await(t, liveGot.got); got.msg != message(7) {
		t.Errorf("got %q", got.msg)
	}
}

type resender struct {
	*recorder
	ready <-chan struct{}
	set   *Set
	to    netip.AddrPort
}

func (h *resender) Unreachable(head []byte, _ netip.AddrPort, _ error) {
	<-h.ready
	_, _ = h.set.Send(Flow{Proto: UDP, Remote: h.to}, head)
}

func TestUDPBuffers(t *testing.T) {
	s, _ := start(t, Options{ReadBuffer: 100 << 10, WriteBuffer: 120 << 10})
	_ = s.socks[0].udp[0].raw.Control(func(fd uintptr) {
		for opt, want := range map[int]int{unix.SO_RCVBUF: 200 << 10, unix.SO_SNDBUF: 240 << 10} {
			if got, _ := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, opt); got != want {
				t.Errorf("option %d: %d, want %d", opt, got, want)
			}
		}
	})
}

// What the kernel drops for a full receive buffer is counted.
func TestUDPReceiveDrops(t *testing.T) {
	block := make(chan struct{})
	h := newRecorder()
	h.hook = func([]byte, Flow) { <-block }
	s, _ := start(t, Options{Handler: h, ReadBuffer: 4 << 10})
	t.Cleanup(func() { close(block) })
	payload := []byte(strings.Repeat("x", 1000))
	for range 100 {
		_, _ = s.Send(Flow{Proto: UDP, Remote: s.Addr(0)}, payload)
	}
	if st := s.Stats(); st.ReceiveDrops == 0 {
		t.Errorf("%+v", st)
	}
}
