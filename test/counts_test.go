package test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mrcproxy/internal/clocktest"
	"mrcproxy/internal/sim"
)

// counted checks the counts that the daemon has of the crossing's servers, at once.
func (x *crossing) counted(each int) {
	x.t.Helper()
	m := x.d.metrics()
	a, b, all := sum(m, "mrcproxy_backend_sessions", x.uri(21, "udp")), sum(m, "mrcproxy_backend_sessions", x.uri(22, "tcp")), sum(m, "mrcproxy_sessions")
	if a != float64(each) || b != float64(each) || all != float64(2*each) {
		x.t.Errorf("%v and %v sessions at the servers, %v in all, want %d each", a, b, all, each)
	}
}

// written waits for what has been said to be on disk, as the daemon promises it after a second.
func (l *lab) written() {
	for clock := clocktest.Start(l.t); clock.Time() < time.Second; {
		<-time.After(time.Second - clock.Time())
	}
}

// Counts survive kill -9: they are right as soon as the daemon answers, and all of them go to 0.
func TestCountsSurviveKill(t *testing.T) {
	t.Parallel()
	x := newCrossing(t)
	x.hangUp()
	x.written()
	for range 2 {
		x.d.kill(syscall.SIGKILL)
		x.d.run()
		x.counted(80)
	}
	x.d.await("the log says so", 3*time.Second, func() bool {
		return x.d.logged(`"sessions restored"`, `"sessions":160`, `"at_removed_backends":0`, `"skipped":0`)
	})
	x.end()
	if m := x.d.metrics(); sum(m, "mrcproxy_sessions_ended_total", "bye_client") != 160 || sum(m, "mrcproxy_sessions_ended_total") != 160 || sum(m, "mrcproxy_journal_up") != 1 {
		t.Errorf("ended %v", nonZero(m, "mrcproxy_sessions_ended_total"))
	}
	x.written()
	x.d.kill(syscall.SIGKILL)
	x.d.run()
	x.counted(0)
}

// A stop loses nothing, not even what was said in its last half second.
func TestCountsSurviveStop(t *testing.T) {
	t.Parallel()
	x := newCrossing(t)
	x.d.kill(syscall.SIGTERM)
	x.d.run()
	x.counted(100)
	x.end()
}

// Without the journal the BYEs are served all the same, and counted; a session that is refreshed is counted again.
func TestCountsWithoutJournal(t *testing.T) {
	l := newLab(t)
	s := l.simServer(21, sim.ServerOptions{})
	d := l.start("sessions: {journal: false}\n" + patient(l.cluster(l.group("a", l.uri(21, "udp")))))
	p := l.dial("udp", 5)
	refreshed, ended := p.establish(rawRequest{}), p.establish(rawRequest{})
	d.kill(syscall.SIGKILL)
	d.run()
	p.send(refreshed.request("UPDATE"))
	if a := p.final("UPDATE"); a.code != 200 {
		t.Fatal(a.head)
	}
	d.await("the session is learned", time.Second, func() bool { return sum(d.metrics(), "mrcproxy_backend_sessions") == 1 })
	if l := d.listed(); len(l) != 1 || !l[0].Learned || l[0].Endable {
		t.Errorf("listed: %+v", l)
	} else if err := d.api().Terminate(t.Context(), l[0].ID); err == nil || !strings.Contains(err.Error(), "cannot be ended") {
		t.Errorf("terminate: %v", err)
	}
	ended.bye()
	refreshed.bye()
	d.freed()
	if m := d.metrics(); sum(m, "mrcproxy_sessions_ended_total", "bye_client") != 1 || sum(m, "mrcproxy_sessions_ended_total", "bye_unknown") != 1 || s.Sessions() != 0 {
		t.Errorf("ended %v", nonZero(m, "mrcproxy_sessions_ended_total"))
	}
}

