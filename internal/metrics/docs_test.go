package metrics

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

const docsFile = "../../docs/metrics.md"

// row is a metric: its type, and its labels in order.
type row struct{ kind, labels string }

// documented are the metrics in the tables of the documentation.
func documented(t *testing.T) map[string]row {
	t.Helper()
	data, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]row{}
	for line := range strings.Lines(string(data)) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 || !strings.HasPrefix(cells[1], " `") {
			continue
		}
		name := strings.Trim(cells[1], " `")
		if _, twice := rows[name]; twice {
			t.Errorf("%s is documented twice", name)
		}
		if strings.TrimSpace(cells[4]) == "" {
			t.Errorf("%s has no meaning", name)
		}
		labels := strings.Split(strings.NewReplacer("`", "", " ", "").Replace(cells[3]), ",")
		slices.Sort(labels)
		rows[name] = row{strings.TrimSpace(cells[2]), strings.Join(labels, ",")}
	}
	return rows
}

// scraped are our metrics in a scrape after one event of each kind.
func scraped(t *testing.T) map[string]row {
	t.Helper()
	b := farm(t, first, second)
	m := over(b)
	everything(t, m, b)
	families, err := m.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]row{}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), namespace+"_") {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		if labels == nil {
			labels = []string{""}
		}
		slices.Sort(labels)
		rows[f.GetName()] = row{strings.ToLower(f.GetType().String()), strings.Join(labels, ",")}
	}
	return rows
}

// TestDocumentation compares the documentation with a scrape, in both directions.
func TestDocumentation(t *testing.T) {
	docs, real := documented(t), scraped(t)
	for name, r := range real {
		switch d, ok := docs[name]; {
		case !ok:
			t.Errorf("%s does not describe %s", docsFile, name)
		case d != r:
			t.Errorf("%s: documented as %+v, but is %+v", name, d, r)
		}
	}
	for name := range docs {
		if _, ok := real[name]; !ok {
			t.Errorf("%s describes %s, which is not in a scrape", docsFile, name)
		}
	}
}

// TestDocumentedValues: the documentation names every value of a label that has few.
func TestDocumentedValues(t *testing.T) {
	data, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	b := farm(t, first)
	m := over(b)
	everything(t, m, b)
	families, err := m.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), namespace+"_") {
			continue
		}
		for _, s := range f.GetMetric() {
			for _, l := range s.GetLabel() {
				if slices.Contains([]string{"reason", "state", "result"}, l.GetName()) && !strings.Contains(string(data), "`"+l.GetValue()+"`") {
					t.Errorf("%s does not name %s %s of %s", docsFile, l.GetName(), l.GetValue(), f.GetName())
				}
			}
		}
	}
}

// TestLint: Prometheus' rules for names, help and units.
func TestLint(t *testing.T) {
	b := farm(t, first, second)
	m := over(b)
	everything(t, m, b)
	text := scrape(t, m)
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}

	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("no promtool on the path: only the library's rules are checked")
	}
	check := exec.Command(promtool, "check", "metrics")
	check.Stdin = strings.NewReader(text)
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}
