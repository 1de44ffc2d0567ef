package deptest

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestDependencies compares docs/dependencies.md with go.mod: each direct requirement has a row that says why, and no row
// outlives its requirement.
func TestDependencies(t *testing.T) {
	fsys := os.DirFS(root)
	doc, err := fs.ReadFile(fsys, "docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := fs.ReadFile(fsys, "go.mod")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(string(doc), -1) {
		documented[m[1]] = true
	}
	required := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^(?:require )?\s*(\S+) v\d\S*(.*)$`).FindAllStringSubmatch(string(mod), -1) {
		required[m[1]] = true
		if !strings.Contains(m[2], "// indirect") && !documented[m[1]] {
			t.Errorf("go.mod requires %s directly, and docs/dependencies.md has no row for it", m[1])
		}
	}
	for name := range documented {
		if !required[name] {
			t.Errorf("docs/dependencies.md has a row for %s, which go.mod does not require", name)
		}
	}
}
