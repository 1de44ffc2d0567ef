package test

import (
	"syscall"
	"testing"
	"time"

	"mrcproxy/internal/api"
	"mrcproxy/internal/sim"
)

// api asks the daemon as the command line does.
func (d *daemon) api() *api.Client {
	return &api.Client{Base: "http://" + d.lab.adminAddr(), By: "eve", HTTP: d.lab.web(d.lab.self)}
}

// listed are the daemon's sessions, as its API shows them.
func (d *daemon) listed() []api.Session {
	d.lab.t.Helper()
	var p api.SessionPage
	if err := d.api().Get(d.lab.t.Context(), "sessions", nil, &p); err != nil {
		d.lab.t.Fatal(err)
	}
	return p.Sessions
}

// An operator ends sessions with the configuration's defaults: both sides get their BYE, the place is free, the reason is
// counted. So it is after a restart, of what the journal kept.
func TestTerminate(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			s := l.simServer(21, sim.ServerOptions{})
			d := l.start(patient(l.cluster(l.group("a", l.uri(21, network)))))
			h := l.hold(l.simClient(sim.ClientOptions{Network: network}), 4, s)
			end := func(left int) {
				t.Helper()
				for _, one := range d.listed()[:2] {
					if !one.Endable {
						t.Errorf("not endable: %+v", one)
					}
					if err := d.api().Terminate(t.Context(), one.ID); err != nil {
						t.Fatal(err)
					}
				}
				for _, o := range h.wait(2) {
					if !o.ServerBye || o.Err != nil {
						t.Errorf("the client's session ended with %+v", o.Result)
					}
				}
				await(t, "the server has its BYEs", 5*time.Second, func() bool { return s.Sessions() == left })
				m := d.metrics()
				if n := sum(m, "mrcproxy_backend_sessions"); n != float64(left) || sum(m, "mrcproxy_sessions_ended_total", `"operator"`) != 2 || sum(m, "mrcproxy_sessions_ended_total") != 2 {
					t.Errorf("%v sessions are counted, want %d; ended %v", n, left, nonZero(m, "mrcproxy_sessions_ended_total"))
				}
			}
			end(2)
			l.written()
			d.kill(syscall.SIGKILL)
			d.run()
			end(0)
			d.freed()
		})
	}
}
