package transport

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// successor makes the options of a Set that takes over all of another's listeners.
func successor(t *testing.T, s *Set) Options {
	t.Helper()
	var o Options
	for _, sock := range s.Sockets() {
		fds, err := sock.Files()
		if err != nil {
			t.Fatal(err)
		}
		l := Listener{Proto: sock.Proto, Addr: sock.Addr}
		for _, fd := range fds {
			l.Inherited = append(l.Inherited, os.NewFile(uintptr(fd), "inherited"))
		}
		o.Listeners = append(o.Listeners, l)
	}
	return o
}

// given makes streams what they are when they arrive at another process.
func given(t *testing.T, l []Stream) (taken []Stream) {
	t.Helper()
	for _, st := range l {
		fds, err := st.Duplicate()
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, Stream{Flow: st.Flow, Inbound: st.Inbound, Read: append([]byte(nil), st.Read...), File: os.NewFile(uintptr(fds[0]), "inherited")})
	}
	return taken
}

// takeOver puts another Set in the place of s: what arrives between is left to the kernel.
func takeOver(t *testing.T, s *Set, o Options, send func(Flow, []byte) error) (*Set, *recorder) {
	t.Helper()
	taken := make([]bool, len(o.Listeners))
	for i := range taken {
		taken[i] = true
	}
	r := newRecorder()
	if o.Handler == nil {
		o.Handler = r
	}
	next, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	l := s.Halt(taken, send)
	next.Adopt(given(t, l))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- next.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		_ = await(t, done)
	})
	<-next.Ready()
	s.Leave(l)
	return next, r
}

// Sockets change hands under a stream of datagrams and of messages on a connection, several times, with a change of mind
// between: none is lost, comes twice or is overtaken.
func TestHandOverLosesNothing(t *testing.T) {
	for _, readers := range []int{1, 3} {
		t.Run(fmt.Sprint(readers, " readers"), func(t *testing.T) {
			const sources, wanted = 4, 3000
			var mu sync.Mutex
			last := map[string]int{} // of each source
			order := func(msg []byte, from Flow) {
				mu.Lock()
				defer mu.Unlock()
				var n int
				_, _ = fmt.Sscanf(string(msg), "OPTIONS sip:%d@h", &n)
				if key := fmt.Sprint(from.Proto, from.Remote); n != last[key]+1 {
					t.Errorf("%s: %d after %d", key, n, last[key])
					last[key] = n
				} else {
					last[key]++
				}
			}
			r := newRecorder()
			r.hook = order
			s, _ := start(t, Options{Handler: r, Listeners: []Listener{{Proto: UDP, Addr: loopback(1), Readers: readers}, {Proto: TCP, Addr: loopback(1)}}})
			<-s.Ready()
			udp, tcp := s.Addr(0), s.Addr(1)
			var senders sync.WaitGroup
			for range sources {
				u, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(udp))
				if err != nil {
					t.Fatal(err)
				}
				defer u.Close()
				c := connect(t, tcp)
				senders.Go(func() {
					for n := 1; n <= wanted; n++ {
						_, _ = u.Write([]byte(message(n)))
						b := message(n)
						_, _ = c.Write([]byte(b[:n%len(b)])) // hand-overs find messages in pieces
						time.Sleep(100 * time.Microsecond)
						_, _ = c.Write([]byte(b[n%len(b):]))
					}
				})
			}
			heard := func(atLeast int) {
				t.Helper()
				have := func() bool {
					mu.Lock()
					defer mu.Unlock()
					for _, n := range last {
						if n < atLeast {
							return false
						}
					}
					return len(last) == 2*sources
				}
				for begun := time.Now(); !have(); time.Sleep(time.Millisecond) {
					if time.Since(begun) > patience {
						t.Fatalf("%d have not come: %v", atLeast, last)
					}
				}
			}
			heard(1) // every connection is there to be handed over
			var moved int
			taken := []bool{true, true}
			for range 5 {
				l := s.Halt(taken, nil)
				s.Resume(taken, l)
				o := successor(t, s)
				o.Handler = r
				next, _ := takeOver(t, s, o, nil)
				moved += len(next.table.all())
				s = next
			}
			senders.Wait()
			heard(wanted)
			if moved != 5*sources {
				t.Errorf("%d connections were handed over, want %d", moved, 5*sources)
			}
			none(t, r.closed)
		})
	}
}

