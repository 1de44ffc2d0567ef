package test

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

// TestDeepProbe: the daemon finds an engine that is dead behind OPTIONS answered with 200, tells Prometheus at /probe, and
// leaves no session at either server when it stops in the middle of its probes; mrcproxy probe says the same.
func TestDeepProbe(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	dead, well := l.simServer(21, sim.ServerOptions{MRCP: true}), l.simServer(22, sim.ServerOptions{MRCP: true})
	dead.SetFault(sim.EngineDead)
	d := l.start(l.head() + fmt.Sprintf(`
otherwise: {cluster: asr}
health: {interval: 200ms, deep: {method: get-params, interval: 1s, timeout: 1s}}
clusters:
  - {name: asr, groups: [{backends: [{uri: "sip:%s;transport=tcp"}, {uri: "sip:%s"}]}]}
`, dead.Addr(), well.Addr()))
	d.await("the dead one is down, the other up", 15*time.Second, func() bool {
		m := d.metrics()
		return sum(m, "mrcproxy_backend_state", `state="down"`, dead.Addr().String()) == 1 && d.up() == 1
	})
	c := l.simClient(sim.ClientOptions{})
	for range 10 {
		if r := c.Session(t.Context(), 0); r.Code != 200 || r.Server != well.Addr().String() {
			t.Errorf("a call: %+v", r)
		}
	}
	for server, want := range map[*sim.Server]string{dead: "probe_success 0", well: "probe_success 1"} {
		target := "sip:" + server.Addr().String()
		if server == dead {
			target += "%3Btransport=tcp"
		}
		if code, text := d.get("/probe?module=deep&target=" + target); code != 200 || !strings.Contains(text, want) {
			t.Errorf("/probe: %d\n%s", code, text)
		}
		out, err := exec.Command(binary, "probe", "--deep", "sip:"+server.Addr().String()).CombinedOutput()
		if (err == nil) != (server == well) || !strings.Contains(string(out), "  method ") {
			t.Errorf("mrcproxy probe: %v\n%s", err, out)
		}
	}
	if code, _ := d.get("/probe?module=deep&target=sip:127.0.0.1:22"); code != 403 {
		t.Errorf("/probe of a stranger: %d", code)
	}
	dead.SetFault(sim.EngineHangs) // a probe of it is under way most of the time
	before := dead.Stats().Methods
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := dead.Await(ctx, func(s sim.ServerStats) bool { return s.Methods > before && s.Sessions > 0 }); err != nil {
		t.Error(err)
	}
	d.kill(syscall.SIGTERM) // which also writes out the log
	if !d.logged(`"backend down"`, "engine: 2 deep probes in a row failed: GET-PARAMS answered 407") || !d.logged(`"deep probe"`, `"result":"method_failed"`, `"method_ms"`) {
		t.Error("the log does not say why")
	}
	for _, s := range []*sim.Server{dead, well} {
		if err := s.Await(ctx, func(s sim.ServerStats) bool { return s.Sessions == 0 && s.Channels == 0 }); err != nil {
			t.Error(err)
		}
	}
}
