package sim

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestSession(t *testing.T) {
	bothNetworks(t, func(t *testing.T, network string) {
		for _, contact := range []bool{false, true} {
			s := startServer(t, ServerOptions{Resource: "speechrecog"})
			c := newClient(t, ClientOptions{Proxy: s.Addr(), Network: network, Contact: contact})
			r := c.Session(testContext(t), 0)
			if r.Err != nil || r.Code != 200 || r.ByeCode != 200 || r.ServerBye || r.Retransmits != 0 {
				t.Errorf("contact %v: %+v", contact, r)
			}
			if r.Server != s.Addr().String() || !strings.HasSuffix(r.Channel, "@speechrecog") || r.CallID == "" {
				t.Errorf("answered by %q on channel %q, Call-ID %q", r.Server, r.Channel, r.CallID)
			}
			want := ServerStats{Invites: 1, Answered: 1, Acks: 1, Byes: 1}
			if got := s.Stats(); got != want {
				t.Errorf("server counted %+v, want %+v", got, want)
			}
		}
	})
}

func TestSessionIPv6(t *testing.T) {
	s, err := StartServer(ServerOptions{Addr: netip.MustParseAddrPort("[::1]:0")})
	if err != nil {
		t.Skip("no IPv6 loopback: ", err)
	}
	t.Cleanup(s.Stop)
	bothNetworks(t, func(t *testing.T, network string) {
		c := newClient(t, ClientOptions{Proxy: s.Addr(), Network: network})
		if r := c.Session(testContext(t), 0); r.Code != 200 || r.ByeCode != 200 || r.Server != s.Addr().String() {
			t.Errorf("%+v", r)
		}
	})
}

func TestManySessionsFromOneSocket(t *testing.T) {
	bothNetworks(t, func(t *testing.T, network string) {
		const n = 100
		s := startServer(t, ServerOptions{AnswerAfter: time.Millisecond})
		c := newClient(t, ClientOptions{Proxy: s.Addr(), Network: network})
		ctx, end := context.WithCancel(testContext(t))
		defer end()
		var results []<-chan Result
		for range n {
			results = append(results, start(ctx, c, time.Hour))
		}
		await(t, s, func(st ServerStats) bool { return st.Acks == n })
		if s.Sessions() != n {
			t.Errorf("%d sessions, want %d", s.Sessions(), n)
		}
		end() // ends the hold, with BYE
		for _, r := range results {
			if r := <-r; r.Code != 200 || r.ByeCode != 200 || r.Err != nil {
				t.Errorf("%+v", r)
			}
		}
		if s.Sessions() != 0 || c.Orphans() != 0 {
			t.Errorf("%d sessions and %d orphans left", s.Sessions(), c.Orphans())
		}
	})
}

func TestCapacity(t *testing.T) {
	bothNetworks(t, func(t *testing.T, network string) {
		s := startServer(t, ServerOptions{Capacity: 1})
		c := newClient(t, ClientOptions{Proxy: s.Addr(), Network: network})
		ctx, end := context.WithCancel(testContext(t))
		defer end()
		first := start(ctx, c, time.Hour)
		await(t, s, func(st ServerStats) bool { return st.Sessions == 1 })
		if r := c.Session(testContext(t), 0); r.Code != 406 || r.Err != nil {
			t.Errorf("above capacity: %+v, want 406", r)
		}
		end()
		<-first
		if r := c.Session(testContext(t), 0); r.Code != 200 {
			t.Errorf("after the BYE: %+v, want 200", r)
		}
	})
}

func TestWrongResource(t *testing.T) {
	s := startServer(t, ServerOptions{Resource: "speechsynth"})
	c := newClient(t, ClientOptions{Proxy: s.Addr()})
	if r := c.Session(testContext(t), 0); r.Code != 404 {
		t.Errorf("%+v, want 404", r)
	}
}

