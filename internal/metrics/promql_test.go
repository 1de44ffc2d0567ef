package metrics

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestQueries: the PromQL in the documentation is well-formed and asks for metrics that exist.
func TestQueries(t *testing.T) {
	data, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	var queries []string
	for _, m := range regexp.MustCompile("(?s)```promql\n(.*?)```").FindAllStringSubmatch(string(data), -1) {
		queries = append(queries, m[1])
	}
	if len(queries) == 0 {
		t.Fatalf("%s has no queries", docsFile)
	}
	real := scraped(t)
	suffix := regexp.MustCompile(`_(bucket|sum|count)$`)
	for _, q := range queries {
		for _, name := range regexp.MustCompile(namespace+`_\w+`).FindAllString(q, -1) {
			if r, ok := real[suffix.ReplaceAllString(name, "")]; !ok || suffix.MatchString(name) != (r.kind == "histogram") {
				t.Errorf("no metric %s, which is asked for in\n%s", name, q)
			}
		}
	}

	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("no promtool on the path: queries are not parsed")
	}
	var rules strings.Builder
	rules.WriteString("groups:\n- name: documentation\n  rules:\n")
	for i, q := range queries {
		rules.WriteString("  - record: q" + strconv.Itoa(i) + "\n    expr: " + strconv.Quote(q) + "\n")
	}
	file := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(promtool, "check", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("promtool check rules: %v\n%s", err, out)
	}
}
