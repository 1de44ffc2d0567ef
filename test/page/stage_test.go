package page

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"mrcproxy/internal/admin"
	"mrcproxy/internal/api"
	"mrcproxy/internal/recent"
)

// stage is a daemon of which there is nothing but what the page asks for: servers with a past of 15 minutes.
type stage struct {
	admin.Daemon // of which nothing else is called
	status       api.Status
	clusters     []api.Cluster
}

func (s *stage) Status() api.Status          { return s.status }
func (s *stage) Clusters() []api.Cluster     { return s.clusters }
func (s *stage) Backends(bool) []api.Backend { return s.status.Backends }

func (s *stage) Loads() map[string]int {
	m := map[string]int{}
	for _, b := range s.status.Backends {
		m[b.ID] = b.Sessions
	}
	return m
}

// scene is a cluster of a stage: so many servers in each IDC.
type scene struct {
	name, policy string
	fallback     []string
	servers      map[string]int
}

// set makes a stage, the same each time, but for the present time.
func set(scenes []scene, idcs []string, dead string) *stage {
	now := time.Now()
	rnd := rand.New(rand.NewPCG(1, 2))
	s := &stage{status: api.Status{Version: "v1.0.0", IDC: idcs[0], Started: now.Add(-51 * time.Hour), Now: now, Ready: true}}
	for ci, sc := range scenes {
		c := api.Cluster{Name: sc.name, Policy: sc.policy, Fallback: append([]string{}, sc.fallback...)}
		for gi, idc := range idcs {
			c.Groups = append(c.Groups, api.Group{Cluster: sc.name, IDC: idc, Priority: 10 * gi, Local: gi == 0})
			for i := range sc.servers[idc] {
				b := api.Backend{ID: fmt.Sprintf("%02x%02x%04x", ci, gi, i), Cluster: sc.name, IDC: idc, Priority: 10 * gi, Capacity: 50, Weight: 1,
					URI: fmt.Sprintf("sip:10.%d.%d.%d:8060", gi+1, ci*8+1+i/200, 10+i%200), State: "up", Health: "up", Reason: "probe succeeded", Since: now.Add(-26 * time.Hour)}
				live(&b, rnd, now, gi == 0, dead)
				s.status.Backends = append(s.status.Backends, b)
				s.status.Sessions += b.Sessions
			}
		}
		s.clusters = append(s.clusters, c)
	}
	return s
}

// live gives a server its load and its fate.
func live(b *api.Backend, rnd *rand.Rand, now time.Time, local bool, dead string) {
	base, phase, died := 26.0, rnd.Float64(), 62
	for i := range 90 {
		n := base + 8*math.Sin(float64(i)/14+phase) + 4*rnd.NormFloat64()
		switch {
		case b.IDC == dead && i >= died:
			n = 0
		case !local && (dead == "" || i < died):
			n = 0
		}
		b.Load = append(b.Load, int(max(0, min(n, 50))))
	}
	b.Sessions = b.Load[89]
	switch p := rnd.IntN(100); {
	case b.IDC == dead:
		b.State, b.Health, b.Reason, b.Since = "down", "down", "3 probes in a row failed: no answer", now.Add(-280*time.Second)
	case p < 3:
		b.State, b.Health, b.Sessions, b.Since = "down", "down", 0, now.Add(-14*time.Minute)
		b.Reason = "ejected: 3 calls in a row failed: no_response"
	case p < 6:
		b.State, b.Since, b.Reason = "draining", now.Add(-40*time.Minute), "drain of backend by eve at 10.1.0.9: new disk"
		b.Wish = &api.Wish{Scope: api.Scope{Cluster: b.Cluster, Backend: b.URI}, Mode: "drain", By: "eve at 10.1.0.9", Since: b.Since, Reason: "new disk"}
	case p < 10 && local:
		b.Sessions = 50
	}
}

// serve shows a stage to a browser.
func serve(t *testing.T, s *stage, events ...api.Event) (*browser, string) {
	t.Helper()
	return serveTo(t, s, "", events...)
}