// TestExpire is RFC 4028 10: a server that is told to ends a session that nobody refreshes, and only that.
func TestExpire(t *testing.T) {
	bothNetworks(t, func(t *testing.T, network string) {
		t.Parallel()
		s := startServer(t, ServerOptions{Expire: true, SessionExpires: 3 * time.Second})
		p := newPeer(t)
		var dialogs []*message
		for _, id := range []string{"forgotten", "kept", "without a timer"} {
			m := p.invite(network, s, id)
			if id != "without a timer" {
				m.add("Supported", "timer")
			}
			p.send(network, s.Addr(), m)
			dialogs = append(dialogs, p.next(code(200)).m)
			p.ack(network, s, dialogs[len(dialogs)-1])
		}
		began := time.Now()
		for n := range 3 { // at 1, 2 and 3 s
			<-time.After(time.Until(began.Add(time.Duration(n+1) * time.Second)))
			if n == 1 {
				bye := p.next(method("BYE"))
				if id := bye.m.get("Call-ID"); id != "forgotten" {
					t.Errorf("%q is ended", id)
				}
				_ = p.ep.answer(answerFlow(bye.m, bye.f), respond(bye.m, bye.f, 200, newTag()).bytes())
			}
			update := p.inDialog("UPDATE", network, s.Addr(), dialogs[1], n+2)
			update.add("Supported", "timer")
			p.send(network, s.Addr(), update)
			if res := p.next(final).m; res.code != 200 {
				t.Errorf("refresh: %d", res.code)
			}
		}
		if st := s.Stats(); st.Expired != 1 || st.Sessions != 2 || st.HangUps != 1 {
			t.Errorf("server counted %+v", st)
		}
		if bye := p.next(method("BYE")); bye.m.get("Call-ID") != "kept" || time.Since(began) < 5*time.Second {
			t.Errorf("after %v a BYE for %q", time.Since(began), bye.m.get("Call-ID"))
		}
	})
}

func TestServerHangsUp(t *testing.T) {
	bothNetworks(t, func(t *testing.T, network string) {
		s := startServer(t, ServerOptions{})
		c := newClient(t, ClientOptions{Proxy: s.Addr(), Network: network})
		first := start(testContext(t), c, time.Hour)
		await(t, s, func(st ServerStats) bool { return st.Acks == 1 })
		ctx, end := context.WithCancel(testContext(t))
		defer end()
		second := start(ctx, c, time.Hour)
		await(t, s, func(st ServerStats) bool { return st.Acks == 2 })
		s.HangUp(1)
		if r := <-first; !r.ServerBye || r.ByeCode != 0 || r.Err != nil {
			t.Errorf("the older session: %+v, want the server's BYE", r)
		}
		await(t, s, func(st ServerStats) bool { return st.HangUpsDone == 1 })
		end()
		if r := <-second; r.ServerBye || r.ByeCode != 200 {
			t.Errorf("the younger session: %+v, want its own BYE", r)
		}
	})
}

func TestKillRevive(t *testing.T) {
	bothNetworks(t, func(t *testing.T, network string) {
		s := startServer(t, ServerOptions{})
		c := newClient(t, ClientOptions{Proxy: s.Addr(), Network: network, T1: fast})
		ctx, end := context.WithCancel(testContext(t))
		defer end()
		orphaned := start(ctx, c, time.Hour)
		await(t, s, func(st ServerStats) bool { return st.Acks == 1 })
		addr := s.Addr()
		s.Kill()
		s.Kill()
		if s.Sessions() != 0 {
			t.Errorf("%d sessions on a dead server", s.Sessions())
		}
		if r := c.Session(testContext(t), 0); r.Code != 0 || r.Err == nil {
			t.Errorf("session with a dead server: %+v", r)
		}
		if err := s.Revive(); err != nil {
			t.Fatal(err)
		}
		if s.Addr() != addr || s.Revive() == nil {
			t.Errorf("revived on %s, was %s; a second Revive must fail", s.Addr(), addr)
		}
		if r := c.Session(testContext(t), 0); r.Code != 200 || r.ByeCode != 200 {
			t.Errorf("session after Revive: %+v", r)
		}
		end()
		if r := <-orphaned; r.ByeCode != 481 {
			t.Errorf("BYE of a forgotten session: %+v, want 481", r)
		}
	})
}

