package test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"mrcproxy/internal/clocktest"
	"mrcproxy/internal/sim"
)

// crossing is 200 held sessions: of a UDP and a TCP client, at a UDP and a TCP server. No client sends a Contact.
type crossing struct {
	*lab
	d        *daemon
	udp, tcp *sim.Server
	sessions [2]*held // of the UDP and the TCP client
}

func newCrossing(t *testing.T) *crossing {
	t.Helper()
	x := &crossing{lab: newLab(t)}
	x.udp, x.tcp = x.simServer(21, sim.ServerOptions{}), x.simServer(22, sim.ServerOptions{})
	x.d = x.start(frank(patient(x.cluster(x.group("a", x.uri(21, "udp"), x.uri(22, "tcp"))))))
	x.d.await("the servers are up", 5*time.Second, func() bool { return x.d.up() == 2 })
	for i, network := range []string{"udp", "tcp"} {
		x.sessions[i] = x.hold(x.simClient(sim.ClientOptions{Network: network}), 100, x.udp, x.tcp)
	}
	if a, b := x.udp.Sessions(), x.tcp.Sessions(); a != 100 || b != 100 {
		t.Fatalf("%d and %d sessions at the servers, want 100 each", a, b)
	}
	return x
}

// hangUp has both servers end 20 of their sessions, and checks that the clients hear of it.
func (x *crossing) hangUp() {
	x.t.Helper()
	before := x.udp.Stats().HangUpsDone + x.tcp.Stats().HangUpsDone
	x.udp.HangUp(20)
	x.tcp.HangUp(20)
	await(x.t, "the servers' BYEs are answered", 5*time.Second, func() bool {
		return x.udp.Stats().HangUpsDone+x.tcp.Stats().HangUpsDone == before+40
	})
	// The servers end their oldest: those of the UDP client first.
	for n := range 40 {
		var o outcome
		select {
		case o = <-x.sessions[0].all:
			x.sessions[0].n--
		case o = <-x.sessions[1].all:
			x.sessions[1].n--
		case <-time.After(5 * time.Second):
			x.t.Fatalf("%d of 40 clients have heard of the server's BYE", n)
		}
		if !o.ServerBye || o.Err != nil {
			x.t.Errorf("session ended with %+v", o.Result)
		}
	}
}

// end has both clients end what is left, at once.
func (x *crossing) end() {
	x.t.Helper()
	left := x.udp.Sessions() + x.tcp.Sessions()
	before := x.udp.Stats().Byes + x.tcp.Stats().Byes
	x.sessions[1].cancel()
	all := x.sessions[0].end()
	x.sessions[1].ended = x.sessions[0].ended
	all = append(all, x.sessions[1].wait(x.sessions[1].n)...)
	for _, o := range all {
		if o.Err != nil || o.ByeCode != 200 {
			x.t.Errorf("session ended with %+v", o.Result)
		}
	}
	if n := x.udp.Stats().Byes + x.tcp.Stats().Byes - before; n != left || n != len(all) {
		x.t.Errorf("%d BYEs reached their servers, of %d sessions there and %d at the clients", n, left, len(all))
	}
	if a, b := x.udp.Sessions(), x.tcp.Sessions(); a+b != 0 {
		x.t.Errorf("%d and %d sessions are left at the servers", a, b)
	}
	x.t.Logf("BYE %v", spreadOf(all, func(o outcome) time.Duration { return o.Bye }))
	x.d.freed()
}

// Sessions outlive the daemon: what its successor knows of them is in the messages.
func TestSessionsSurviveKill(t *testing.T) {
	x := newCrossing(t)
	x.hangUp()
	x.d.kill(syscall.SIGKILL)
	x.d.run()
	x.hangUp()
	x.hangUp()
	x.d.kill(syscall.SIGKILL)
	x.d.run()
	x.end()
}

// The servers end the TCP client's sessions, without its connection and without a Contact from it, before and after a restart.
func TestServerEndsTCPSessionsAfterRestart(t *testing.T) {
	l := newLab(t)
	s := l.simServer(21, sim.ServerOptions{})
	d := l.start(patient(l.cluster(l.group("a", l.uri(21, "udp")))))
	h := l.hold(l.simClient(sim.ClientOptions{Network: "tcp"}), 60, s)
	for range 2 {
		s.HangUp(30)
		for _, o := range h.wait(30) {
			if !o.ServerBye || o.Err != nil {
				t.Errorf("session ended with %+v", o.Result)
			}
		}
		await(t, "the server's BYEs are answered", 5*time.Second, func() bool { return s.Stats().HangUpsDone%30 == 0 })
		d.kill(syscall.SIGKILL)
		d.run()
	}
	d.freed()
}

// SIGTERM ends the daemon soon and in order, with sessions held, and they survive that too.
func TestSessionsSurviveStop(t *testing.T) {
	x := newCrossing(t)
	clock := clocktest.Start(t)
	x.d.kill(syscall.SIGTERM)
	took := clock.Time()
	if x.d.err != nil {
		t.Errorf("the daemon ended with %v", x.d.err)
	}
	t.Logf("ended after %v", took.Round(time.Millisecond))
	if took > 2*time.Second {
		t.Errorf("the daemon took %v to end", took)
	}
	if !x.d.logged(`"stopped"`) || x.d.logged("DATA RACE") || x.d.logged("panic") {
		t.Error("the log does not end as it should")
	}
	x.d.run()
	x.hangUp()
	x.end()
}

// SIGTERM while INVITEs are under way: those that are answered soon become sessions as ever; a client whose server says no
// more, and that waits for ever since it was sent 100, is given a final response.
func TestStopAnswersWhoWaits(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			soon := l.simServer(21, sim.ServerOptions{AnswerAfter: 500 * time.Millisecond})
			never := l.simServer(22, sim.ServerOptions{})
			d := l.start("drain: {timeout: 1s}\n" + patient(l.cluster(l.group("a", l.uri(21, network), l.uri(22, network)))))
			d.await("the servers are up", 5*time.Second, func() bool { return d.up() == 2 })
			never.SetFault(sim.Slow)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			h := &held{t: t, n: 40, cancel: cancel, all: make(chan outcome, 40)}
			c := l.simClient(sim.ClientOptions{Network: network})
			for range h.n {
				go func() { h.all <- session(ctx, c, time.Hour) }()
			}
			await(t, "the INVITEs are at the servers", 5*time.Second, func() bool { return soon.Stats().Invites == 20 && never.Stats().Invites == 20 })
			<-time.After(200 * time.Millisecond) // 100 goes to the clients when 150 ms have passed
			start := time.Now()
			d.kill(syscall.SIGTERM)
			t.Logf("ended after %v", time.Since(start).Round(time.Millisecond))
			if d.err != nil {
				t.Errorf("the daemon ended with %v", d.err)
			}
			for _, o := range h.wait(20) {
				if o.Code != 480 || o.Err != nil {
					t.Errorf("session at the server that says no more: %+v", o.Result)
				}
			}
			if st := soon.Stats(); st.Acks != 20 || st.Sessions != 20 {
				t.Errorf("the server that answered: %+v", st)
			}
			if st := never.Stats(); st.Cancels != 20 {
				t.Errorf("the server that says no more: %+v", st)
			}
			d.run()
			all := h.end()
			mustSucceed(t, all)
			if n := soon.Stats().Byes; n != 20 {
				t.Errorf("%d BYEs reached the server", n)
			}
		})
	}
}
