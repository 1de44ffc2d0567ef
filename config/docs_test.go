package config

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	docsFile    = "../docs/configuration.md"
	exampleFile = "../deploy/mrcproxy.yaml"
)

// allKeys gives every key of the file that holds a value, with [] for the items of lists.
func allKeys() []string {
	var keys []string
	var walk func(path string, t reflect.Type)
	walk = func(path string, t reflect.Type) {
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		switch {
		case t.Kind() == reflect.Struct:
			for f := range t.Fields() {
				walk(join(path, f.Tag.Get("mapstructure")), f.Type)
			}
		case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
			walk(path+"[]", t.Elem())
		default:
			keys = append(keys, path)
		}
	}
	walk("", reflect.TypeFor[rawConfig]())
	return keys
}

// documented gives the rows of the documentation's tables of keys: type, default, reload, effect.
func documented(t *testing.T) map[string][]string {
	data, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[string][]string)
	for line := range strings.Lines(string(data)) {
		cells := strings.Split(strings.ReplaceAll(strings.TrimSpace(line), `\|`, "/"), "|")
		if len(cells) != 7 || !strings.HasPrefix(cells[1], " `") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		key := strings.Trim(cells[1], "`")
		if rows[key] != nil {
			t.Errorf("%s is documented twice", key)
		}
		rows[key] = cells[2:6]
	}
	return rows
}

// expandHealth replaces clusters[].health, which stands for all keys of health.
func expandHealth(keys []string) []string {
	var all []string
	for _, key := range keys {
		all = append(all, key)
		if key == "clusters[].health" {
			all = all[:len(all)-1]
			for _, other := range allKeys() {
				if sub, ok := strings.CutPrefix(other, "health."); ok {
					all = append(all, key+"."+sub)
				}
			}
		}
	}
	slices.Sort(all)
	return all
}

func TestDocumentedKeys(t *testing.T) {
	got := expandHealth(slices.Collect(maps.Keys(documented(t))))
	want := slices.Sorted(slices.Values(allKeys()))
	for _, key := range want {
		if !slices.Contains(got, key) {
			t.Errorf("%s does not describe %s", docsFile, key)
		}
	}
	for _, key := range got {
		if !slices.Contains(want, key) {
			t.Errorf("%s describes %s, which does not exist", docsFile, key)
		}
	}
}

// TestDocumentedDefaults compares the defaults in the documentation with those of a file that gives nothing.
func TestDocumentedDefaults(t *testing.T) {
	clearEnv(t)
	c := parse(t, minimal)
	real := make(map[string]string)
	for _, f := range topFields(c) {
		real[f.key] = f.value
	}
	b := placed{Backend: c.Clusters[0].Groups[0].Backends[0]}
	for _, f := range b.fields() {
		real["clusters[].groups[].backends[]."+f.key] = f.value
	}
	for _, f := range c.Clusters[0].fields() {
		real["clusters[]."+f.key] = f.value
	}
	for _, f := range routeFields(Route{}) {
		real["routes[]."+f.key] = f.value
	}
	real["clusters[].groups[].priority"] = "0"

	words := []string{"none", "required", "everyone", "no limit", "no condition", "as `health`", "by the method", "see below", "made, and kept in `data_dir`"}
	for key, row := range documented(t) {
		want, shown := strings.CutPrefix(row[1], "`")
		want = strings.TrimSuffix(want, "`")
		switch got, ok := real[key]; {
		case shown && !ok:
			t.Errorf("%s: the documented default %s is not checked", key, want)
		case shown && got != want:
			t.Errorf("%s: the documented default is %s, the real one %s", key, want, got)
		case !shown && !slices.Contains(words, row[1]):
			t.Errorf("%s: default %q", key, row[1])
		case !shown && row[1] != "required" && row[1] != "see below" && got != "":
			t.Errorf("%s: the documented default is %s, the real one %s", key, row[1], got)
		}
	}
}

func TestDocumentedReload(t *testing.T) {
	for key, row := range documented(t) {
		want := "yes"
		if slices.Contains(restartKeys(), key) {
			want = "restart"
		}
		if row[2] != want {
			t.Errorf("%s: reload is documented as %q, want %q", key, row[2], want)
		}
	}
}

// TestDocumentedConfigs loads every YAML block of the documentation that is a whole configuration.
func TestDocumentedConfigs(t *testing.T) {
	clearEnv(t)
	loaded := 0
	files, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, "../README.md") {
		loaded += loadBlocks(t, file)
	}
	if loaded < 2 {
		t.Errorf("%d configurations found", loaded)
	}
}

// loadBlocks parses the configurations in a document, and counts them.
func loadBlocks(t *testing.T, file string) (loaded int) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(data), -1) {
		if !strings.Contains("\n"+m[1], "\nlisten:") {
			continue
		}
		loaded++
		if _, err := Parse(file, []byte(m[1])); err != nil {
			t.Errorf("%v\n%s", err, m[1])
		}
	}
	return loaded
}

func TestExample(t *testing.T) {
	clearEnv(t)
	c, err := Load(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Clusters) != 2 || len(c.Routes) != 3 {
		t.Errorf("loaded %d clusters and %d routes", len(c.Clusters), len(c.Routes))
	}
}

// TestExampleDefaults holds the example to its word: what it gives at the top is what holds when it is left out.
func TestExampleDefaults(t *testing.T) {
	clearEnv(t)
	example, err := Load(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	own := []string{"idc", "listen", "advertise", "data_dir", "handover.socket", "clients.allow"}
	without := topFields(parse(t, minimal))
	for i, f := range topFields(example) {
		if !slices.Contains(own, f.key) && f != without[i] {
			t.Errorf("%s is %s in the example, the default is %s", f.key, f.value, without[i].value)
		}
	}
}

// TestExampleKeys finds every key in the example, switched on or off.
func TestExampleKeys(t *testing.T) {
	data, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`(?m)^( *)#([a-z_]+:)`).ReplaceAllString(string(data), "$1$2")
	tree, errs := parseTree("example with all keys", []byte(text))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	s := &schema{places: make(map[string]place), bad: make(map[string]bool)}
	s.check("", tree, reflect.TypeFor[rawConfig]())
	if len(s.errs) > 0 {
		t.Fatal(s.errs)
	}
	given := make(map[string]bool)
	for path := range s.places {
		given[regexp.MustCompile(`\[\d+\]`).ReplaceAllString(path, "[]")] = true
	}
	for _, key := range allKeys() {
		if !given[key] && !strings.HasPrefix(key, "clusters[].health.") {
			t.Errorf("%s does not have %s", exampleFile, key)
		}
	}
	if !given["clusters[].health"] || !given["routes[].match.header.x-tenant"] {
		t.Errorf("%s lacks health of a cluster or a header", exampleFile)
	}
}
