package app

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"mrcproxy/balancer"
	"mrcproxy/config"
	"mrcproxy/health"
	"mrcproxy/health/probe"
	"mrcproxy/internal/sim"
)

// speech is a file that a simulated recogniser takes for speech: 400 ms of a loud tone, in mu-law.
func speech(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "speech.ulaw")
	if err := os.WriteFile(path, bytes.Repeat([]byte{0x90, 0x90, 0x90, 0x90, 0x10, 0x10, 0x10, 0x10}, 400), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func startServer(t *testing.T, o sim.ServerOptions) *sim.Server {
	t.Helper()
	o.MRCP = true
	s, err := sim.StartServer(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// empty waits until the server has neither a session nor an MRCP connection.
func empty(t *testing.T, s *sim.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := s.Await(ctx, func(st sim.ServerStats) bool { return st.Sessions == 0 && st.Channels == 0 }); err != nil {
		t.Error(err)
	}
}

// deepHouse is a daemon over simulated servers, probed deeply every second.
type deepHouse struct {
	t    *testing.T
	app  *App
	deep string
}

func newDeepHouse(t *testing.T, deep, backends string) *deepHouse {
	t.Helper()
	h := &deepHouse{t: t, deep: deep}
	dir := t.TempDir()
	var err error
	h.app, err = New(Options{Log: zap.NewNop(), Load: func() (*config.Config, error) {
		return config.Parse("f.yaml", fmt.Appendf(nil, `
data_dir: %s
listen: ["udp://127.0.0.1:0", "tcp://127.0.0.1:0"]
admin: {listen: off, probe_targets: 127.0.0.1}
otherwise: {cluster: asr}
health: {interval: 100ms, jitter: 0.2, fall: 2, hold_for: 0s, deep: {%s}}
clusters:
  - name: asr
    groups: [{backends: [%s]}]
`, dir, h.deep, backends))
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.app.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return h
}

// await polls what the daemon shows.
func (h *deepHouse) await(what string, ok func([]balancer.BackendView) bool) {
	h.t.Helper()
	for end := time.Now().Add(15 * time.Second); !ok(h.app.Backends()); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			h.t.Fatalf("not within 15 s: %s; %+v", what, h.app.Backends())
		}
	}
}

func state(i int, want balancer.State) func([]balancer.BackendView) bool {
	return func(v []balancer.BackendView) bool { return v[i].State == want }
}

// TestDeepTakesDown guards against the engine that is dead behind a SIP stack that answers OPTIONS with 200: the deep probe
// takes its server down, its calls go elsewhere, and it comes back when the engine does. The probes leave nothing behind.
func TestDeepTakesDown(t *testing.T) {
	dead, well := startServer(t, sim.ServerOptions{}), startServer(t, sim.ServerOptions{})
	dead.SetFault(sim.EngineDead)
	h := newDeepHouse(t, "method: get-params, interval: 1s, timeout: 1s, fall: 2, rise: 1",
		fmt.Sprintf(`{uri: "sip:%s;transport=tcp", capacity: 50}, {uri: "sip:%s", capacity: 50}`, dead.Addr(), well.Addr()))
	h.await("the dead one is up by OPTIONS", state(0, balancer.Up))
	h.await("the dead one is down by deep probes", state(0, balancer.Down))
	st, _ := h.app.health.Status(h.app.Backends()[0].ID)
	if !st.EngineDown || st.Reason != "engine: 2 deep probes in a row failed: GET-PARAMS answered 407 method or operation failed" {
		t.Errorf("%+v", st)
	}
	options := dead.Stats().Options
	c, err := sim.NewClient(sim.ClientOptions{Proxy: h.app.SIP(0)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 20 {
		if r := c.Session(t.Context(), 0); r.Code != 200 || r.Server != well.Addr().String() {
			t.Errorf("a call: %+v", r)
		}
	}
	h.await("OPTIONS goes on being answered", func(v []balancer.BackendView) bool {
		return dead.Stats().Options > options+5 && v[0].State == balancer.Down
	})
	dead.SetFault(sim.None)
	h.await("it is back", state(0, balancer.Up))
	h.app.deeps.Apply(nil)
	h.await("no lease is left", func(v []balancer.BackendView) bool { return v[0].Sessions == 0 && v[1].Sessions == 0 })
	for _, s := range []*sim.Server{dead, well} {
		empty(t, s)
	}
	text := scrape(t, h.app)
	for _, want := range []string{
		`mrcproxy_deep_probes_total{backend="sip:` + dead.Addr().String() + `;transport=tcp",cluster="asr",result="method_failed"}`,
		`mrcproxy_deep_probe_up{backend="sip:` + dead.Addr().String() + `;transport=tcp",cluster="asr"} 1`,
		`mrcproxy_deep_probe_duration_seconds_count{backend="sip:` + well.Addr().String() + `",cluster="asr",step="bye"}`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

func scrape(t *testing.T, a *App) string {
	t.Helper()
	w := httptest.NewRecorder()
	a.metrics.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

// TestDeepReports: with action report, and of a server that is full or down, deep probes change nothing.
func TestDeepReports(t *testing.T) {
	dead, full, gone := startServer(t, sim.ServerOptions{}), startServer(t, sim.ServerOptions{}), startServer(t, sim.ServerOptions{})
	dead.SetFault(sim.EngineDead)
	gone.Kill()
	h := newDeepHouse(t, "method: get-params, action: report, interval: 1s, timeout: 1s",
		fmt.Sprintf(`{uri: "sip:%s"}, {uri: "sip:%s", capacity: 0}, {uri: "sip:%s"}`, dead.Addr(), full.Addr(), gone.Addr()))
	h.await("one is dead", state(2, balancer.Down))
	has := func(what, i string) func([]balancer.BackendView) bool {
		return func([]balancer.BackendView) bool { return strings.Contains(scrape(t, h.app), what+i) }
	}
	h.await("a failure is counted", has(`result="method_failed"}`, " 3"))
	h.await("one is full", has(`mrcproxy_deep_probes_skipped_total{backend="sip:`+full.Addr().String()+`",cluster="asr",reason="full"}`, ""))
	h.await("one is down", has(`mrcproxy_deep_probes_skipped_total{backend="sip:`+gone.Addr().String()+`",cluster="asr",reason="down"}`, ""))
	if v := h.app.Backends(); v[0].State != balancer.Up || full.Stats().Invites != 0 {
		t.Errorf("%+v, %+v", v[0], full.Stats())
	}
	h.deep = "method: off"
	if err := h.app.Reload("test"); err != nil {
		t.Fatal(err)
	}
	if text := scrape(t, h.app); strings.Contains(text, "mrcproxy_deep_probe_up") {
		t.Errorf("off, and\n%s", text)
	}
	h.deep = "method: recognize, audio: /does/not/exist.wav"
	if err := h.app.Reload("test"); err == nil || !strings.Contains(err.Error(), "health.deep.audio: read audio: open /does/not/exist.wav") {
		t.Errorf("reload: %v", err)
	}
}

// TestDeepAtOnce: a server that is back, and one that refuses though it has room, is probed deeply at once.
func TestDeepAtOnce(t *testing.T) {
	s := startServer(t, sim.ServerOptions{})
	s.Kill()
	h := newDeepHouse(t, "method: get-params, interval: 24h, timeout: 1s", fmt.Sprintf(`{uri: "sip:%s", capacity: 50}`, s.Addr()))
	h.await("it is down", state(0, balancer.Down))
	if err := s.Revive(); err != nil {
		t.Fatal(err)
	}
	has := func(result string) func([]balancer.BackendView) bool {
		return func([]balancer.BackendView) bool {
			return strings.Contains(scrape(t, h.app), `mrcproxy_deep_probes_total{backend="sip:`+s.Addr().String()+`",cluster="asr",result="`+result+`"} 1`)
		}
	}
	h.await("it is back, and probed deeply", has("ok"))
	s.SetFault(sim.Refuse(406, 0))
	c, err := sim.NewClient(sim.ClientOptions{Proxy: h.app.SIP(0)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 3 {
		c.Session(t.Context(), 0)
	}
	h.await("it is suspect, and probed deeply", has("refused"))
}

// TestEvidence: a server that is full is not sick, one that has nothing and refuses is; what says nothing is none.
func TestEvidence(t *testing.T) {
	for _, c := range []struct {
		failure probe.Failure
		others  bool
		kind    health.EventKind
		ok      bool
	}{
		{probe.OK, false, health.DeepOK, true}, {probe.MethodFailed, true, health.DeepFailed, true}, {probe.Refused, true, 0, false},
		{probe.Refused, false, health.DeepFailed, true}, {probe.Local, false, 0, false}, {probe.Cancelled, false, 0, false},
	} {
		if kind, ok := evidence(probe.Report{Failure: c.failure}, c.others); ok != c.ok || ok && kind != c.kind {
			t.Errorf("%v, %v: %v, %v", c.failure, c.others, kind, ok)
		}
	}
}

// TestLocks: one at a time at an address, and nothing is kept of those that are done with.
func TestLocks(t *testing.T) {
	var l locks
	a := startServer(t, sim.ServerOptions{}).Addr()
	unlock, err := l.lock(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := l.lock(ctx, a); err == nil {
		t.Error("locked twice")
	}
	got := make(chan func())
	go func() {
		u, _ := l.lock(context.Background(), a)
		got <- u
	}()
	unlock()
	(<-got)()
	if len(l.held) != 0 {
		t.Errorf("%d kept", len(l.held))
	}
}