func TestRefresh(t *testing.T) {
	bothNetworks(t, func(t *testing.T, network string) {
		s := startServer(t, ServerOptions{SessionExpires: time.Second})
		c := newClient(t, ClientOptions{Proxy: s.Addr(), Network: network})
		ctx, end := context.WithCancel(testContext(t))
		defer end()
		session := start(ctx, c, time.Hour)
		await(t, s, func(st ServerStats) bool { return st.Refreshes == 2 })
		end()
		if r := <-session; r.Refreshes < 1 || r.ByeCode != 200 || r.Err != nil {
			t.Errorf("%+v", r)
		}
		if st := s.Stats(); st.Answered != 1 || st.Acks != 1 || st.Sessions != 0 {
			t.Errorf("server counted %+v", st)
		}
	})
}

func TestCloseEndsSessions(t *testing.T) {
	s := startServer(t, ServerOptions{})
	c := newClient(t, ClientOptions{Proxy: s.Addr()})
	session := start(testContext(t), c, time.Hour)
	await(t, s, func(st ServerStats) bool { return st.Acks == 1 })
	if err := errors.Join(c.Close(), c.Close()); err != nil {
		t.Error(err)
	}
	if r := <-session; r.Err == nil {
		t.Errorf("%+v, want an error", r)
	}
	if r := c.Session(testContext(t), 0); r.Err == nil {
		t.Errorf("session of a closed client: %+v", r)
	}
}

func TestFleet(t *testing.T) {
	f, err := StartFleet(3, ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Stop)
	for i, a := range f.Addrs() {
		if want := f.Addrs()[0].Port() + uint16(i); a.Port() != want {
			t.Errorf("server %d on %s, want port %d", i, a, want)
		}
		c := newClient(t, ClientOptions{Proxy: a})
		if r := c.Session(testContext(t), 0); r.Server != a.String() {
			t.Errorf("%+v, want server %s", r, a)
		}
	}
	if f.Sessions() != 0 {
		t.Errorf("%d sessions left", f.Sessions())
	}
	if _, err := StartFleet(1, ServerOptions{Addr: f.Addrs()[0]}); err == nil {
		t.Error("a second fleet on the same port started")
	}
}

func TestOptionsAreChecked(t *testing.T) {
	if _, err := StartServer(ServerOptions{Networks: []string{"sctp"}}); err == nil {
		t.Error("server over sctp started")
	}
	if _, err := StartServer(ServerOptions{Addr: netip.MustParseAddrPort("0.0.0.0:0")}); err == nil {
		t.Error("server on no concrete address started")
	}
	if _, err := NewClient(ClientOptions{Proxy: netip.MustParseAddrPort("127.0.0.1:5060"), Network: "tls"}); err == nil {
		t.Error("client over tls made")
	}
}

func TestDrain(t *testing.T) {
	bothNetworks(t, func(t *testing.T, network string) {
		s := startServer(t, ServerOptions{})
		c := newClient(t, ClientOptions{Proxy: s.Addr(), Network: network})
		held := start(testContext(t), c, time.Hour)
		await(t, s, func(st ServerStats) bool { return st.Acks == 1 })
		s.SetFault(Slow) // the next one is placed while the client drains
		placed := start(testContext(t), c, time.Hour)
		await(t, s, func(st ServerStats) bool { return st.Invites == 2 })
		c.Drain()
		c.Drain()
		if r := <-held; r.Err != nil || r.ByeCode != 200 || r.ByeTook <= 0 {
			t.Errorf("held: %+v", r)
		}
		select {
		case r := <-placed:
			t.Errorf("given up before its answer: %+v", r)
		default:
		}
		s.Kill()
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		<-placed
	})
}