// The old process sends datagrams as ever, and what is for a connection through the new one; a connection has the same id
// in both.
func TestSendAfterHandOver(t *testing.T) {
	s, r := start(t, Options{})
	<-s.Ready()
	u, c := connectUDP(t, s.Addr(0)), connect(t, s.Addr(1))
	write(t, c, message(1))
	write(t, u, message(2))
	flows := map[Proto]Flow{}
	for range 2 {
		got := await(t, r.got)
		flows[got.from.Proto] = got.from
	}
	type sent struct {
		f Flow
		b string
	}
	through := make(chan sent, 10)
	next, nr := takeOver(t, s, successor(t, s), func(f Flow, b []byte) error {
		through <- sent{f, string(b)}
		return nil
	})
	if _, err := s.Send(flows[UDP], []byte("by UDP")); err != nil {
		t.Error(err)
	}
	expect(t, u, "by UDP")
	if conn, err := s.Send(flows[TCP], []byte("by TCP")); err != nil || conn != 0 {
		t.Errorf("connection %d, %v", conn, err)
	}
	if got := await(t, through); got.f != flows[TCP] || got.b != "by TCP" {
		t.Errorf("through the successor: %+v, want it for %+v", got, flows[TCP])
	}
	if conn, err := next.Send(flows[TCP], []byte("of the new")); err != nil || conn != flows[TCP].Conn {
		t.Errorf("connection %d, %v", conn, err)
	}
	expect(t, c, "of the new")
	write(t, c, message(3))
	if got := await(t, nr.got); got.from != flows[TCP] {
		t.Errorf("from %+v, want %+v", got.from, flows[TCP])
	}
	other := connect(t, next.Addr(1))
	write(t, other, message(4))
	await(t, nr.got)
	_ = c.Close()
	if got := await(t, nr.closed); got.conn != flows[TCP].Conn {
		t.Errorf("closed %+v", got)
	}
	none(t, r.got)
	none(t, r.closed)
}

// A connection whose peer does not take what was sent stays where it is, and so does one that ends meanwhile.
func TestSlowConnectionIsNotHandedOver(t *testing.T) {
	s, r := start(t, Options{MaxPending: 8 << 20})
	<-s.Ready()
	c := connect(t, s.Addr(1))
	write(t, c, message(1))
	flow := await(t, r.got).from
	big := make([]byte, 1<<20)
	for range 7 {
		if _, err := s.Send(flow, big); err != nil {
			t.Fatal(err)
		}
	}
	next, nr := takeOver(t, s, successor(t, s), nil)
	if n := len(next.table.all()); n != 0 {
		t.Errorf("%d connections were handed over", n)
	}
	write(t, c, message(2))
	await(t, r.got)
	none(t, nr.got)
	s.CloseStreams()
	await(t, r.closed)
}

// What is inherited must be what it is to be.
func TestInheritedWrongSocket(t *testing.T) {
	s, _ := start(t, Options{})
	for _, swap := range [][2]Proto{{UDP, TCP}, {TCP, UDP}} {
		o := successor(t, s)
		for i := range o.Listeners {
			if o.Listeners[i].Proto == swap[0] {
				o.Listeners[i].Proto = swap[1]
			}
		}
		o.Handler = newRecorder()
		if _, err := Listen(o); err == nil {
			t.Errorf("a %v socket passes as %v", swap[0], swap[1])
		}
		for _, l := range o.Listeners {
			for _, f := range l.Inherited {
				_ = f.Close()
			}
		}
	}
}

func connectUDP(t *testing.T, to interface{ String() string }) *net.UDPConn {
	t.Helper()
	addr, err := net.ResolveUDPAddr("udp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.DialUDP("udp", nil, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}
