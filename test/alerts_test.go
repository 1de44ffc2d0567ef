package test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

const deployed = "../deploy/"

// webhook is where Alertmanager's messages arrive: by receiver, the last part of the URL's path.
type webhook struct {
	mu   sync.Mutex
	sent []notice
}

// notice is one message (Alertmanager's webhook format, version 4).
type notice struct {
	receiver string
	at       time.Time
	Status   string
	Alerts   []struct {
		Status              string
		Labels, Annotations map[string]string
	}
}

func (l *lab) webhook(addr string) *webhook {
	l.t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		l.t.Fatal(err)
	}
	w := &webhook{}
	s := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		n := notice{receiver: strings.TrimPrefix(r.URL.Path, "/"), at: time.Now()}
		if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
			l.t.Errorf("webhook: %v", err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.sent = append(w.sent, n)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(ln) // ends with Close
	}()
	l.t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return w
}

// got is the first message to a receiver about an alert of the cluster in that status.
func (w *webhook) got(receiver, name, cluster, status string) (notice, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.sent {
		for _, a := range n.Alerts {
			if n.receiver == receiver && a.Status == status && a.Labels["alertname"] == name && a.Labels["cluster"] == cluster {
				return n, true
			}
		}
	}
	return notice{}, false
}

// spawn runs a program of Debian's until the test ends; its log is shown if that fails.
func (l *lab) spawn(name, pkg string, args ...string) {
	l.t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		l.t.Fatalf("%s is not installed: `make deps` installs it (Debian package %s)", name, pkg)
	}
	log, err := os.Create(filepath.Join(l.dir, name+".log"))
	if err != nil {
		l.t.Fatal(err)
	}
	c := exec.Command(path, args...)
	c.Dir, c.Stdout, c.Stderr = l.dir, log, log
	if err := c.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		_ = log.Close()
		if l.t.Failed() {
			b, _ := os.ReadFile(log.Name())
			l.t.Logf("log of %s:\n%s", name, tail(b, 3000))
		}
	})
}

// example copies a file of deploy into the lab, with what is particular to the lab in the place of the example's.
func (l *lab) example(name string, replace ...string) string {
	l.t.Helper()
	b, err := os.ReadFile(deployed + name)
	if err != nil {
		l.t.Fatal(err)
	}
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(string(b), replace[i]) {
			l.t.Fatalf("%s does not have %s", name, replace[i])
		}
	}
	file := filepath.Join(l.dir, filepath.Base(name))
	if err := os.WriteFile(file, []byte(strings.NewReplacer(replace...).Replace(string(b))), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return file
}

// prometheus is a running one.
type prometheus struct{ base string }

// query gives the number of series of the answer.
func (p prometheus) query(expr string) (int, error) {
	code, text := do(http.DefaultClient, request(p.base+"/api/v1/query?query="+url.QueryEscape(expr)))
	var r struct {
		Data struct{ Result []json.RawMessage }
	}
	if err := json.Unmarshal([]byte(text), &r); code != 200 || err != nil {
		return 0, fmt.Errorf("%d %s", code, text)
	}
	return len(r.Data.Result), nil
}

func request(url string) *http.Request {
	r, _ := http.NewRequest(http.MethodGet, url, nil)
	return r
}

