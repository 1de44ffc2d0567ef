package transaction

import (
	"reflect"
	"testing"
)

// firing is one call of Timer and what came of it.
type firing struct {
	at  Time
	act Action
}

// runTimers calls Timer whenever it is due until none is, or the time is up.
func runTimers(due func() Time, timer func(Time) Action, until Time) (all []firing) {
	for now := due(); now != Never && now <= until; now = due() {
		all = append(all, firing{now, timer(now)})
	}
	return all
}

func checkFirings(t *testing.T, got, want []firing) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %v\nwant %v", got, want)
	}
}

func resends(act Action, at ...Time) (all []firing) {
	for _, a := range at {
		all = append(all, firing{a, act})
	}
	return all
}

// TestClientSchedules has the retransmissions of RFC 3261 17.1.1.2 (timer A: doubles without a bound), 17.1.2.2 (timer E: up to
// T2) and 9.1 (the CANCEL is a non-INVITE of its own).
func TestClientSchedules(t *testing.T) {
	for _, c := range []struct {
		name  string
		start func(c *Client)
		until Time
		want  []firing
	}{
		{"timer A", func(c *Client) { c.Start(true, false, T1, Lifetime, 0) }, Lifetime,
			append(resends(Resend, 500, 1500, 3500, 7500, 15500, 31500), firing{32000, TimedOut})},
		{"timer A, short: two within the first half second", func(c *Client) { c.Start(true, false, 100, 500, 0) }, 500,
			append(resends(Resend, 100, 300), firing{500, TimedOut})},
		{"timer A goes on behind the timeout until the user says", func(c *Client) { c.Start(true, false, 100, 500, 0) }, 4000,
			append(append(resends(Resend, 100, 300), firing{500, TimedOut}), resends(Resend, 700, 1500, 3100)...)},
		{"timer A and the timeout at once", func(c *Client) { c.Start(true, false, 100, 300, 0) }, 300,
			[]firing{{100, Resend}, {300, Resend | TimedOut}}},
		{"timer A ends with a provisional", func(c *Client) { c.Start(true, false, 100, 5000, 0); c.Response(100, 50) }, Lifetime, []firing{{5000, TimedOut}}},
		{"timer D", func(c *Client) { c.Start(true, false, 100, 5000, 0); c.Response(503, 50) }, Never - 1, []firing{{50 + Lifetime, Terminate}}},
		{"timer D, reliable", func(c *Client) { c.Start(true, true, 100, 5000, 0); c.Response(503, 50) }, Never - 1, []firing{{50, Terminate}}},
		{"timer M", func(c *Client) { c.Start(true, true, 100, 5000, 0); c.Response(200, 50); c.Response(200, 9000) }, Never - 1, []firing{{50 + Lifetime, Terminate}}},
		{"INVITE over TCP", func(c *Client) { c.Start(true, true, 100, 5000, 0) }, Never - 1, []firing{{5000, TimedOut}}},

		{"timer E", func(c *Client) { c.Start(false, false, T1, Lifetime, 0) }, Lifetime,
			append(resends(Resend, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500), firing{32000, TimedOut})},
		{"timer E from a provisional on", func(c *Client) { c.Start(false, false, T1, 10000, 0); c.Response(100, 100); c.Response(100, 200) }, 10000,
			append(resends(Resend, 500, 4500, 8500), firing{10000, TimedOut})},
		{"timer K", func(c *Client) { c.Start(false, false, T1, 9000, 0); c.Response(200, 100) }, Never - 1, []firing{{5100, Terminate}}},
		{"timer K, reliable", func(c *Client) { c.Start(false, true, T1, 9000, 0); c.Response(200, 100) }, Never - 1, []firing{{100, Terminate}}},
		{"non-INVITE over TCP", func(c *Client) { c.Start(false, true, T1, 9000, 0); c.Response(100, 100) }, Never - 1, []firing{{9000, TimedOut}}},

		{"again over TCP, once", func(c *Client) { c.Start(false, true, T1, 9000, 0); c.SendAgain(2000) }, Never - 1, []firing{{2000, Resend}, {9000, TimedOut}}},
		{"again behind the timeout, until the end", func(c *Client) {
			c.Start(false, true, T1, 2000, 0)
			c.GoOn(Lifetime)
			c.SendAgain(30000)
			c.SendAgain(31000)
		}, Never - 1, []firing{{31000, Resend}, {Lifetime, Terminate}}},
		{"not again once it is answered", func(c *Client) {
			c.Start(false, true, T1, 9000, 0)
			c.SendAgain(2000)
			c.Response(200, 100)
			c.SendAgain(2000)
		}, Never - 1, []firing{{100, Terminate}}},

		{"CANCEL after a provisional", func(c *Client) { c.Start(true, false, 100, 12000, 0); c.Response(180, 50); c.Cancel(1000) }, 12000,
			append(resends(SendCancel, 1100, 1300, 1700, 2500, 4100, 7300, 11300), firing{12000, TimedOut})},
		{"CANCEL before a provisional waits for it", func(c *Client) {
			c.Start(true, false, 100, 900, 0)
			c.Cancel(10)
			c.Response(180, 50)
			c.Response(183, 60)
		}, 900,
			append(resends(SendCancel, 150, 350, 750), firing{900, TimedOut})},
		{"CANCEL that is never let out: the INVITE is resent", func(c *Client) { c.Start(true, false, 100, 900, 0); c.Cancel(10) }, 900,
			append(resends(Resend, 100, 300, 700), firing{900, TimedOut})},
		{"CANCEL answered", func(c *Client) {
			c.Start(true, false, 100, 900, 0)
			c.Response(180, 50)
			c.Cancel(60)
			c.CancelResponse()
		}, 900, []firing{{900, TimedOut}}},
		{"CANCEL over TCP", func(c *Client) { c.Start(true, true, 100, 900, 0); c.Response(180, 50); c.Cancel(60) }, 900, []firing{{900, TimedOut}}},

		{"abandoned in silence", func(c *Client) { c.Start(true, false, 100, 500, 0); c.Abandon(500) }, Never - 1, []firing{{500 + Lifetime, Terminate}}},
		{"abandoned, then a provisional", func(c *Client) { c.Start(true, false, 100, 500, 0); c.Abandon(500); c.Response(100, 1000) }, 5000,
			resends(SendCancel, 1100, 1300, 1700, 2500, 4100)},
		{"abandoned, CANCEL answered, no final response", func(c *Client) {
			c.Start(true, false, 100, 500, 0)
			c.Abandon(500)
			c.Response(100, 1000)
			c.CancelResponse()
		}, Never - 1, []firing{{500 + Lifetime, Terminate}}},
		{"abandoned, then a 2xx", func(c *Client) { c.Start(true, false, 100, 500, 0); c.Abandon(500); c.Response(200, 1000) }, Never - 1, []firing{{1000 + Lifetime, Terminate}}},
		{"abandoned non-INVITE, then a provisional", func(c *Client) { c.Start(false, false, 100, 500, 0); c.Abandon(500); c.Response(100, 1000) }, Never - 1,
			[]firing{{500 + Lifetime, Terminate}}},
		{"lost", func(c *Client) { c.Start(true, false, 100, 500, 0); c.Lose(50); c.Lose(70) }, Never - 1, []firing{{50 + Lifetime, Terminate}}},
		{"lost, then a provisional", func(c *Client) { c.Start(true, false, 100, 500, 0); c.Lose(50); c.Response(100, 1000) }, 2000,
			resends(SendCancel, 1100, 1300, 1700)},
		{"failed", func(c *Client) { c.Start(true, false, 100, 500, 0); c.Fail() }, Never - 1, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var m Client
			c.start(&m)
			checkFirings(t, runTimers(m.Due, m.Timer, c.until), c.want)
		})
	}
}

