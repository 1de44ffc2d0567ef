package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// run is the program with these arguments, on one line.
func run(t *testing.T, line string) string {
	t.Helper()
	var out strings.Builder
	c := root()
	c.SetArgs(strings.Fields(line))
	c.SetOut(&out)
	if err := c.Execute(); err != nil {
		t.Fatalf("mrcproxy %s: %v", line, err)
	}
	return out.String()
}

// TestFreeSWITCHDocs runs the commands of docs/freeswitch.md with the configuration that stands there: each file that the
// page shows must be what one of them prints.
func TestFreeSWITCHDocs(t *testing.T) {
	doc, err := os.ReadFile("../../docs/freeswitch.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(doc)
	yaml := regexp.MustCompile("(?s)\n```yaml\n(.*?)```").FindStringSubmatch(page)
	if yaml == nil {
		t.Fatal("there is no configuration on the page")
	}
	file := filepath.Join(t.TempDir(), "mrcproxy.yaml")
	if err := os.WriteFile(file, []byte(yaml[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "check -c "+file)
	var printed strings.Builder
	for _, m := range regexp.MustCompile(`(?m)^ *mrcproxy (freeswitch .*)$`).FindAllStringSubmatch(page, -1) {
		printed.WriteString(run(t, m[1]+" -c "+file) + "\n")
	}
	files := regexp.MustCompile("(?s)```xml\n(<!-- conf/.*?)```").FindAllStringSubmatch(page, -1)
	if len(files) < 4 {
		t.Errorf("the page shows %d files", len(files))
	}
	for _, f := range files {
		if !strings.Contains(printed.String(), f[1]) {
			t.Errorf("no command of the page prints\n%s", f[1])
		}
	}
	for _, path := range regexp.MustCompile("(?m)^ *\\| `(conf/[^`]+)`").FindAllStringSubmatch(page, -1) {
		if !strings.Contains(printed.String(), "<!-- "+path[1]+" -->") {
			t.Errorf("no command of the page prints %s", path[1])
		}
	}
}
