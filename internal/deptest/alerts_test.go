package deptest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const deployed = root + "/deploy/"

// alert is a rule of deploy/prometheus/rules.yaml.
type alert struct {
	Alert       string
	Expr        string
	Labels      map[string]string
	Annotations map[string]string
}

func alerts(t *testing.T) []alert {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []alert }
	}
	if err := yaml.Unmarshal([]byte(text(t, deployed+"prometheus/rules.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	var all []alert
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) == 0 {
		t.Fatal("there are no alerts")
	}
	return all
}

func text(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestRunbook: each alert has a severity, a test, and a section in the runbook that it links to; and each section an alert.
func TestRunbook(t *testing.T) {
	runbook, tests := text(t, root+"/docs/runbook.md"), text(t, deployed+"prometheus/rules_test.yaml")+text(t, deployed+"prometheus/escalation_test.yaml")
	sections := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^## (\w+)\n\n- \*\*Means:\*\* (?:.|\n)+?\n- \*\*Look at:\*\* (?:.|\n)+?\n- \*\*Do:\*\* `).FindAllStringSubmatch(runbook, -1) {
		sections[m[1]] = true
	}
	for _, a := range alerts(t) {
		if !sections[a.Alert] {
			t.Errorf("docs/runbook.md has no section %s that says what it means, what to look at and what to do", a.Alert)
		}
		delete(sections, a.Alert)
		if want := "/runbook.md#" + strings.ToLower(a.Alert); !strings.HasSuffix(a.Annotations["runbook_url"], want) || a.Annotations["summary"] == "" {
			t.Errorf("%s: annotations %v, want a summary and a runbook_url that ends with %s", a.Alert, a.Annotations, want)
		}
		if !regexp.MustCompile("^(critical|warning|info|escalation)$").MatchString(a.Labels["severity"]) {
			t.Errorf("%s: severity %q", a.Alert, a.Labels["severity"])
		}
		if a.Labels["severity"] == "critical" && a.Labels["origin"] != a.Alert {
			t.Errorf("%s: origin %q: Alertmanager cannot tell that its escalation is its own", a.Alert, a.Labels["origin"])
		}
		if !regexp.MustCompile(`alertname: ` + a.Alert + `\n        eval_time: \w+\n        exp_alerts:`).MatchString(tests) {
			t.Errorf("no test of the rules sees %s fire", a.Alert)
		}
	}
	for name := range sections {
		t.Errorf("docs/runbook.md has a section %s, which is no alert", name)
	}
}

// dashboard is what of Grafana's dashboard is checked.
type dashboard struct {
	Panels []struct {
		ID         int
		Type       string
		Title      string
		Datasource map[string]string
		GridPos    struct{ X, Y, W, H int }
		Targets    []struct{ RefID, Expr string }
	}
	Templating struct {
		List []struct{ Name string }
	}
}

// TestDashboard: Grafana takes the dashboard: panels have a number of their own, a source, and a place where no other is.
func TestDashboard(t *testing.T) {
	var d dashboard
	if err := json.Unmarshal([]byte(text(t, deployed+"grafana/dashboard.json")), &d); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"__rate_interval": true}
	for _, v := range d.Templating.List {
		known[v.Name] = true
	}
	ids := map[int]string{}
	places := map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] != "" || p.Title == "" {
			t.Errorf("panels %q and %q have the number %d", ids[p.ID], p.Title, p.ID)
		}
		ids[p.ID] = p.Title
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := places[[2]int{x, y}]; other != "" || x > 23 {
					t.Fatalf("panel %q does not fit, or overlaps %q", p.Title, other)
				}
				places[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if len(p.Targets) == 0 || p.Datasource["uid"] != "${datasource}" {
			t.Errorf("panel %q: targets %v, datasource %v", p.Title, p.Targets, p.Datasource)
		}
		for _, target := range p.Targets {
			for _, v := range regexp.MustCompile(`\$(\w+)`).FindAllStringSubmatch(target.Expr, -1) {
				if !known[v[1]] {
					t.Errorf("panel %q asks with a variable %s that is not there", p.Title, v[0])
				}
			}
		}
	}
}

