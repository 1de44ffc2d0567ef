package sim

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestSilent(t *testing.T) {
	bothNetworks(t, func(t *testing.T, network string) {
		s := startServer(t, ServerOptions{})
		s.SetFault(Silent)
		c := newClient(t, ClientOptions{Proxy: s.Addr(), Network: network, T1: fast})
		r := c.Session(testContext(t), 0)
		if r.Code != 0 || !errors.Is(r.Err, ErrNoAnswer) {
			t.Errorf("%+v, want no answer", r)
		}
		await(t, s, func(st ServerStats) bool { return st.Invites == 1 && st.Retransmits == r.Retransmits })
		if (network == "udp") != (r.Retransmits > 0) {
			t.Errorf("sent again %d times", r.Retransmits)
		}
	})
}

func TestSilentWakesUp(t *testing.T) {
	s := startServer(t, ServerOptions{})
	s.SetFault(Silent)
	c := newClient(t, ClientOptions{Proxy: s.Addr(), T1: 50 * time.Millisecond})
	session := start(testContext(t), c, 0)
	await(t, s, func(st ServerStats) bool { return st.Invites == 1 })
	s.SetFault(None)
	if r := <-session; r.Code != 200 || r.Retransmits == 0 {
		t.Errorf("%+v, want 200 to a repeated INVITE", r)
	}
}

func TestZombie(t *testing.T) {
	bothNetworks(t, func(t *testing.T, network string) {
		s := startServer(t, ServerOptions{})
		s.SetFault(Zombie)
		p := newPeer(t)
		p.send(network, s.Addr(), p.request("OPTIONS", network, s.Addr(), "ping", newBranch()))
		p.next(code(200))
		c := newClient(t, ClientOptions{Proxy: s.Addr(), Network: network, T1: fast})
		if r := c.Session(testContext(t), 0); r.Code != 0 || !errors.Is(r.Err, ErrNoAnswer) {
			t.Errorf("%+v, want no answer", r)
		}
	})
}

// A client that has seen 100 waits for ever; CANCEL is its only way out (RFC 3261 9.1).
func TestSlowIsCancelled(t *testing.T) {
	bothNetworks(t, func(t *testing.T, network string) {
		s := startServer(t, ServerOptions{T1: fast})
		s.SetFault(Slow)
		c := newClient(t, ClientOptions{Proxy: s.Addr(), Network: network})
		ctx, cancel := context.WithCancel(testContext(t))
		defer cancel()
		session := start(ctx, c, 0)
		await(t, s, func(st ServerStats) bool { return st.Invites == 1 })
		cancel()
		if r := <-session; r.Code != 487 || !errors.Is(r.Err, context.Canceled) {
			t.Errorf("%+v, want 487", r)
		}
		if st := s.Stats(); st.Cancels != 1 || st.Sessions != 0 {
			t.Errorf("server counted %+v", st)
		}
	})
}

// Without a provisional no CANCEL may leave: the 200 that comes is ACKed and BYEd.
func TestCancelBeforeProvisional(t *testing.T) {
	bothNetworks(t, func(t *testing.T, network string) {
		p := newPeer(t) // for a server answers by the clock, and here it is to answer after the cancellation
		c := newClient(t, ClientOptions{Proxy: p.ep.addr, Network: network})
		ctx, cancel := context.WithCancel(testContext(t))
		defer cancel()
		session := start(ctx, c, time.Hour)
		in := p.next(method("INVITE"))
		cancel()
		p.ok(in, "<sip:"+p.ep.addr.String()+">")
		for _, name := range []string{"ACK", "BYE"} {
			in = p.next(func(m *message) bool {
				if m.method == "CANCEL" {
					t.Error("a CANCEL came")
				}
				return m.method == name
			})
		}
		p.answer(in, respond(in.m, in.f, 200, "peer"))
		if r := <-session; r.Code != 200 || r.ByeCode != 200 || !errors.Is(r.Err, context.Canceled) {
			t.Errorf("%+v, want 200 and BYE", r)
		}
	})
}

func TestRefuse(t *testing.T) {
	bothNetworks(t, func(t *testing.T, network string) {
		s := startServer(t, ServerOptions{})
		s.SetFault(Refuse(503, 7*time.Second))
		c := newClient(t, ClientOptions{Proxy: s.Addr(), Network: network})
		if r := c.Session(testContext(t), 0); r.Code != 503 || r.Err != nil {
			t.Errorf("%+v, want 503", r)
		}
		p := newPeer(t)
		p.send(network, s.Addr(), p.request("INVITE", network, s.Addr(), "refused", newBranch()))
		if got := p.next(final).m.get("Retry-After"); got != "7" {
			t.Errorf("Retry-After %q, want 7", got)
		}
		p.send(network, s.Addr(), p.request("OPTIONS", network, s.Addr(), "ping", newBranch()))
		p.next(code(200))
		s.SetFault(None)
		if r := c.Session(testContext(t), 0); r.Code != 200 {
			t.Errorf("%+v, want 200", r)
		}
	})
}

func TestOffline(t *testing.T) {
	s := startServer(t, ServerOptions{})
	s.SetFault(Offline)
	p := newPeer(t)
	for _, m := range []string{"INVITE", "OPTIONS"} {
		p.send("udp", s.Addr(), p.request(m, "udp", s.Addr(), m, newBranch()))
		if res := p.next(final).m; res.code != 503 || res.get("Retry-After") != "" {
			t.Errorf("%s answered %d, Retry-After %q", m, res.code, res.get("Retry-After"))
		}
	}
}

func TestFaultString(t *testing.T) {
	for f, want := range map[Fault]string{
		None: "none", Silent: "silent", Zombie: "zombie", Slow: "slow", Offline: "offline",
		Refuse(603, time.Minute): "refuse 603", Fault(77): "Fault(77)",
	} {
		if f.String() != want {
			t.Errorf("%q, want %q", f, want)
		}
	}
}