// TestAlerts: the examples of deploy for Prometheus and Alertmanager, with real ones of both, tell a person within 30 s that a
// cluster has lost its data centre, and then that it is over. Meanwhile each query of the dashboard has data.
func TestAlerts(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	var near [2]*sim.Server
	for i := range near {
		near[i] = l.simServer(21+i, sim.ServerOptions{})
	}
	l.simServer(23, sim.ServerOptions{})
	d := l.start(l.head() + `
routes:
  - {name: full, match: {user_agent: FULL}, cluster: full}
  - {name: baidu, match: {mrcp: true}, cluster: baidu}
clusters:
  - name: baidu
    groups:
      - idc: a
        backends:
          - {uri: "sip:` + l.ip(21) + `:8060", capacity: 50}
          - {uri: "sip:` + l.ip(22) + `:8060", capacity: 50}
      - idc: b
        backends: [{uri: "sip:` + l.ip(23) + `:8060", capacity: 50}]
  - {name: full, groups: [{idc: a, backends: [{uri: "sip:` + l.ip(23) + `:8060", capacity: 0}]}]}
`)
	hook := l.webhook(l.ip(5) + ":9095")
	manager, prom := l.ip(11)+":9093", prometheus{"http://" + l.ip(12) + ":9090"}
	l.spawn("prometheus-alertmanager", "prometheus-alertmanager", "--config.file", l.example("alertmanager/alertmanager.yaml", "127.0.0.1:9095", l.ip(5)+":9095"),
		"--storage.path", filepath.Join(l.dir, "alertmanager"), "--web.listen-address", manager, "--cluster.listen-address=")
	l.example("prometheus/rules.yaml")
	l.spawn("prometheus", "prometheus", "--config.file", l.example("prometheus/prometheus.yaml", "10.1.0.5:9060, 10.1.0.6:9060", l.ip(10)+":9060", "127.0.0.1:9093", manager),
		"--storage.tsdb.path", filepath.Join(l.dir, "prometheus"), "--web.listen-address", l.ip(12)+":9090")
	stop := l.callers()
	defer stop()
	d.await("Prometheus sees all servers up", 60*time.Second, func() bool {
		n, err := prom.query("sum(mrcproxy_backend_up) == 4 and on () up == 1")
		return err == nil && n == 1
	})

	killed := time.Now()
	for _, s := range near {
		s.Kill()
	}
	d.await("a person is told", 30*time.Second, func() bool {
		_, ok := hook.got("tier1-baidu", "MrcproxyIDCDown", "baidu", "firing")
		return ok
	})
	n, _ := hook.got("tier1-baidu", "MrcproxyIDCDown", "baidu", "firing")
	t.Logf("told after %.1f s", n.at.Sub(killed).Seconds())
	for _, a := range n.Alerts {
		if a.Labels["idc"] != "a" || !strings.HasSuffix(a.Annotations["runbook_url"], "/runbook.md#mrcproxyidcdown") {
			t.Errorf("labels %v, annotations %v", a.Labels, a.Annotations)
		}
	}
	if _, ok := hook.got("tier1", "MrcproxyIDCDown", "baidu", "firing"); ok {
		t.Error("the people of other clusters were told, too")
	}
	var blank []string
	t.Cleanup(func() {
		if len(blank) > 0 {
			t.Logf("panels without data: %q", blank)
		}
	})
	d.await("each query of the dashboard has data", 60*time.Second, func() bool {
		blank = prom.blank(t)
		return len(blank) == 0 || t.Failed()
	})

	revived := time.Now()
	for _, s := range near {
		if err := s.Revive(); err != nil {
			t.Fatal(err)
		}
	}
	d.await("a person is told that it is over", 90*time.Second, func() bool {
		n, ok := hook.got("tier1-baidu", "MrcproxyIDCDown", "baidu", "resolved")
		return ok && n.at.After(revived)
	})
	t.Logf("resolved after %.1f s", time.Since(revived).Seconds())
}

// TestEscalationEnds: when nobody is called any more for one alert of a cluster, people still are for another one.
func TestEscalationEnds(t *testing.T) {
	l := newLab(t)
	manager := l.ip(11) + ":9093"
	l.spawn("prometheus-alertmanager", "prometheus-alertmanager", "--config.file", l.example("alertmanager/alertmanager.yaml", "127.0.0.1:9095", l.ip(5)+":9095"),
		"--storage.path", filepath.Join(l.dir, "alertmanager"), "--web.listen-address", manager, "--cluster.listen-address=")
	const both = `"instance":"p1","cluster":"asr"`
	alerts := `[{"labels":{"alertname":"MrcproxyErrorRate","severity":"critical","origin":"MrcproxyErrorRate",` + both + `}},
		{"labels":{"alertname":"MrcproxyClusterDown","severity":"critical","origin":"MrcproxyClusterDown",` + both + `}},
		{"labels":{"alertname":"MrcproxyEscalationEnded","severity":"escalation","origin":"MrcproxyErrorRate",` + both + `}}]`
	await(t, "Alertmanager takes the alerts", 30*time.Second, func() bool {
		r, _ := http.NewRequest(http.MethodPost, "http://"+manager+"/api/v2/alerts", strings.NewReader(alerts))
		r.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	state := map[string]string{}
	await(t, "Alertmanager has judged", 30*time.Second, func() bool {
		_, text := do(http.DefaultClient, request("http://"+manager+"/api/v2/alerts"))
		var got []struct {
			Labels map[string]string
			Status struct{ State string }
		}
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			return false
		}
		for _, a := range got {
			state[a.Labels["alertname"]] = a.Status.State
		}
		return len(got) == 3 && state["MrcproxyErrorRate"] == "suppressed" && state["MrcproxyEscalationEnded"] == "active"
	})
	if state["MrcproxyClusterDown"] != "active" {
		t.Errorf("of the alerts that nobody has been called for yet: %v", state)
	}
}

// callers places sessions of both routes until stop is called.
func (l *lab) callers() (stop func()) {
	var wg sync.WaitGroup
	end := make(chan struct{})
	for _, ua := range []string{"FS", "FULL"} {
		c := l.simClient(sim.ClientOptions{UserAgent: ua})
		wg.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				_ = c.Session(l.t.Context(), 200*time.Millisecond) // the alerts tell what became of it
				if ua == "FULL" {
					time.Sleep(100 * time.Millisecond) // refused at once: a pace
				}
			}
		})
	}
	return func() {
		close(end)
		wg.Wait()
	}
}

// blank gives the queries of the dashboard that have no data.
func (p prometheus) blank(t *testing.T) (l []string) {
	b, err := os.ReadFile(deployed + "grafana/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, panel := range d.Panels {
		for _, target := range panel.Targets {
			asked++
			n, err := p.query(strings.NewReplacer("$__rate_interval", "30s", "$cluster", ".*", "$instance", ".*").Replace(target.Expr))
			if err != nil {
				t.Errorf("%s: %v", panel.Title, err)
			}
			if n == 0 {
				l = append(l, panel.Title)
			}
		}
	}
	if asked == 0 {
		t.Error("the dashboard has no queries")
	}
	return l
}