// TestMetricsInUse: what rules, dashboard and runbook ask for stands in docs/metrics.md, whose own test compares it with the
// program.
func TestMetricsInUse(t *testing.T) {
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(mrcproxy_\\w+)` \\| \\w+ \\|").FindAllStringSubmatch(text(t, root+"/docs/metrics.md"), -1) {
		documented[m[1]] = true
	}
	suffix := regexp.MustCompile(`_(bucket|sum|count)$`)
	for _, name := range []string{deployed + "prometheus/rules.yaml", deployed + "grafana/dashboard.json", root + "/docs/runbook.md", root + "/docs/operations.md"} {
		for _, metric := range regexp.MustCompile(`\bmrcproxy_[a-z_]+`).FindAllString(text(t, name), -1) {
			if !documented[metric] && !documented[suffix.ReplaceAllString(metric, "")] {
				t.Errorf("%s: docs/metrics.md has no %s", name, metric)
			}
		}
	}
}

// TestLossesAreTold: for what is counted as lost, there is an alert and a panel.
func TestLossesAreTold(t *testing.T) {
	lost := regexp.MustCompile("(?m)^\\| `(mrcproxy_\\w*(?:_dropped|_drops)_total)`").FindAllStringSubmatch(text(t, root+"/docs/metrics.md"), -1)
	if len(lost) < 5 {
		t.Fatalf("docs/metrics.md has %q", lost)
	}
	for _, name := range []string{"prometheus/rules.yaml", "grafana/dashboard.json"} {
		for _, m := range lost {
			if !strings.Contains(text(t, deployed+name), m[1]) {
				t.Errorf("deploy/%s does not ask for %s", name, m[1])
			}
		}
	}
}

// TestEscalation: whom Alertmanager's example tells, by its own judgement.
func TestEscalation(t *testing.T) {
	amtool, err := exec.LookPath("amtool")
	if err != nil {
		t.Skip("no amtool")
	}
	for labels, receiver := range map[string]string{
		"alertname=MrcproxyIDCDown severity=critical cluster=baidu":                               "tier1-baidu",
		"alertname=MrcproxyIDCDown severity=critical cluster=ali":                                 "tier1",
		"alertname=MrcproxyTier2 severity=escalation tier=2 cluster=baidu origin=MrcproxyIDCDown": "tier2",
		"alertname=MrcproxyTier3 severity=escalation tier=3 cluster=baidu origin=MrcproxyIDCDown": "tier3",
		"alertname=MrcproxyEscalationEnded severity=escalation cluster=baidu":                     "team",
		"alertname=MrcproxyBackendDown severity=warning cluster=baidu":                            "team",
		"alertname=MrcproxyBackendDraining severity=info cluster=baidu":                           "nobody",
	} {
		args := append([]string{"config", "routes", "test", "--config.file=" + deployed + "alertmanager/alertmanager.yaml", "--verify.receivers=" + receiver},
			strings.Fields(labels)...)
		if out, err := exec.Command(amtool, args...).CombinedOutput(); err != nil {
			t.Errorf("%s does not go to %s: %s", labels, receiver, out)
		}
	}
}

// TestMonitoringFiles has Prometheus' and Alertmanager's own tools judge the files, and run the tests of the rules.
func TestMonitoringFiles(t *testing.T) {
	for _, args := range [][]string{
		{"promtool", "check", "config", "prometheus/prometheus.yaml"},
		{"promtool", "check", "rules", "prometheus/rules.yaml"},
		{"promtool", "test", "rules", "prometheus/rules_test.yaml", "prometheus/escalation_test.yaml"},
		{"amtool", "check-config", "alertmanager/alertmanager.yaml"},
	} {
		t.Run(strings.Join(args[:3], " "), func(t *testing.T) {
			tool, err := exec.LookPath(args[0])
			if err != nil {
				t.Skipf("no %s", args[0])
			}
			dir, err := filepath.Abs(deployed)
			if err != nil {
				t.Fatal(err)
			}
			c := exec.Command(tool, args[1:]...)
			c.Dir = dir
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
