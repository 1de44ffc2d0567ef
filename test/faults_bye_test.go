package test

import (
	"context"
	"testing"
	"time"

	"mrcproxy/internal/clocktest"
	"mrcproxy/internal/sim"
)

// held is a number of sessions that are held until they are ended.
type held struct {
	t      *testing.T
	n      int
	cancel context.CancelFunc
	all    chan outcome
	ended  time.Time
}

// hold places n sessions at once and returns when the servers have confirmed them all.
func (l *lab) hold(c *sim.Client, n int, servers ...*sim.Server) *held {
	l.t.Helper()
	acks := func() (n int) {
		for _, s := range servers {
			n += s.Stats().Acks
		}
		return n
	}
	before := acks()
	ctx, cancel := context.WithCancel(l.t.Context())
	h := &held{t: l.t, n: n, cancel: cancel, all: make(chan outcome, n)}
	for range n {
		go func() { h.all <- session(ctx, c, time.Hour) }()
	}
	await(l.t, "the sessions are there", 10*time.Second, func() bool { return acks()-before >= n })
	return h
}

// end has the client send all the BYEs, and gives what became of the sessions that were not over yet.
func (h *held) end() []outcome {
	h.t.Helper()
	h.ended = time.Now()
	h.cancel()
	return h.wait(h.n)
}

// wait waits for n of the sessions to end.
func (h *held) wait(n int) []outcome {
	h.t.Helper()
	late := time.After(40 * time.Second)
	var all []outcome
	for range n {
		select {
		case o := <-h.all:
			if !h.ended.IsZero() {
				o.Bye = time.Since(h.ended)
			}
			all = append(all, o)
		case <-late:
			h.t.Fatalf("%d of %d sessions have ended", len(all), n)
		}
	}
	h.n -= n
	return all
}

// freed awaits that the daemon holds nothing any more.
func (d *daemon) freed() {
	d.lab.t.Helper()
	d.await("no session and no lease is left", 5*time.Second, func() bool {
		m := d.metrics()
		return sum(m, "mrcproxy_backend_sessions") == 0 && sum(m, "mrcproxy_sessions") == 0
	})
}

// byeLimit is sessions.bye_timeout, 2 s by default, and some time, to which what a busy machine is late has to be added.
const byeLimit = 2500 * time.Millisecond

// A client's BYE to a server that is gone is answered by the daemon, since the client blocks until it is.
func TestByeUnanswered(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, client, server string
		silent               bool
	}{
		{"killed", "udp", "udp", false},
		{"killed", "tcp", "tcp", false},
		{"silent", "tcp", "udp", true},
		{"silent", "udp", "tcp", true},
	} {
		t.Run(c.name+" "+c.server, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			s := l.simServer(21, sim.ServerOptions{})
			d := l.start(patient(l.cluster(l.group("a", l.uri(21, c.server)))))
			h := l.hold(l.simClient(sim.ClientOptions{Network: c.client}), 40, s)
			if n := sum(d.metrics(), "mrcproxy_backend_sessions"); n != 40 {
				t.Errorf("%v leases, want 40", n)
			}
			if s.SetFault(sim.Silent); !c.silent {
				s.Kill()
			}
			clock := clocktest.Start(t)
			all := h.end()
			bye := spreadOf(all, func(o outcome) time.Duration { return o.Bye })
			t.Logf("BYE %v", bye)
			if bye.p(100) > byeLimit+clock.Lost() {
				t.Errorf("the last BYE was answered after %v", bye.p(100))
			}
			for _, o := range all {
				if o.Err != nil || o.ByeCode != 200 {
					t.Errorf("session ended with %+v", o.Result)
				}
			}
			d.freed()
		})
	}
}

// A server's BYE to a client that is gone is answered, too.
func TestServerByeUnanswered(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			s := l.simServer(21, sim.ServerOptions{})
			d := l.start(patient(l.cluster(l.group("a", l.uri(21, network)))))
			c := l.simClient(sim.ClientOptions{Network: network})
			h := l.hold(c, 40, s)
			_ = c.Close()
			h.wait(40)
			s.HangUp(40)
			start := time.Now()
			await(t, "the server's BYEs are answered", byeLimit, func() bool { return s.Stats().HangUpsDone == 40 })
			t.Logf("after %v", time.Since(start).Round(time.Millisecond))
			d.freed()
		})
	}
}
