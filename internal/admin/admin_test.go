package admin

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mrcproxy/internal/recent"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client keeps no connection, so that no goroutine of it is left.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}

// running is a server that serves; stop ends it and returns what Run did.
type running struct {
	base string
	stop func() error
}

func run(t *testing.T, o Options) running {
	t.Helper()
	o.Listen = "127.0.0.1:0"
	s, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	stop := func() error {
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		if !stopped {
			if err := stop(); err != nil {
				t.Error(err)
			}
		}
	})
	return running{"http://" + s.Addr().String(), stop}
}

type answer struct {
	code   int
	body   string
	header http.Header
}

func (r running) ask(t *testing.T, method, path string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.base+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, string(body), res.Header}
}

// full serves everything and counts reloads.
func full(reloads *atomic.Int32) Options {
	return Options{
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1\n") }),
		Ready:   func() (bool, string) { return true, "" },
		Reload:  func(context.Context) error { reloads.Add(1); return nil },
		Daemon:  &fake{},
		Events:  recent.New(time.Now()),
		Pprof:   true,
	}
}

func TestEndpoints(t *testing.T) {
	var reloads atomic.Int32
	r := run(t, full(&reloads))
	for _, tc := range []struct {
		method, path string
		code         int
		body         string // contained
	}{
		{"GET", "/metrics", 200, "up 1\n"},
		{"POST", "/metrics", 405, ""},
		{"GET", "/-/healthy", 200, "ok\n"},
		{"HEAD", "/-/healthy", 200, ""},
		{"GET", "/-/ready", 200, "ready\n"},
		{"GET", "/-/reload", 405, ""},
		{"POST", "/-/reload", 200, "reloaded\n"},
		{"PUT", "/-/reload", 200, "reloaded\n"},
		{"GET", "/api/v1/status", 200, `"sessions":3`},
		{"GET", "/debug/pprof/", 200, "goroutine"},
		{"GET", "/debug/pprof/goroutine?debug=1", 200, "goroutine profile"},
		{"GET", "/debug/pprof/cmdline", 200, ""},
		{"GET", "/", 200, `href="metrics"`},
		{"GET", "/nothing", 404, ""},
		{"GET", "/-/", 404, ""},
	} {
		a := r.ask(t, tc.method, tc.path)
		if a.code != tc.code || !strings.Contains(a.body, tc.body) {
			t.Errorf("%s %s: %d %q, want %d %q", tc.method, tc.path, a.code, a.body, tc.code, tc.body)
		}
	}
	if n := reloads.Load(); n != 2 {
		t.Errorf("%d reloads, want 2", n)
	}
	if allow := r.ask(t, "GET", "/-/reload").header.Get("Allow"); !strings.Contains(allow, "POST") {
		t.Errorf("Allow: %q", allow)
	}
}

// TestPage: everything that the page and its files name is there, and none of it is elsewhere.
func TestPage(t *testing.T) {
	var reloads atomic.Int32
	r := run(t, full(&reloads))
	todo, seen := []string{"/"}, map[string]bool{}
	for len(todo) > 0 {
		path := todo[0]
		todo = todo[1:]
		if seen[path] {
			continue
		}
		seen[path] = true
		a := r.ask(t, "GET", path)
		if a.code != 200 {
			t.Errorf("%s: %d", path, a.code)
		}
		if !strings.HasPrefix(path, "/ui/") && path != "/" {
			continue
		}
		if strings.Contains(a.body, "http://") && !strings.Contains(a.body, "http://www.w3.org/2000/svg") || strings.Contains(a.body, "https://") {
			t.Errorf("%s asks for something elsewhere", path)
		}
		for _, m := range regexp.MustCompile(`(?:href|src)="([^#"]+)"`).FindAllStringSubmatch(a.body, -1) {
			todo = append(todo, "/"+m[1])
		}
		for _, m := range regexp.MustCompile(`from "\./([^"]+)"`).FindAllStringSubmatch(a.body, -1) {
			todo = append(todo, "/ui/"+m[1])
		}
	}
	if len(seen) < 9 || !seen["/ui/servers.js"] {
		t.Errorf("found only %v", seen)
	}
	if csp := r.ask(t, "GET", "/").header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'self'") {
		t.Errorf("policy: %q", csp)
	}
}