// A lost BYE frees its place when the session's timer has run out, while the daemon is there and while it is not.
func TestLostBye(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.simServer(21, sim.ServerOptions{SessionExpires: 3 * time.Second})
	d := l.start(l.head() + "otherwise: {cluster: asr}\nclusters: [{name: asr, groups: [{backends: [{uri: \"" + l.uri(21, "udp") + "\", capacity: 2}]}]}]\n")
	p := l.dial("udp", 5)
	lost := p.establish(rawRequest{lines: "Supported: timer\r\n"}) // its client says nothing more
	kept := p.establish(rawRequest{})                              // and this one has no timer
	began := clocktest.Start(t)
	if a := p.ask(rawRequest{}); a.code != 480 {
		t.Fatalf("a third session: %s", a.head)
	}
	d.await("the place of the lost one is free", 10*time.Second, func() bool { return sum(d.metrics(), "mrcproxy_backend_sessions") == 1 })
	if took := began.Time(); took+began.Lost() < 3*time.Second || took > 7*time.Second {
		t.Errorf("free after %v, with a Session-Expires of 3 s", took)
	}
	d.await("the log is written", 3*time.Second, func() bool { return d.sessions()[lost.callID].EndedBy == "expired" })
	again := p.establish(rawRequest{lines: "Supported: timer\r\n"})
	l.written()
	d.kill(syscall.SIGKILL)
	<-time.After(4 * time.Second) // as long as that session is good for
	d.run()
	if n := sum(d.metrics(), "mrcproxy_backend_sessions"); n != 1 {
		t.Errorf("%v sessions, want the one without a timer", n)
	}
	d.await("the log is written", 3*time.Second, func() bool { return d.sessions()[again.callID].EndedBy == "expired" })
	kept.bye()
	d.freed()
}

// A journal that is damaged, or that another process has, does not stop the start.
func TestDamagedJournal(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.simServer(21, sim.ServerOptions{})
	file := filepath.Join(l.dir, "sessions.db")
	if err := os.WriteFile(file, bytes.Repeat([]byte("not a journal\n"), 5000), 0o600); err != nil {
		t.Fatal(err)
	}
	d := l.start(patient(l.cluster(l.group("a", l.uri(21, "udp")))))
	p := l.dial("udp", 5)
	s := p.establish(rawRequest{})
	l.written()
	if _, err := os.Stat(file + ".damaged"); err != nil || sum(d.metrics(), "mrcproxy_journal_up") != 1 {
		t.Errorf("set aside: %v", err)
	}
	d.await("the log says so", 3*time.Second, func() bool { return d.logged("the journal is damaged") })
	d.kill(syscall.SIGKILL)
	d.run()
	if n := sum(d.metrics(), "mrcproxy_sessions"); n != 1 {
		t.Errorf("%v sessions, want 1", n)
	}
	s.bye()
	d.freed()
}

// A server that dies: keep, the default, counts its sessions until their BYEs; bye ends them, and their clients learn of it
// at once, over the connection or the socket that their INVITE came from.
func TestBackendDown(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"keep", "release", "bye"} {
		for _, network := range []string{"udp", "tcp"} {
			t.Run(what+" "+network, func(t *testing.T) {
				t.Parallel()
				l := newLab(t)
				s := l.simServer(21, sim.ServerOptions{})
				d := l.start("sessions: {on_backend_down: " + what + "}\nhealth: {interval: 200ms, timeout: 200ms, fall: 2}\n" +
					strings.Replace(patient(l.cluster(l.group("a", l.uri(21, network)))), "health:", "", 1))
				h := l.hold(l.simClient(sim.ClientOptions{Network: network}), 20, s)
				d.await("the server is up", 5*time.Second, func() bool { return d.up() == 1 })
				s.SetFault(sim.Silent)
				d.await("the server is down", 10*time.Second, func() bool { return d.up() == 0 })
				switch what {
				case "bye":
					for _, o := range h.wait(20) {
						if !o.ServerBye || o.Err != nil {
							t.Errorf("session ended with %+v", o.Result)
						}
					}
				case "release":
					d.freed()
				case "keep":
					<-time.After(time.Second)
					if n := sum(d.metrics(), "mrcproxy_backend_sessions"); n != 20 {
						t.Errorf("%v sessions, want 20", n)
					}
				}
				s.SetFault(sim.None)
				switch {
				case what != "bye":
					h.end()
				case network == "udp": // the server is told, too, now that it is back
					await(t, "the server has no session", 10*time.Second, func() bool { return s.Sessions() == 0 })
				}
				d.freed()
				want := map[string]string{"keep": "bye_client", "release": "backend_down", "bye": "backend_down"}[what]
				if m := d.metrics(); sum(m, "mrcproxy_sessions_ended_total", `"`+want+`"`) != 20 {
					t.Errorf("ended %v", nonZero(m, "mrcproxy_sessions_ended_total"))
				}
			})
		}
	}
}
