package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"mrcproxy/internal/api"
	"mrcproxy/internal/api/apitest"
	"mrcproxy/internal/recent"
	"mrcproxy/internal/trace"
)

// serveAPI serves a fake daemon to a client that holds every request and answer against docs/openapi.yaml.
func serveAPI(t *testing.T) (*fake, *recent.Log, running, *apitest.Spec) {
	t.Helper()
	spec, err := apitest.Load()
	if err != nil {
		t.Fatal(err)
	}
	d, log := &fake{traces: trace.New(func(bool) {})}, recent.New(noon)
	return d, log, run(t, Options{Daemon: d, Events: log}), spec
}

func call(t *testing.T, spec *apitest.Spec, base, request, body string) (int, string) {
	t.Helper()
	method, path, _ := strings.Cut(request, " ")
	req, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case path == "/api/v1/route?source=10.1.0.5":
		req.Header.Set("Content-Type", "message/sip")
	case body != "":
		req.Header.Set("Content-Type", "application/json")
	}
	c := http.Client{Transport: apitest.Transport{Spec: spec, Next: client.Transport}, Timeout: 10 * time.Second}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// TestAPI asks for every operation of the document, and the document has every path that is served.
func TestAPI(t *testing.T) {
	d, log, r, spec := serveAPI(t)
	log.Add(api.Event{At: noon, Type: "failover", Cluster: "asr", IDC: "sh-a", Backend: "sip:10.1.1.1:8060", Text: "no_response", CallID: "x@y", Count: 3, By: "eve", State: "up"})
	for _, tc := range []struct{ request, body, asked string }{
		{"GET /api/v1/status", "", ""},
		{"GET /api/v1/clusters", "", ""},
		{"GET /api/v1/groups?cluster=asr", "", ""},
		{"GET /api/v1/backends?cluster=asr&idc=sh-a&state=draining&load=true", "", ""},
		{"GET /api/v1/backends/0a1b2c3d", "", ""},
		{"GET /api/v1/sessions?call_id=x&cluster=asr&idc=a&backend=b&route=r&limit=7&after=ff", "",
			"{CallID:x Cluster:asr IDC:a Backend:b Route:r Limit:7 After:ff}"},
		{"GET /api/v1/sessions", "", "{CallID: Cluster: IDC: Backend: Route: Limit:100 After:}"},
		{"DELETE /api/v1/sessions/00000000000000ff?by=eve", "", "terminate 00000000000000ff by eve at 127.0.0.1"},
		{"GET /api/v1/operator", "", ""},
		{"POST /api/v1/drain", `{"idc":"sh-a","for":"30m","reason":"new disk","by":"eve"}`, "drain {Cluster: IDC:sh-a Backend:} by eve at 127.0.0.1"},
		{"POST /api/v1/disable", `{"cluster":"asr","idc":"sh-a","until":"2026-07-01T13:00:00Z"}`, "disable {Cluster:asr IDC:sh-a Backend:} by somebody at 127.0.0.1"},
		{"POST /api/v1/enable", `{"backend":"0a1b2c3d","by":"a\nb"}`, "enable {Cluster: IDC: Backend:0a1b2c3d} by ab at 127.0.0.1"},
		{"POST /api/v1/weight", `{"backend":"0a1b2c3d","weight":5}`, "weight {Cluster: IDC: Backend:0a1b2c3d} by somebody at 127.0.0.1"},
		{"POST /api/v1/probe", `{"idc":"sh-a"}`, "probe {Cluster: IDC:sh-a Backend:} by somebody at 127.0.0.1"},
		{"GET /api/v1/events?after=0", "", ""},
		{"GET /api/v1/trace?call_id=x&backend=b&for=10ms&by=eve", "", "trace {CallID:x Backend:b}"},
		{"GET /api/v1/trace?format=pcap&for=10ms&count=3", "", "trace {CallID: Backend:}"},
		{"GET /api/v1/config", "", ""},
		{"GET /api/v1/config/diff", "", ""},
		{"POST /api/v1/reload?by=eve", "", "reload by eve at 127.0.0.1"},
		{"POST /api/v1/route?source=10.1.0.5", "INVITE", `route "INVITE" from 10.1.0.5`},
	} {
		code, body := call(t, spec, r.base, tc.request, tc.body)
		if code != 200 {
			t.Errorf("%s: %d %s", tc.request, code, body)
		}
		if tc.asked != "" && d.last() != tc.asked {
			t.Errorf("%s: asked %q, want %q", tc.request, d.last(), tc.asked)
		}
	}
	served := map[string]bool{"GET /api/v1/events": true, "GET /api/v1/trace": true}
	for p := range (Options{Daemon: d}).endpoints() {
		served[p] = true
	}
	for path, item := range spec.Doc.Paths.Map() {
		for method := range item.Operations() {
			if op := method + " " + path; !spec.Seen()[op] || !served[op] {
				t.Errorf("%s is documented; asked for by this test: %t; served: %t", op, spec.Seen()[op], served[op])
			}
			delete(served, method+" "+path)
		}
	}
	if len(served) > 0 {
		t.Errorf("served and not documented: %v", served)
	}
}

