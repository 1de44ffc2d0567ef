package app

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mrcproxy/balancer"
	"mrcproxy/internal/api"
	"mrcproxy/internal/session"
	"mrcproxy/internal/sim"
)

// TestDrainWins: what an operator wants comes before health, and outlives its changes, a reload and a restart.
func TestDrainWins(t *testing.T) {
	d := newDesk(t)
	if r := d.do("drain", api.Action{Scope: api.Scope{Backend: d.uri(0)}, Reason: "new disk"}); r.Backends != 1 || !r.Changed || r.Warning != "" {
		t.Errorf("drain: %+v", r)
	}
	held := func(when string) {
		t.Helper()
		if b := d.backends()[0]; b.State != "draining" || b.Wish == nil || !strings.Contains(b.Reason, "new disk") || !strings.Contains(b.Wish.By, "eve at 127.0.0.1") {
			t.Errorf("%s: %+v", when, b)
		}
		if got := d.picks(4); got[0] != 0 || got[1] != 4 {
			t.Errorf("%s: sessions went to %v", when, got)
		}
	}
	held("drained")
	d.fleet.Servers[0].Kill()
	d.await("the dead server is noticed", func() bool { return d.backends()[0].Health == "down" })
	if err := d.fleet.Servers[0].Revive(); err != nil {
		t.Fatal(err)
	}
	d.await("the server is back", func() bool { return d.backends()[0].Health == "up" })
	held("after its health went down and up")
	d.configure(strings.Replace(*d.text.Load(), "capacity: 9", "capacity: 8", 1))
	if code, text := d.ask("POST /api/v1/reload", nil, nil); code != 200 || !strings.Contains(text, "capacity: 9 -\\u003e 8") {
		t.Errorf("reload: %d %s", code, text)
	}
	held("after a reload")
	d.end() // nothing but the file is left of it
	d.start()
	held("after a restart")
	if r := d.do("enable", api.Action{Scope: api.Scope{Backend: d.uri(0)}}); !r.Changed {
		t.Errorf("enable: %+v", r)
	}
	if got := d.picks(6); got[0] == 0 {
		t.Errorf("enabled, and without sessions: %v", got)
	}
	if r := d.do("enable", api.Action{Scope: api.Scope{Backend: d.uri(0)}}); r.Changed {
		t.Error("enabled twice")
	}
}

// TestScopes: an IDC, a group and a backend, and what covers what.
func TestScopes(t *testing.T) {
	d := newDesk(t)
	d.do("drain", api.Action{Scope: api.Scope{IDC: "a"}})
	if s := d.states(); s != "draining draining up" {
		t.Errorf("IDC drained: %s", s)
	}
	if got := d.picks(3); got != [3]int{0, 0, 3} {
		t.Errorf("sessions went to %v", got)
	}
	d.do("disable", api.Action{Scope: api.Scope{Cluster: "asr", IDC: "b"}})
	if s := d.states(); s != "draining draining disabled" {
		t.Errorf("group disabled: %s", s)
	}
	if l, _ := d.app.bal.Pick(balancer.Request{Cluster: "asr", Now: time.Now()}); l != nil {
		t.Error("a session for a server that is disabled")
	}
	if r := d.do("enable", api.Action{Scope: api.Scope{Backend: d.uri(0)}}); r.Changed || !strings.Contains(r.Warning, "drain of IDC a by eve") {
		t.Errorf("a backend of a drained IDC enabled: %+v", r)
	}
	d.do("enable", api.Action{Scope: api.Scope{IDC: "a"}})
	d.do("enable", api.Action{Scope: api.Scope{Cluster: "asr", IDC: "b"}})
	d.await("all are back", func() bool { return d.states() == "up up up" })
	for _, tc := range []struct {
		a    api.Action
		verb string
		code int
		text string
	}{
		{api.Action{}, "drain", 400, "say what"},
		{api.Action{Scope: api.Scope{Cluster: "asr"}}, "drain", 400, "say what"},
		{api.Action{Scope: api.Scope{IDC: "c"}}, "drain", 404, "there is no IDC c"},
		{api.Action{Scope: api.Scope{Cluster: "tts", IDC: "a"}}, "drain", 404, "there is no group tts/a"},
		{api.Action{Scope: api.Scope{Backend: "sip:10.9.9.9"}}, "enable", 404, "there is no backend"},
		{api.Action{Scope: api.Scope{Backend: d.uri(0), IDC: "a"}}, "drain", 400, "not backend and idc"},
		{api.Action{Scope: api.Scope{IDC: "a"}, For: "soon"}, "drain", 400, "for must be a duration"},
		{api.Action{Scope: api.Scope{IDC: "a"}, Until: time.Now().Add(-time.Second)}, "disable", 400, "has passed already"},
		{api.Action{Scope: api.Scope{IDC: "a"}}, "weight", 400, "of one backend"},
		{api.Action{Scope: api.Scope{Backend: d.uri(0)}, Weight: new(int(2e6))}, "weight", 400, "weight must be"},
	} {
		if code, text := d.ask("POST /api/v1/"+tc.verb, tc.a, nil); code != tc.code || !strings.Contains(text, tc.text) {
			t.Errorf("%s %+v: %d %s, want %d %s", tc.verb, tc.a, code, text, tc.code, tc.text)
		}
	}
	if s := d.states(); s != "up up up" {
		t.Errorf("after bad actions: %s", s)
	}
}

