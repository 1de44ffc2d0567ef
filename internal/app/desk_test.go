package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	logged "go.uber.org/zap/zaptest/observer"

	"mrcproxy/balancer"
	"mrcproxy/config"
	"mrcproxy/internal/api"
	"mrcproxy/internal/api/apitest"
	"mrcproxy/internal/sim"
)

// desk is a daemon with three simulated servers, two in its own IDC, and an operator's client, which holds every request
// and answer against docs/openapi.yaml.
type desk struct {
	t     *testing.T
	dir   string
	spec  *apitest.Spec
	fleet *sim.Fleet
	text  atomic.Pointer[string]
	app   *App
	log   *logged.ObservedLogs
	end   func()
}

const deskConfig = `
idc: a
data_dir: %[4]s
listen: ["udp://127.0.0.1:0", "tcp://127.0.0.1:0"]
admin: {listen: "127.0.0.1:0", token: "a token for the operator"}
health: {interval: 20ms, timeout: 500ms, rise: 1, fall: 1}
secret: a-secret-for-the-test
routes: [{name: asr, match: {resource: speechrecog}, cluster: asr}]
clusters:
  - name: asr
    groups:
      - idc: a
        backends: [{uri: "sip:%[1]s", capacity: 5, weight: 2}, {uri: "sip:%[2]s", capacity: 5}]
      - idc: b
        backends: [{uri: "sip:%[3]s", capacity: 9}]
`

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, dir: t.TempDir()}
	var err error
	if d.spec, err = apitest.Load(); err != nil {
		t.Fatal(err)
	}
	if d.fleet, err = sim.StartFleet(3, sim.ServerOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.fleet.Stop)
	a := d.fleet.Addrs()
	d.configure(fmt.Sprintf(deskConfig, a[0], a[1], a[2], d.dir))
	d.start()
	t.Cleanup(func() { d.end() })
	return d
}

func (d *desk) configure(text string) { d.text.Store(&text) }

func (d *desk) uri(n int) string { return "sip:" + d.fleet.Addrs()[n].String() }

// start runs a daemon with what the data directory has.
func (d *desk) start() {
	d.t.Helper()
	core, log := logged.New(zap.InfoLevel)
	d.log = log
	var err error
	d.app, err = New(Options{Load: func() (*config.Config, error) { return config.Parse("f.yaml", []byte(*d.text.Load())) }, Log: zap.New(core), Version: "v1"})
	if err != nil {
		d.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- d.app.Run(ctx) }()
	d.end = func() {
		cancel()
		if err := <-done; err != nil {
			d.t.Error(err)
		}
		d.end = func() {}
	}
	d.await("all servers have been probed", func() bool { return !strings.Contains(d.states(), "unknown") })
}

// ask makes one request and decodes the answer into into, unless it is nil. It returns the status, and the text.
func (d *desk) ask(request string, body, into any) (int, string) {
	d.t.Helper()
	method, path, _ := strings.Cut(request, " ")
	raw, isRaw := body.([]byte)
	if !isRaw && body != nil {
		raw, _ = json.Marshal(body)
	}
	req, err := http.NewRequest(method, "http://"+d.app.Admin()+path, bytes.NewReader(raw))
	if err != nil {
		d.t.Fatal(err)
	}
	req.SetBasicAuth("eve", "a token for the operator")
	req.Header.Set("Content-Type", "application/json")
	if isRaw {
		req.Header.Set("Content-Type", "message/sip")
	}
	resp, err := apitest.Transport{Spec: d.spec, Next: &http.Transport{DisableKeepAlives: true}}.RoundTrip(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	if into != nil && resp.StatusCode == 200 {
		if err := json.Unmarshal(text, into); err != nil {
			d.t.Fatal(err)
		}
	}
	return resp.StatusCode, string(text)
}

// do carries an action out.
func (d *desk) do(verb string, a api.Action) api.Result {
	d.t.Helper()
	var r api.Result
	if code, text := d.ask("POST /api/v1/"+verb, a, &r); code != 200 {
		d.t.Fatalf("%s %+v: %d %s", verb, a, code, text)
	}
	return r
}

func (d *desk) backends() []api.Backend {
	d.t.Helper()
	var l []api.Backend
	d.ask("GET /api/v1/backends?load=true", nil, &l)
	return l
}

func (d *desk) states() string {
	var l []string
	for _, b := range d.backends() {
		l = append(l, b.State)
	}
	return strings.Join(l, " ")
}

func (d *desk) await(what string, ok func() bool) {
	d.t.Helper()
	end := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(end) {
			d.t.Fatalf("in vain: %s: %s\n%v", what, d.states(), d.log.All())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// picks places n sessions and returns how many each server got.
func (d *desk) picks(n int) (got [3]int) {
	d.t.Helper()
	for range n {
		l, why := d.app.bal.Pick(balancer.Request{Cluster: "asr", Now: time.Now()})
		if l == nil {
			d.t.Fatal(why)
		}
		for i := range got {
			if l.Backend().URI() == d.uri(i) {
				got[i]++
			}
		}
		defer l.Release()
	}
	return got
}