// TestNothing: what was not handed in is not there, profiles above all.
func TestNothing(t *testing.T) {
	r := run(t, Options{})
	for path, code := range map[string]int{
		"/-/healthy": 200, "/-/ready": 200, "/": 404, "/metrics": 404, "/api/v1/status": 404, "/debug/pprof/": 404,
		"/debug/pprof/goroutine": 404, "/-/reload": 404,
	} {
		if a := r.ask(t, "GET", path); a.code != code {
			t.Errorf("%s: %d, want %d", path, a.code, code)
		}
	}
}

func TestReady(t *testing.T) {
	var ready atomic.Bool
	r := run(t, Options{Ready: func() (bool, string) { return ready.Load(), "cluster ali: all backends down" }})
	if a := r.ask(t, "GET", "/-/ready"); a.code != 503 || a.body != "cluster ali: all backends down\n" {
		t.Errorf("%d %q", a.code, a.body)
	}
	ready.Store(true)
	if a := r.ask(t, "GET", "/-/ready"); a.code != 200 || a.body != "ready\n" {
		t.Errorf("%d %q", a.code, a.body)
	}
}

// TestReloadFails: the operator gets all of the error's text.
func TestReloadFails(t *testing.T) {
	text := "mrcproxy.yaml:12: clusters[0].policy: unknown\nmrcproxy.yaml:14: health.interval: want a duration"
	r := run(t, Options{Reload: func(context.Context) error { return errors.New(text) }})
	if a := r.ask(t, "POST", "/-/reload"); a.code != 500 || !strings.Contains(a.body, text) {
		t.Errorf("%d %q", a.code, a.body)
	}
}

// TestFromAnotherSite: a web page elsewhere cannot have the operator's browser do anything here: neither change something,
// nor have a server probed, which takes a place there.
func TestFromAnotherSite(t *testing.T) {
	var reloads, probes atomic.Int32
	o := full(&reloads)
	o.Probe = func(http.ResponseWriter, *http.Request) { probes.Add(1) }
	d := &fake{}
	o.Daemon = d
	r := run(t, o)
	requests := []string{"POST /-/reload", "PUT /-/reload", "GET /probe?target=x"}
	for pattern := range o.endpoints() {
		if !strings.HasPrefix(pattern, "GET ") {
			requests = append(requests, strings.Replace(pattern, "{id}", "1", 1))
		}
	}
	for _, request := range requests {
		method, path, _ := strings.Cut(request, " ")
		for _, h := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "http://elsewhere.example"}, {"Origin", "null"}} {
			if a := r.ask(t, method, path, h...); a.code != 403 {
				t.Errorf("%s %v: %d", request, h, a.code)
			}
		}
	}
	if n := reloads.Load() + probes.Load(); n != 0 || d.last() != "" {
		t.Errorf("%d reloads and probes, and %q", n, d.last())
	}
	for request, h := range map[string][]string{"POST /-/reload": {"Sec-Fetch-Site", "same-origin"}, "GET /probe": nil} {
		method, path, _ := strings.Cut(request, " ")
		if a := r.ask(t, method, path, h...); a.code != 200 {
			t.Errorf("%s %v: %d", request, h, a.code)
		}
	}
	if reloads.Load() != 1 || probes.Load() != 1 {
		t.Errorf("%d reloads and %d probes, want one each", reloads.Load(), probes.Load())
	}
}

func TestListenFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, address := range []string{"", "nowhere", "127.0.0.1:99999", taken.Addr().String()} {
		if s, err := Listen(Options{Listen: address}); err == nil {
			_ = s.Close()
			t.Errorf("%q: no error", address)
		}
	}
}