// TestDisableStopsProbes, and enable begins with a probe.
func TestDisableStopsProbes(t *testing.T) {
	d := newDesk(t)
	d.do("disable", api.Action{Scope: api.Scope{Backend: d.uri(0)}})
	options := func() int { return d.fleet.Servers[0].Stats().Options }
	before := options()
	other := d.fleet.Servers[1].Stats().Options
	d.await("the other server is probed again and again", func() bool { return d.fleet.Servers[1].Stats().Options > other+5 })
	if n := options() - before; n > 1 { // one may have been on its way
		t.Errorf("%d probes of a server that is disabled", n)
	}
	d.do("enable", api.Action{Scope: api.Scope{Backend: d.uri(0)}})
	d.await("it is up", func() bool { return d.states() == "up up up" })
}

// TestWishEnds: a wish with a deadline ends by itself, and the log says whose it was.
func TestWishEnds(t *testing.T) {
	d := newDesk(t)
	d.do("drain", api.Action{Scope: api.Scope{IDC: "a"}, For: "2s"})
	if s := d.states(); s != "draining draining up" {
		t.Errorf("drained: %s", s)
	}
	d.await("the drain ends", func() bool { return d.states() == "up up up" })
	found := false
	for _, e := range d.log.FilterMessage("operator").All() {
		found = found || e.ContextMap()["action"] == "expired" && strings.HasPrefix(fmt.Sprint(e.ContextMap()["by"]), "eve")
	}
	if !found {
		t.Errorf("log: %v", d.log.All())
	}
}

// TestWeight: a weight that an operator sets holds in the place of the file's, through a reload and a restart.
func TestWeight(t *testing.T) {
	d := newDesk(t)
	d.do("weight", api.Action{Scope: api.Scope{Backend: d.uri(1)}, Weight: new(0)})
	check := func(when string) {
		t.Helper()
		if b := d.backends()[1]; b.Weight != 0 || b.FileWeight == nil || *b.FileWeight != 1 {
			t.Errorf("%s: weight %d, the file's %v", when, b.Weight, b.FileWeight)
		}
		if got := d.picks(3); got != [3]int{3, 0, 0} {
			t.Errorf("%s: sessions went to %v", when, got)
		}
	}
	check("set")
	d.configure(strings.Replace(*d.text.Load(), "capacity: 9", "capacity: 8", 1))
	d.ask("POST /api/v1/reload", nil, nil)
	check("after a reload")
	d.end()
	d.start()
	check("after a restart")
	d.do("weight", api.Action{Scope: api.Scope{Backend: d.uri(1)}})
	if b := d.backends()[1]; b.Weight != 1 || b.FileWeight != nil {
		t.Errorf("back to the file's: %d %v", b.Weight, b.FileWeight)
	}
}

// TestNotKept: where the data directory cannot be written, the action counts, and says that it will not outlive a restart.
func TestNotKept(t *testing.T) {
	d := newDesk(t)
	if err := os.Mkdir(filepath.Join(d.dir, "operator.json.new"), 0o700); err != nil {
		t.Fatal(err)
	}
	if r := d.do("drain", api.Action{Scope: api.Scope{IDC: "b"}}); !strings.Contains(r.Warning, "will not outlive a restart") {
		t.Errorf("%+v", r)
	}
	var o api.Operator
	if d.ask("GET /api/v1/operator", nil, &o); o.Kept || o.Why == "" || len(o.Wishes) != 1 {
		t.Errorf("%+v", o)
	}
}

