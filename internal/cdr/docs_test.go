package cdr

import (
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// kinds are what the documentation calls the types of fields.
var kinds = map[reflect.Type]string{
	reflect.TypeFor[time.Time](): "time", reflect.TypeFor[string](): "string", reflect.TypeFor[int](): "number", reflect.TypeFor[int64](): "number",
	reflect.TypeFor[float64](): "number", reflect.TypeFor[bool](): "boolean", reflect.TypeFor[map[string]string](): "object",
}

func fields(path string, t reflect.Type, into map[string]string) {
	for f := range t.Fields() {
		name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
		kind := kinds[f.Type]
		if f.Type.Kind() == reflect.Slice {
			kind = "list"
			if f.Type.Elem().Kind() == reflect.Struct {
				fields(path+name+"[].", f.Type.Elem(), into)
			}
		}
		optional := ""
		if option != "" {
			optional = "optional"
		}
		into[path+name] = kind + " " + optional
	}
}

// TestDocumentation: the table has every field, its type and whether it may be absent, and no other.
func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../docs/cdr.md")
	if err != nil {
		t.Fatal(err)
	}
	want, got := map[string]string{}, map[string]string{}
	fields("", reflect.TypeFor[Record](), want)
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (\\w+) \\| (\\w*) *\\| .+ \\|$").FindAllStringSubmatch(string(text), -1) {
		got[m[1]] = m[2] + " " + m[3]
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			t.Errorf("%s is documented as %q, but is %q", name, got[name], want[name])
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s is documented, but there is no such field", name)
		}
	}
	for _, by := range []string{ByClient, ByServer, ByProxy, ByOperator, ByInstance, Unknown} {
		if !strings.Contains(string(text), "`"+by+"`") {
			t.Errorf("ended_by %s is not documented", by)
		}
	}
}