// serveTo is serve to somebody who has logged in with a token; "" for none.
func serveTo(t *testing.T, s *stage, token string, events ...api.Event) (*browser, string) {
	t.Helper()
	log := recent.New(time.Now())
	for _, e := range events {
		log.Add(e)
	}
	srv, err := admin.Listen(admin.Options{Listen: "127.0.0.1:0", Daemon: s, Events: log, Token: func() string { return token }, Metrics: http.NotFoundHandler()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- srv.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	b := newBrowser(t)
	login := ""
	if token != "" {
		login = "eve:" + token + "@"
	}
	b.do(chromedp.Navigate("http://" + login + srv.Addr().String() + "/"))
	b.await("it is live", "document.querySelector('#live.on')")
	return b, srv.Addr().String()
}

var (
	house2 = []scene{
		{"baidu", "least-load", []string{"ali"}, map[string]int{"sh-a": 6, "sh-b": 4}},
		{"ali", "weighted", nil, map[string]int{"sh-a": 4, "sh-b": 4}},
	}
	two = []string{"sh-a", "sh-b"}
)

func TestIdle(t *testing.T) {
	now := time.Now()
	b, _ := serve(t, set(house2, two, ""),
		api.Event{At: now.Add(-51 * time.Hour), Type: "config", Text: "reloaded, changes: 0", By: "start"},
		api.Event{At: now.Add(-40 * time.Minute), Type: "config", Text: "reloaded, changes: 1", By: "file"},
		api.Event{At: now.Add(-841 * time.Second), Type: "failover", Cluster: "baidu", IDC: "sh-b", Backend: "sip:10.2.1.12:8060", Text: "no_response", Count: 3},
		api.Event{At: now.Add(-840 * time.Second), Type: "state", Cluster: "baidu", IDC: "sh-b", Backend: "sip:10.2.1.12:8060", State: "down",
			Text: "up -> down: ejected: 3 calls in a row failed: no_response"})
	b.await("all rows are there", "document.querySelectorAll('.servers tbody tr').length === 18")
	b.keep("page-idle.png", 1360, 900, false)
	b.keep("page-dark.png", 1360, 900, true)
	b.keep("", 420, 900, false)
	if wide := eval[bool](b, "document.documentElement.scrollWidth > document.documentElement.clientWidth"); wide {
		t.Error("on a narrow screen the page is wider than the screen")
	}
}

// TestLogin: who has logged in has the page, the API and the events.
func TestLogin(t *testing.T) {
	b, _ := serveTo(t, set(house2, two, ""), "a-token-of-the-test")
	b.await("all rows are there", "document.querySelectorAll('.servers tbody tr').length === 18")
}

func TestIDCDown(t *testing.T) {
	now := time.Now()
	at := now.Add(-281 * time.Second)
	var events []api.Event
	for i := range 4 {
		events = append(events, api.Event{At: at.Add(time.Duration(i) * 300 * time.Millisecond), Type: "failover", Cluster: "baidu", IDC: "sh-a",
			Backend: fmt.Sprintf("sip:10.1.1.%d:8060", 10+i), Text: "no_response", Count: 3 + i})
	}
	for i := range 6 {
		events = append(events, api.Event{At: at.Add(time.Duration(1000+i*90) * time.Millisecond), Type: "state", Cluster: "baidu", IDC: "sh-a", State: "down",
			Backend: fmt.Sprintf("sip:10.1.1.%d:8060", 10+i), Text: "up -> down: 3 probes in a row failed: no answer"})
	}
	s := set(house2, two, "sh-a")
	s.clusters[0].FellBack = map[string]int{"ali": 12}
	b, _ := serve(t, s, events...)
	b.await("the data centre is shown as dead", "document.querySelector('.idc.dead')")
	b.await("what fell back is shown", "document.querySelector('.cluster h3 .sum').textContent.includes(' · 12 more at ali · ')")
	b.keep("page-idc-down.png", 1360, 1040, false)
}

// TestLimits: what bounds a server or a cluster beside its places is shown, what is so of a server beside its state, and what is
// wrong with the instance.
func TestLimits(t *testing.T) {
	s := set(house2, two, "")
	b0 := &s.status.Backends[0]
	b0.State, b0.Capacity, b0.Sessions = "up", -1, 7
	b0.Resources = []api.Limit{{Resource: "speechrecog", Sessions: 4, Elsewhere: 1, Capacity: 5}, {Resource: "speechsynth", Sessions: 2, Capacity: 20}}
	b1 := &s.status.Backends[1]
	b1.State, b1.Conditions = "up", []string{"suspect", "slow_start"}
	s.clusters[0].Licences, s.clusters[0].Waiting = &api.Licences{Taken: 90, Limit: 120}, 3
	spill := 9
	s.clusters[0].Groups[1].SpillLimit = &spill
	s.status.Trouble = []string{"the configuration was refused"}
	b, _ := serve(t, s)
	row := func(b *api.Backend) string { return fmt.Sprintf("document.querySelector('[data-id=\"%s\"]')", b.ID) }
	b.await("the fullest limit is the bar", row(b0)+"?.querySelector('.fill').style.width === '100%'")
	for what, js := range map[string]string{
		"what it is full of":      row(b0) + ".querySelector('.why').textContent === 'full of speechrecog'",
		"conditions":              row(b1) + ".querySelector('.why').textContent.startsWith('suspect: refuses though it should have room; starting')",
		"licences and the queue":  "document.querySelector('.cluster h3 .sum').textContent.includes('90 of 120 licences · 3 waiting')",
		"what may spill":          "document.querySelector('[aria-label=\"baidu in sh-b\"] .sum').textContent.endsWith('· 9 may spill')",
		"what is wrong":           "document.querySelector('#wrong').textContent === 'the configuration was refused'",
		"it is read aloud":        "document.querySelector('#wrong').role === 'alert'",
		"and the rest is healthy": "document.querySelectorAll('.servers tbody tr').length === 18",
	} {
		if !eval[bool](b, js) {
			t.Errorf("not shown: %s", what)
		}
	}
	b.accessible()
	b.do(chromedp.Click("#trouble", chromedp.ByQuery))
	if !eval[bool](b, "!"+row(b1)+".hidden && "+row(b0)+".hidden") {
		t.Error("a suspect server is trouble, one that is full is not")
	}
}

// TestThousand: 1,000 servers are drawn at once, each can be reached by keyboard, and an event is no work.
func TestThousand(t *testing.T) {
	big := []scene{
		{"baidu", "least-load", []string{"ali"}, map[string]int{"sh-a": 200, "sh-b": 140}},
		{"ali", "weighted", nil, map[string]int{"sh-a": 160, "sh-b": 160}},
		{"tencent", "least-load", []string{"ali"}, map[string]int{"sh-a": 120, "sh-b": 120}},
		{"tts", "weighted", nil, map[string]int{"sh-a": 60, "sh-b": 40}},
	}
	b, _ := serve(t, set(big, two, ""))
	b.await("all tiles are there", "document.querySelectorAll('.tile').length === 1000")
	b.keep("page-1000.png", 1360, 1100, false)
	b.accessible()
	b.do(chromedp.Evaluate(`void (async () => {
		const { Model } = await import("/ui/model.js");
		const { Servers } = await import("/ui/servers.js");
		const m = new Model(), root = document.createElement("div");
		document.body.append(root);
		const [s, c, l] = await Promise.all(["status", "clusters", "backends?load=true"].map((p) => fetch("/api/v1/" + p).then((r) => r.json())));
		m.set(s, c, l);
		const v = new Servers(root, m, () => {});
		const start = performance.now();
		v.draw();
		document.body.offsetHeight;
		window.first = performance.now() - start;
		v.draw();
		document.body.offsetHeight;
		window.again = performance.now() - start - window.first;
		root.remove();
	})()`, nil))
	b.await("it was drawn twice", "window.again > 0")
	took, again := eval[float64](b, "window.first"), eval[float64](b, "window.again")
	t.Logf("1,000 servers: drawn in %.0f ms, followed in %.0f ms", took, again)
	if took > 3000 || again > 1000 {
		t.Errorf("1,000 servers: drawn in %.0f ms, followed in %.0f ms", took, again)
	}
	b.do(chromedp.SendKeys("#filter", "10.2.1.1", chromedp.ByQuery))
	if n := eval[int](b, "[...document.querySelectorAll('.tiles li')].filter((e) => !e.hidden).length"); n == 0 || n > 150 {
		t.Errorf("the filter leaves %d", n)
	}
}
