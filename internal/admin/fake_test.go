package admin

import (
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"mrcproxy/internal/api"
	"mrcproxy/internal/trace"
)

var (
	noon  = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	later = noon.Add(time.Hour)
)

// fake is a daemon in which every field of every answer has a value.
type fake struct {
	status func() api.Status

	traces *trace.Hub

	mu   sync.Mutex
	done []string // what was asked for
}

func (f *fake) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done = append(f.done, fmt.Sprintf(format, args...))
}

func (f *fake) last() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.done) == 0 {
		return ""
	}
	return f.done[len(f.done)-1]
}

func (f *fake) Status() api.Status {
	if f.status != nil {
		return f.status()
	}
	return api.Status{Version: "v1", IDC: "sh-a", Started: noon, Now: later, Why: "no cluster can take a session", Sessions: 3, Backends: f.Backends(true),
		Names: []api.Name{{Name: "asr.test", Addresses: 2, LastSuccess: noon, Error: "SERVFAIL"}}}
}

func sums() api.Sums {
	return api.Sums{Backends: 1, States: map[string]int{"draining": 1}, Sessions: 3, Capacity: api.Unlimited, Picked: 9}
}

func (f *fake) Clusters() []api.Cluster {
	g := api.Group{Cluster: "asr", IDC: "sh-a", Priority: 1, Local: true, Sums: sums()}
	return []api.Cluster{
		{Name: "asr", Policy: "least-load", Fallback: []string{"tts"}, FellBack: map[string]int{"tts": 2}, Sums: sums(), Groups: []api.Group{g}},
		{Name: "tts", Policy: "weighted", Fallback: []string{}, Sums: sums(), Groups: []api.Group{}},
	}
}

func (f *fake) Backends(load bool) []api.Backend {
	n := 1
	b := api.Backend{ID: "0a1b2c3d", Cluster: "asr", IDC: "sh-a", Priority: 1, URI: "sip:10.1.1.1:8060", State: "draining", Reason: "why not", Since: noon,
		Health: "up", Held: true, HeldUntil: later, Sessions: 3, Elsewhere: 1, Capacity: 50, Weight: 5, FileWeight: &n, Picked: 9, Wish: &wish,
		Probes:   []api.Probe{{At: noon, OK: true, Code: 200, Reason: "fine", MS: 1.5}},
		Failures: []api.Failure{{At: noon, Kind: "refused", Reason: "486"}}}
	if load {
		b.Load = []int{1, 2, 3}
		b.Changes = []api.Change{{At: noon, From: "up", To: "down", Evidence: "call failed", Reason: "ejected"}}
	}
	return []api.Backend{b}
}

var wish = api.Wish{Scope: api.Scope{Cluster: "asr", Backend: "sip:10.1.1.1:8060", IDC: "sh-a"}, Mode: "drain", Since: noon, Until: later, Reason: "new disk", By: "eve"}

func (f *fake) Backend(id string) (api.Backend, error) {
	if id != "0a1b2c3d" {
		return api.Backend{}, &api.Error{Status: http.StatusNotFound, Message: "there is no backend " + id}
	}
	return f.Backends(true)[0], nil
}

func (f *fake) Loads() map[string]int { return map[string]int{"0a1b2c3d": 3} }

func (f *fake) Sessions(q api.SessionQuery) (api.SessionPage, error) {
	f.note("%+v", q)
	s := api.Session{ID: "00000000000000ff", CallID: "x@y", Route: "asr", Cluster: "tts", Wanted: "asr", IDC: "sh-a", Backend: "sip:10.1.1.1:8060", Start: noon,
		Client: "10.1.0.5:5090", Resource: "speechrecog", Expires: later, Learned: true, SetupMS: 2.5, Attempts: []api.Attempt{{Backend: "sip:10.1.1.1:8060", Outcome: "200", MS: 2}}}
	return api.SessionPage{Sessions: []api.Session{s}, Total: 2, Next: s.ID}, nil
}

func (f *fake) Terminate(id, by string) error {
	f.note("terminate %s by %s", id, by)
	return nil
}

func (f *fake) Operator() api.Operator {
	return api.Operator{Wishes: []api.Wish{wish}, Weights: []api.Weight{{Cluster: "asr", Backend: "sip:10.1.1.1:8060", Weight: 5, Since: noon, Reason: "new disk", By: "eve"}},
		Why: "no space left on device"}
}

func (f *fake) Do(v Verb, a api.Action) (api.Result, error) {
	f.note("%s %+v by %s", v, a.Scope, a.By)
	return api.Result{Backends: 1, Sessions: 3, Changed: true, Warning: "still out"}, nil
}

func (f *fake) Config() (api.Config, error) {
	return api.Config{File: "f.yaml", Loaded: noon, YAML: "idc: sh-a\n",
		Last: api.Reload{At: later, Cause: "SIGHUP", Error: "f.yaml:1: idc: unknown", Changes: []string{"idc: a -> b"}, NeedsRestart: []string{"listen"}}}, nil
}

func (f *fake) Diff() (api.Diff, error) {
	return api.Diff{Changes: []string{"idc: a -> b"}, NeedsRestart: []string{"listen"}}, nil
}

func (f *fake) Reload(by string) error {
	f.note("reload by %s", by)
	return nil
}

func (f *fake) Trace(q api.TraceQuery) (*trace.Watcher, error) {
	f.note("trace %+v", q)
	if q.Backend == "nobody" {
		return nil, &api.Error{Status: http.StatusNotFound, Message: "there is no backend nobody"}
	}
	return f.traces.Watch(trace.Filter{CallID: q.CallID}, 10, 1<<20), nil
}

func (f *fake) Route(invite []byte, source netip.Addr) (api.Route, error) {
	f.note("route %q from %s", invite, source)
	return api.Route{CallID: "x@y", UserAgent: "ASR", Source: source.String(), Resources: []string{"speechrecog"},
		Routes: []api.RouteStep{{Route: "tts", Cluster: "tts", Matched: true, Why: "not"}}, Route: "asr", Cluster: "asr", Code: 480, Why: "full",
		Backend: "sip:10.1.1.1:8060", IDC: "sh-a", Candidates: []api.Candidate{{Cluster: "asr", IDC: "sh-a", Priority: 1, Level: 2, Backend: "sip:10.1.1.1:8060",
			Sessions: 3, Capacity: -1, Weight: 1, Usable: true, Chosen: true, Why: "chosen"}}}, nil
}
