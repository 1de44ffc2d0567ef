package transport

import (
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
)

// seen collects what a Tap sees.
type seen struct {
	mu  sync.Mutex
	all []tapped
}

type tapped struct {
	Packet
	msg string
}

func (s *seen) tap(p Packet, msg []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, tapped{p, string(msg)})
}

func (s *seen) take() []tapped {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.all
	s.all = nil
	return l
}

// TestTap: each message once at either end, with the addresses that the other end sees, also on a connection that is dialled for
// it.
func TestTap(t *testing.T) {
	ca := newAuthority(t, "ca")
	open := func() (*Set, *recorder, *seen) {
		s, r := start(t, Options{ClientTLS: ca.trust(), Listeners: []Listener{
			{Proto: UDP, Addr: loopback(1)}, {Proto: TCP, Addr: loopback(1)}, ca.listen(t, loopback(1))}})
		w := new(seen)
		s.SetTap(w.tap)
		return s, r, w
	}
	near, back, nearSeen := open()
	far, there, farSeen := open()
	for i, proto := range []Proto{UDP, TCP, TLS} {
		local := uint8(i)
		// Two before the connection is there, as far as there is one, and two after.
		for n := range 4 {
			if _, err := near.Send(Flow{Proto: proto, Local: local, Remote: far.Addr(i)}, []byte(message(n))); err != nil {
				t.Fatal(err)
			}
			if n > 0 {
				await(t, there.got)
			}
		}
		from := await(t, there.got).from
		if _, err := far.Send(from, []byte(message(9))); err != nil {
			t.Fatal(err)
		}
		await(t, back.got)
		here, other := from.Remote, far.Addr(i)
		var out, in []tapped
		for n := range 4 {
			out = append(out, tapped{Packet{proto, local, here, other, true}, message(n)})
			in = append(in, tapped{Packet{proto, local, other, here, false}, message(n)})
		}
		out = append(out, tapped{Packet{proto, local, here, other, false}, message(9)})
		in = append(in, tapped{Packet{proto, local, other, here, true}, message(9)})
		if got := nearSeen.take(); !slices.Equal(got, out) {
			t.Errorf("%s: the sender saw\n%+v, want\n%+v", proto, got, out)
		}
		if got := farSeen.take(); !slices.Equal(got, in) {
			t.Errorf("%s: the receiver saw\n%+v, want\n%+v", proto, got, in)
		}
	}
	near.SetTap(nil)
	if _, err := near.Send(Flow{Proto: UDP, Remote: far.Addr(0)}, []byte(message(1))); err != nil {
		t.Fatal(err)
	}
	if got := nearSeen.take(); got != nil {
		t.Errorf("seen without a tap: %+v", got)
	}
}

// A message that waits for a connection which never comes was not sent.
func TestTapUnsent(t *testing.T) {
	s, r := start(t, Options{})
	w := new(seen)
	s.SetTap(w.tap)
	ln, err := net.Listen("tcp", loopback(1).String())
	if err != nil {
		t.Fatal(err)
	}
	gone := netip.MustParseAddrPort(ln.Addr().String())
	_ = ln.Close()
	if _, err := s.Send(Flow{Proto: TCP, Local: 1, Remote: gone}, []byte(message(1))); err != nil {
		t.Fatal(err)
	}
	await(t, r.closed)
	if got := w.take(); got != nil {
		t.Errorf("seen: %+v", got)
	}
}

// Keepalives are no messages: neither a ping nor the pong that answers it.
func TestTapKeepalive(t *testing.T) {
	s, r := start(t, Options{})
	w := new(seen)
	s.SetTap(w.tap)
	c := connect(t, s.Addr(1))
	if _, err := c.Write([]byte("\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "\r\n" {
		t.Fatalf("the pong: %q %v", b, err)
	}
	if _, err := c.Write([]byte(message(1))); err != nil {
		t.Fatal(err)
	}
	await(t, r.got)
	if got := w.take(); len(got) != 1 || got[0].msg != message(1) {
		t.Errorf("seen: %+v", got)
	}
	if st := s.Stats(); st.StreamIn != 1 || st.StreamOut != 0 {
		t.Errorf("counted: %d in, %d out", st.StreamIn, st.StreamOut)
	}
}