// TestSchemas: the properties of every schema are the fields of its type.
func TestSchemas(t *testing.T) {
	spec, err := apitest.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{api.Error{}, api.Status{}, api.Name{}, api.Cluster{}, api.Group{}, api.Backend{}, api.Probe{}, api.Failure{}, api.Change{}, api.Wish{},
		api.Weight{}, api.Operator{}, api.Action{}, api.Result{}, api.Attempt{}, api.Session{}, api.SessionPage{}, api.Event{}, api.Reload{}, api.Config{}, api.Diff{},
		api.RouteStep{}, api.Candidate{}, api.Route{}} {
		typ := reflect.TypeOf(v)
		schema := spec.Doc.Components.Schemas[typ.Name()]
		if schema == nil {
			t.Errorf("there is no schema %s", typ.Name())
			continue
		}
		var documented []string
		for name := range schema.Value.Properties {
			documented = append(documented, name)
		}
		slices.Sort(documented)
		if have := fields(typ); !slices.Equal(have, documented) {
			t.Errorf("%s has %v, the schema %v", typ.Name(), have, documented)
		}
	}
}

// fields are the names that JSON has for a type's fields.
func fields(t reflect.Type) []string {
	var names []string
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous:
			names = append(names, fields(f.Type)...)
		case name != "-":
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func TestAPIRefuses(t *testing.T) {
	d, _, r, spec := serveAPI(t)
	for _, tc := range []struct {
		request, body string
		code          int
		text          string
	}{
		{"GET /api/v1/backends/nobody", "", 404, "there is no backend nobody"},
		{"GET /api/v1/backends?load=perhaps", "", 400, "load must be true or false"},
		{"GET /api/v1/sessions?limit=0", "", 400, "limit must be 1 to 1000"},
		{"POST /api/v1/drain", "{", 400, "the body is not an action"},
		{"POST /api/v1/drain", `{"host":"a"}`, 400, `unknown field \"host\"`},
		{"POST /api/v1/drain", `{"reason":"` + strings.Repeat("x", maxBody) + `"}`, 400, "too large"},
		{"POST /api/v1/drain", `{"idc":"a","reason":"` + strings.Repeat("x", maxReason+1) + `"}`, 400, "reason must be at most 500 characters"},
		{"POST /api/v1/drain", `{"idc":"a","reason":"a\u001b[2Jb"}`, 400, "reason must be printable"},
		{"POST /api/v1/route?source=here", "INVITE", 400, "source must be an IP address"},
		{"GET /api/v1/trace?format=wav", "", 400, "format must be text or pcap"},
		{"GET /api/v1/trace?for=5", "", 400, "for must be a duration"},
		{"GET /api/v1/trace?for=-5s", "", 400, "for must be a duration"},
		{"GET /api/v1/trace?count=0", "", 400, "count must be 1 or more"},
		{"GET /api/v1/events?after=now", "", 400, "after must be the number"},
	} {
		code, body := call(t, spec, r.base, tc.request, tc.body)
		if code != tc.code || !strings.Contains(body, tc.text) {
			t.Errorf("%s: %d %s, want %d %s", tc.request, code, body, tc.code, tc.text)
		}
	}
	if d.last() != "" {
		t.Errorf("a bad request was carried out: %s", d.last())
	}
}

// frames reads server-sent events: name and data of each.
func frames(ctx context.Context, t *testing.T, url string, header ...string) <-chan [2]string {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	all := make(chan [2]string)
	go func() {
		defer close(all)
		defer resp.Body.Close()
		var f [2]string
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			switch k, v, _ := strings.Cut(lines.Text(), ": "); k {
			case "event":
				f[0] = v
			case "data":
				f[1] = v
			case "":
				select {
				case all <- f:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return all
}

// TestEvents: a stream has what happens from now on, or after the event that the client had last, and ends with the server.
func TestEvents(t *testing.T) {
	_, log, r, _ := serveAPI(t)
	log.Add(api.Event{Type: "state", Text: "one"})
	log.Add(api.Event{Type: "state", Text: "two"})
	have := log.Since(0)
	fresh := frames(t.Context(), t, r.base+"/api/v1/events?load=true")
	again := frames(t.Context(), t, r.base+"/api/v1/events", "Last-Event-ID", jsonText(have[0].ID))
	if f := <-again; !strings.Contains(f[1], `"two"`) {
		t.Errorf("connected again: %v", f)
	}
	if f := <-fresh; f != [2]string{"load", `{"0a1b2c3d":3}`} {
		t.Errorf("load: %v", f)
	}
	log.Add(api.Event{Type: "operator", Text: "three"})
	for _, c := range []<-chan [2]string{fresh, again} {
		f := <-c
		var e api.Event
		if err := json.Unmarshal([]byte(f[1]), &e); err != nil || f[0] != "operator" || e.Text != "three" || e.ID != have[1].ID+1 {
			t.Errorf("%v %v", f, err)
		}
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	for range fresh {
	}
	for range again {
	}
}

func jsonText(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// TestTooManyStreams: watchers cannot take all of the daemon's memory.
func TestTooManyStreams(t *testing.T) {
	_, _, r, spec := serveAPI(t)
	ctx, cancel := context.WithCancel(t.Context())
	var open []<-chan [2]string
	for range maxStreams {
		open = append(open, frames(ctx, t, r.base+"/api/v1/events"))
	}
	req, _ := http.NewRequest(http.MethodGet, r.base+"/api/v1/events", http.NoBody)
	req.Header.Set("Accept", "text/event-stream")
	resp, err := apitest.Transport{Spec: spec, Next: client.Transport}.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 503 {
		t.Errorf("%d", resp.StatusCode)
	}
	cancel()
	for _, c := range open {
		for range c {
		}
	}
}