// TestClientLateTimer: a process that was held up resends once, not once for each interval missed.
func TestClientLateTimer(t *testing.T) {
	var c Client
	c.Start(true, false, 100, 60000, 0)
	if act := c.Timer(10000); act != Resend || c.Due() != 10200 {
		t.Errorf("action %06b, due %d", act, c.Due())
	}
	if act := c.Timer(10000); act != 0 {
		t.Errorf("action %06b before it is due", act)
	}
}

// TestClientTimeoutIsTheUsers: a user that finds no other server may wait on.
func TestClientTimeoutIsTheUsers(t *testing.T) {
	var c Client
	c.Start(true, true, 100, 500, 0)
	if act := c.Timer(500); act != TimedOut || c.State != Calling || c.Due() != Never {
		t.Fatalf("action %06b, %v, due %d", act, c.State, c.Due())
	}
	c.TimeoutAt = 4000
	if act := c.Timer(4000); c.Due() != Never || act != TimedOut {
		t.Errorf("action %06b, due %d", act, c.Due())
	}
	if act := c.Response(200, 4001); act != Forward || c.State != ClientAccepted {
		t.Errorf("a 2xx behind the timeout: action %06b, %v", act, c.State)
	}
}

// TestServerSchedules has timers G (up to T2), H, I, J (RFC 3261 17.2) and L (RFC 6026 7.1).
func TestServerSchedules(t *testing.T) {
	for _, c := range []struct {
		name  string
		start func(s *Server)
		want  []firing
	}{
		{"INVITE, waiting for the user", func(s *Server) { s.Start(true, false); s.Respond(100, 0) }, nil},
		{"timers G and H", func(s *Server) { s.Start(true, false); s.Respond(486, 0) },
			append(resends(Resend, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500), firing{32000, TimedOut | Terminate})},
		{"timer H, reliable", func(s *Server) { s.Start(true, true); s.Respond(486, 0) }, []firing{{32000, TimedOut | Terminate}}},
		{"timer I", func(s *Server) { s.Start(true, false); s.Respond(486, 0); s.Ack(600) }, []firing{{600 + T4, Terminate}}},
		{"timer I, reliable", func(s *Server) { s.Start(true, true); s.Respond(486, 0); s.Ack(600) }, []firing{{600, Terminate}}},
		{"timer I is not put off by another ACK", func(s *Server) { s.Start(true, false); s.Respond(486, 0); s.Ack(600); s.Ack(3000) }, []firing{{600 + T4, Terminate}}},
		{"timer L", func(s *Server) { s.Start(true, false); s.Respond(200, 0); s.Respond(200, 500) }, []firing{{Lifetime, Terminate}}},
		{"timer L, reliable", func(s *Server) { s.Start(true, true); s.Respond(200, 0) }, []firing{{Lifetime, Terminate}}},
		{"timer J", func(s *Server) { s.Start(false, false); s.Respond(200, 0) }, []firing{{Lifetime, Terminate}}},
		{"timer J, reliable", func(s *Server) { s.Start(false, true); s.Respond(200, 0) }, []firing{{0, Terminate}}},
		{"none", func(s *Server) {}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var m Server
			c.start(&m)
			checkFirings(t, runTimers(m.Due, m.Timer, Never-1), c.want)
		})
	}
}
