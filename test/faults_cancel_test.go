package test

import (
	"context"
	"errors"
	"testing"
	"time"

	"mrcproxy/internal/clocktest"
	"mrcproxy/internal/sim"
)

// cancelled places n sessions one after the other, the i-th cancelled after wait(i), and gives what became of them all.
func cancelled(t *testing.T, c *sim.Client, n int, wait func(i int) time.Duration) []outcome {
	t.Helper()
	all := make(chan outcome, n)
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for i := range n {
		<-pace.C
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), wait(i))
			defer cancel()
			all <- session(ctx, c, time.Hour)
		}()
	}
	h := &held{t: t, n: n, all: all}
	return h.wait(n)
}

// A client that gives up while the server works on the INVITE gets 487, and the server is told.
func TestCancel(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			s := l.simServer(21, sim.ServerOptions{AnswerAfter: 10 * time.Second})
			d := l.start(patient(l.cluster(l.group("a", l.uri(21, network)))))
			d.await("the server is up", 5*time.Second, func() bool { return d.up() == 1 })
			// After the 100 that comes when 150 ms have passed.
			all := cancelled(t, l.simClient(sim.ClientOptions{Network: network}), 60, func(int) time.Duration { return 400 * time.Millisecond })
			for _, o := range all {
				if o.Code != 487 || !errors.Is(o.Err, context.DeadlineExceeded) {
					t.Errorf("cancelled session: %+v", o.Result)
				}
			}
			t.Logf("INVITE to 487, of which 400 ms until the CANCEL: %v", setups(all))
			if st := s.Stats(); st.Cancels != 60 || st.Invites != 60 || st.Sessions != 0 {
				t.Errorf("the server: %+v", st)
			}
			d.freed()
		})
	}
}

// A CANCEL that crosses the 200: whichever wins, the client and the server agree and nothing is left behind.
func TestCancelCrossesAnswer(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			s := l.simServer(21, sim.ServerOptions{AnswerAfter: 300 * time.Millisecond})
			d := l.start(patient(l.cluster(l.group("a", l.uri(21, network)))))
			d.await("the server is up", 5*time.Second, func() bool { return d.up() == 1 })
			c := l.simClient(sim.ClientOptions{Network: network})
			all := cancelled(t, c, 300, func(i int) time.Duration { return 285*time.Millisecond + time.Duration(i%120)*250*time.Microsecond })
			by := map[int]int{}
			for _, o := range all {
				if by[o.Code]++; o.Code != 487 && (o.Code != 200 || o.ByeCode != 200) {
					t.Errorf("cancelled session: %+v", o.Result)
				}
			}
			t.Logf("%d ended with 487, %d were answered 200 and ended with BYE", by[487], by[200])
			await(t, "no session is left at the server", 5*time.Second, func() bool { return s.Sessions() == 0 })
			if st := s.Stats(); st.Cancels != by[487] || st.Byes != by[200] || st.UnknownByes != 0 {
				t.Errorf("the server: %+v", st)
			}
			if n := c.Orphans(); n != 0 {
				t.Errorf("%d answers came after the 487", n)
			}
			d.freed()
		})
	}
}

// A client that gives up while the server is silent: it may not be cancelled there (RFC 3261 9.1), and what it answers later
// is ended by the daemon.
func TestCancelOfSilence(t *testing.T) {
	l := newLab(t)
	late := l.simServer(21, sim.ServerOptions{AnswerAfter: 1500 * time.Millisecond, NoTrying: true})
	other := l.simServer(22, sim.ServerOptions{})
	d := l.start(l.cluster(l.group("a", l.uri(21, "udp")), l.group("b", l.uri(22, "udp"))))
	d.await("the servers are up", 5*time.Second, func() bool { return d.up() == 2 })
	clock := clocktest.Start(t)
	all := cancelled(t, l.simClient(sim.ClientOptions{}), 2, func(int) time.Duration { return 300 * time.Millisecond })
	for _, o := range all {
		if o.Code != 487 || o.Setup > 700*time.Millisecond+clock.Lost() {
			t.Errorf("cancelled session: %+v", o.Result)
		}
	}
	await(t, "the late sessions are ended", 5*time.Second, func() bool { st := late.Stats(); return st.Byes == 2 && st.Acks == 2 && st.Sessions == 0 })
	if n := other.Stats().Invites; n != 0 {
		t.Errorf("%d INVITEs at the other server after the CANCEL", n)
	}
	d.freed()
}

// A server that answers when another has the session already: its own is ended, and the client knows nothing of it.
func TestLateAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, network string
		late          sim.ServerOptions
		cancels       bool
	}{
		{"silent until then", "udp", sim.ServerOptions{AnswerAfter: 900 * time.Millisecond, NoTrying: true}, false},
		{"silent until then", "tcp", sim.ServerOptions{AnswerAfter: 900 * time.Millisecond, NoTrying: true}, false},
		{"after 100", "udp", sim.ServerOptions{AnswerAfter: 1500 * time.Millisecond}, true},
		{"after 100", "tcp", sim.ServerOptions{AnswerAfter: 1500 * time.Millisecond}, true},
	} {
		t.Run(c.name+" "+c.network, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			late, good := l.simServer(21, c.late), l.simServer(22, sim.ServerOptions{})
			d := l.start(l.cluster(l.group("a", l.uri(21, c.network)), l.group("b", l.uri(22, c.network))))
			d.await("the servers are up", 5*time.Second, func() bool { return d.up() == 2 })
			client := l.simClient(sim.ClientOptions{Network: c.network})
			h := l.hold(client, 40, good)
			var st sim.ServerStats
			await(t, "nothing is left at the late server", 5*time.Second, func() bool {
				st = late.Stats()
				return st.Invites == 40 && st.Answered+st.Cancels == 40 && st.Sessions == 0
			})
			t.Logf("the late server: %+v", st)
			if c.cancels && st.Cancels != 40 || !c.cancels && (st.Acks != 40 || st.Byes != 40) {
				t.Errorf("the late server: %+v", st)
			}
			if n := sum(d.metrics(), "mrcproxy_late_answers_total"); int(n) != st.Byes {
				t.Errorf("%v late answers are counted, the server had %d BYEs", n, st.Byes)
			}
			if n := good.Sessions(); n != 40 {
				t.Errorf("%d sessions are held, want 40", n)
			}
			all := h.end()
			mustSucceed(t, all)
			t.Logf("setup %v", setups(all))
			if n := client.Orphans(); n != 0 {
				t.Errorf("the client had %d answers too many", n)
			}
			d.freed()
		})
	}
}