// TestLastReload: what the last reload did, also when it was refused, and what the next one would do.
func TestLastReload(t *testing.T) {
	d := newDesk(t)
	good := *d.text.Load()
	d.configure(strings.Replace(good, "capacity: 9", "capacity: many", 1))
	if code, text := d.ask("GET /api/v1/config/diff", nil, nil); code != 422 || !strings.Contains(text, "f.yaml:15: clusters[0].groups[1].backends[0].capacity") {
		t.Errorf("diff: %d %s", code, text)
	}
	if code, text := d.ask("POST /api/v1/reload", nil, nil); code != 422 || !strings.Contains(text, "capacity") {
		t.Errorf("reload: %d %s", code, text)
	}
	var c api.Config
	d.ask("GET /api/v1/config", nil, &c)
	if c.Last.OK || c.Last.Error == "" || !strings.Contains(c.Last.Cause, "eve") || !strings.Contains(c.YAML, "capacity: 9") || c.Loaded.After(c.Last.At) {
		t.Errorf("after a refusal: %+v", c)
	}
	if strings.Contains(c.YAML, "a-secret") || strings.Contains(c.YAML, "a token") {
		t.Errorf("secrets are shown:\n%s", c.YAML)
	}
	d.configure(strings.Replace(good, "capacity: 9", "capacity: 8", 1) + "log: {format: console}\n")
	var diff api.Diff
	d.ask("GET /api/v1/config/diff", nil, &diff)
	if len(diff.Changes) != 2 || len(diff.NeedsRestart) != 1 {
		t.Errorf("diff: %+v", diff)
	}
	var r api.Reload
	d.ask("POST /api/v1/reload", nil, &r)
	if !r.OK || len(r.Changes) != 2 {
		t.Errorf("reload: %+v", r)
	}
}

// TestWhatHappened: a real call that fails over leaves its traces: an event, a failed call of its server, a session with
// its attempts.
func TestWhatHappened(t *testing.T) {
	d := newDesk(t)
	d.do("drain", api.Action{Scope: api.Scope{Backend: d.uri(1)}})
	d.fleet.Servers[0].SetFault(sim.Refuse(486, 0))
	client, err := sim.NewClient(sim.ClientOptions{Proxy: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), d.app.SIP(0).Port())})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan sim.Result, 1)
	go func() { ended <- client.Session(ctx, time.Hour) }()
	var page api.SessionPage
	d.await("the session is there", func() bool {
		d.ask("GET /api/v1/sessions?route=asr&idc=b", nil, &page)
		return page.Total == 1
	})
	s := page.Sessions[0]
	if s.Backend != d.uri(2) || len(s.Attempts) != 2 || s.Attempts[0].Backend != d.uri(0) || s.Attempts[0].Outcome != "486" {
		t.Errorf("session %+v", s)
	}
	for query, total := range map[string]int{"call_id=" + s.CallID[2:8]: 1, "call_id=nobody": 0, "backend=" + d.backends()[2].ID: 1, "cluster=tts": 0, "after=" + s.ID: 1} {
		var p api.SessionPage
		if d.ask("GET /api/v1/sessions?"+query, nil, &p); p.Total != total {
			t.Errorf("%s: %d sessions, want %d", query, p.Total, total)
		}
	}
	if code, _ := d.ask("DELETE /api/v1/sessions/00000000000000ff", nil, nil); code != 404 {
		t.Errorf("terminate nothing: %d", code)
	}
	b := d.backends()
	if f := b[0].Failures; len(f) != 1 || f[0].Kind != "refused" {
		t.Errorf("failures %+v", f)
	}
	if p := b[0].Probes; len(p) == 0 || !p[0].OK || p[0].Code != 200 {
		t.Errorf("probes %+v", p)
	}
	if c := b[0].Changes; len(c) == 0 || c[0].To != "up" {
		t.Errorf("changes %+v", c)
	}
	d.await("the failover is told", func() bool {
		var l []api.Event
		d.ask("GET /api/v1/events", nil, &l)
		for _, e := range l {
			if e.Type == "failover" && e.Backend == d.uri(0) && e.Text == "486" && e.CallID == s.CallID {
				return true
			}
		}
		return false
	})
	cancel()
	<-ended
	d.await("the session is over", func() bool { return d.app.Sessions() == 0 })
}

// TestTerminate: both sides get a BYE, and the server's place is free.
func TestTerminate(t *testing.T) {
	d := newDesk(t)
	client, err := sim.NewClient(sim.ClientOptions{Proxy: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), d.app.SIP(0).Port())})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ended := make(chan sim.Result, 1)
	go func() { ended <- client.Session(t.Context(), time.Hour) }()
	var page api.SessionPage
	d.await("the session is there", func() bool {
		d.ask("GET /api/v1/sessions", nil, &page)
		return page.Total == 1
	})
	if s := page.Sessions[0]; s.Client == "" || s.Resource != "speechrecog" || s.Expires.IsZero() || !s.Endable {
		t.Errorf("session %+v", s)
	}
	if code, text := d.ask("DELETE /api/v1/sessions/"+page.Sessions[0].ID, nil, nil); code != 200 {
		t.Fatalf("%d %s", code, text)
	}
	if r := <-ended; r.Err != nil || !r.ServerBye {
		t.Errorf("client: %+v", r)
	}
	d.await("the server has none", func() bool { return d.fleet.Sessions() == 0 })
	if d.app.Sessions() != 0 || d.picks(1) == [3]int{} {
		t.Error("the session still counts")
	}
}

// TestRoute: the answer names the server that the next call gets, and asking changes nothing.
func TestRoute(t *testing.T) {
	d := newDesk(t)
	invite, err := os.ReadFile("testdata/INVITE.sip")
	if err != nil {
		t.Fatal(err)
	}
	for range 6 {
		var r api.Route
		for range 3 {
			if code, text := d.ask("POST /api/v1/route?source=10.1.0.5", invite, &r); code != 200 {
				t.Fatalf("%d %s", code, text)
			}
		}
		l, _ := d.app.bal.Pick(balancer.Request{Cluster: "asr", Now: time.Now()})
		defer l.Release()
		if r.Backend != l.Backend().URI() || r.Route != "asr" || len(r.Candidates) != 3 || r.Code != 0 {
			t.Errorf("said %+v, went to %s", r, l.Backend().URI())
		}
	}
	d.do("drain", api.Action{Scope: api.Scope{IDC: "a"}})
	d.do("drain", api.Action{Scope: api.Scope{IDC: "b"}})
	var r api.Route
	d.ask("POST /api/v1/route", invite, &r)
	if r.Code != 480 || r.Candidates[0].Why != "draining" || r.Candidates[0].Usable {
		t.Errorf("all drained: %+v", r)
	}
	if code, text := d.ask("POST /api/v1/route", []byte("BYE"), nil); code != 422 {
		t.Errorf("no INVITE: %d %s", code, text)
	}
}

// TestFellBack: sessions at another cluster than their route named are counted with the one that it named.
func TestFellBack(t *testing.T) {
	d := newDesk(t)
	d.configure(*d.text.Load() + "  - {name: tts, fallback: [asr], groups: [{idc: a, backends: [{uri: \"" + d.uri(0) + "\"}]}]}\n")
	d.ask("POST /api/v1/reload", nil, nil)
	for i, wanted := range []string{"tts", "tts", "asr", ""} { // the last was learned from a message
		b := d.app.bal.Backends()[1]
		s := &session.Session{CallID: fmt.Sprint("call-", i), Kind: d.app.sessions.Kind(session.Kind{Cluster: wanted}), Start: time.Now(), Lease: d.app.bal.Adopt(b)}
		d.app.sessions.Add(session.Key([]byte(s.CallID), nil, b.ID()), s, 0)
	}
	var l []api.Cluster
	d.ask("GET /api/v1/clusters", nil, &l)
	if len(l) != 2 || l[0].FellBack != nil || len(l[1].FellBack) != 1 || l[1].FellBack["asr"] != 2 {
		t.Errorf("%+v", l)
	}
}

// TestPages: every session is on one page, whatever the size of the pages.
func TestPages(t *testing.T) {
	d := newDesk(t)
	want := map[string]bool{}
	for i := range 7 {
		b := d.app.bal.Backends()[2]
		s := &session.Session{CallID: fmt.Sprint("call-", i), Kind: d.app.sessions.Kind(session.Kind{Route: "asr", Cluster: "asr"}), Start: time.Now(), Lease: d.app.bal.Adopt(b)}
		d.app.sessions.Add(session.Key([]byte(s.CallID), nil, b.ID()), s, 0)
		want[s.CallID] = true
	}
	q := ""
	for {
		var p api.SessionPage
		d.ask("GET /api/v1/sessions?limit=3"+q, nil, &p)
		if p.Total != 7 || len(p.Sessions) > 3 {
			t.Fatalf("page %+v", p)
		}
		for _, s := range p.Sessions {
			if !want[s.CallID] {
				t.Errorf("%s is on two pages", s.CallID)
			}
			delete(want, s.CallID)
		}
		if p.Next == "" {
			break
		}
		q = "&after=" + p.Next
	}
	if len(want) > 0 {
		t.Errorf("on no page: %v", want)
	}
}
