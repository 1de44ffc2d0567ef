package deptest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const conformanceFile = "docs/conformance.md" // from the module's root

// conformanceHeader starts each table of docs/conformance.md.
var conformanceHeader = []string{"requirement", "verdict", "where", "test"}

// requirement is one line of those tables.
type requirement struct {
	text    string
	verdict string   // "yes", "deviates" or "not applicable"
	reason  string   // what stands behind the verdict
	where   []string // "proxy/branch.go:loopHash"
	tests   []string // "proxy.TestRefused/tel:"
	line    int      // in the document, from 1
}

// parseConformance reads the tables of a Markdown document. An error names the line.
func parseConformance(doc string) ([]requirement, error) {
	var all []requirement
	inTable := false
	for i, line := range strings.Split(doc, "\n") {
		cells := tableCells(line)
		switch {
		case slices.Equal(cells, conformanceHeader):
			inTable = true
		case !inTable:
		case cells == nil:
			inTable = false
		case cells[0] != "" && strings.Trim(cells[0], "-: ") == "":
		default:
			r, err := parseRequirement(cells)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", i+1, err)
			}
			r.line = i + 1
			all = append(all, r)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no table with the columns %q", conformanceHeader)
	}
	return all, nil
}

func parseRequirement(cells []string) (r requirement, err error) {
	if len(cells) != len(conformanceHeader) {
		return r, fmt.Errorf("%d columns, want %d", len(cells), len(conformanceHeader))
	}
	r.text = cells[0]
	r.verdict, r.reason, _ = strings.Cut(cells[1], ": ")
	if r.where, err = quotedList(cells[2]); err != nil {
		return r, err
	}
	if r.tests, err = quotedList(cells[3]); err != nil {
		return r, err
	}
	switch {
	case r.text == "":
		return r, fmt.Errorf("no requirement")
	case r.verdict != "yes" && r.verdict != "deviates" && r.verdict != "not applicable":
		return r, fmt.Errorf("verdict %q", r.verdict)
	case r.verdict != "yes" && len(strings.Fields(r.reason)) < 3:
		return r, fmt.Errorf("%s without a reason", r.verdict)
	case r.verdict == "yes" && len(r.tests) == 0:
		return r, fmt.Errorf("yes without a test")
	case r.verdict != "not applicable" && len(r.where) == 0:
		return r, fmt.Errorf("%s without a place in the code", r.verdict)
	}
	return r, nil
}

var backquoted = regexp.MustCompile("`([^`]+)`")

// quotedList takes "`a`, `b`" apart.
func quotedList(cell string) ([]string, error) {
	var list []string
	for _, m := range backquoted.FindAllStringSubmatch(cell, -1) {
		list = append(list, m[1])
	}
	if want := "`" + strings.Join(list, "`, `") + "`"; list != nil && cell != want || list == nil && cell != "" {
		return nil, fmt.Errorf("want names in backquotes with commas between, not %q", cell)
	}
	return list, nil
}

// source is what a package's files declare.
type source struct {
	funcs    map[string]bool // "branch.go:loopHash", and the names of tests
	literals map[string]bool // all strings: names of subtests are among them
}

// readSource parses the Go files of a directory; nil when there are none.
func readSource(fsys fs.FS, dir string) (*source, error) {
	names, err := fs.Glob(fsys, path.Join(dir, "*.go"))
	if err != nil || names == nil {
		return nil, err
	}
	src := &source{map[string]bool{}, map[string]bool{}}
	for _, name := range names {
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		src.add(path.Base(name), file)
	}
	return src, nil
}

func (s *source) add(name string, file *ast.File) {
	s.funcs[name] = true
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			s.funcs[name+":"+n.Name.Name] = true
			if n.Recv == nil && strings.HasSuffix(name, "_test.go") {
				s.funcs[n.Name.Name] = true
			}
		case *ast.BasicLit:
			if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
				s.literals[text] = true
			}
		}
		return true
	})
}

// subtest reports whether a test of the package could have a subtest of that name: it, or each of its parts, is a string
// in the package.
func (s *source) subtest(name string) bool {
	if s.literals[name] {
		return true
	}
	first, rest, nested := strings.Cut(name, "/")
	return nested && s.literals[first] && s.subtest(rest)
}

// sources reads packages once.
type sources struct {
	fsys fs.FS
	read map[string]*source
}

func (s *sources) of(dir string) (*source, error) {
	if src, ok := s.read[dir]; ok {
		return src, nil
	}
	src, err := readSource(s.fsys, dir)
	if err == nil && src == nil {
		err = fmt.Errorf("no package %s", dir)
	}
	s.read[dir] = src
	return src, err
}

// place checks "dir/file.go:function".
func (s *sources) place(where string) error {
	file, _, _ := strings.Cut(where, ":")
	src, err := s.of(path.Dir(file))
	if err == nil && !src.funcs[strings.TrimPrefix(where, path.Dir(file)+"/")] {
		err = fmt.Errorf("there is no %s", where)
	}
	return err
}

// test checks "dir.TestName/subtest".
func (s *sources) test(name string) error {
	dir, rest, ok := strings.Cut(name, ".Test")
	if !ok {
		return fmt.Errorf("%s is no package and test", name)
	}
	fn, sub, nested := strings.Cut("Test"+rest, "/")
	src, err := s.of(dir)
	switch {
	case err != nil:
		return err
	case !src.funcs[fn]:
		return fmt.Errorf("there is no test %s.%s", dir, fn)
	case nested && !src.subtest(sub):
		return fmt.Errorf("%s.%s has no subtest %q", dir, fn, sub)
	}
	return nil
}

var countLine = regexp.MustCompile(`(\d+) requirements: (\d+) yes, (\d+) deviates, (\d+) not applicable`)

// checkConformance holds the tables against the code: one line for each thing that is not there.
func checkConformance(fsys fs.FS, doc string) []string {
	all, err := parseConformance(doc)
	if err != nil {
		return []string{err.Error()}
	}
	var problems []string
	src := &sources{fsys, map[string]*source{}}
	n := map[string]int{}
	for _, r := range all {
		n[r.verdict]++
		for _, where := range r.where {
			if err := src.place(where); err != nil {
				problems = append(problems, fmt.Sprintf("line %d: %v", r.line, err))
			}
		}
		for _, name := range r.tests {
			if err := src.test(name); err != nil {
				problems = append(problems, fmt.Sprintf("line %d: %v", r.line, err))
			}
		}
	}
	want := fmt.Sprintf("%d requirements: %d yes, %d deviates, %d not applicable", len(all), n["yes"], n["deviates"], n["not applicable"])
	if got := countLine.FindString(doc); got != want {
		problems = append(problems, fmt.Sprintf("it says %q, and has %s", got, want))
	}
	return problems
}

// TestConformance holds docs/conformance.md to the code.
func TestConformance(t *testing.T) {
	fsys := os.DirFS(root)
	doc, err := fs.ReadFile(fsys, conformanceFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range checkConformance(fsys, string(doc)) {
		t.Errorf("%s: %s", conformanceFile, p)
	}
}

const goodConformance = `4 requirements: 2 yes, 1 deviates, 1 not applicable.

| requirement | verdict | where | test |
|---|---|---|---|
| 1: this | yes | ` + "`a/b/x.go:do`, `a/b/x.go`" + ` | ` + "`a/b.TestDo`" + ` |
| 2: that | deviates: there is a reason | ` + "`a/b/x.go:do`" + ` | |
| 3: other | not applicable: nothing of it here | | |

| requirement | verdict | where | test |
|---|---|---|---|
| 4: more | yes | ` + "`a/b/x.go:do`" + ` | ` + "`a/b.TestDo/one, two`, `a/b.TestDo/one, two/tel:`" + ` |
`

func TestCheckConformance(t *testing.T) {
	fsys := fstest.MapFS{
		"a/b/x.go":      {Data: []byte("package b\ntype T int\nfunc (T) do() {}\n")},
		"a/b/x_test.go": {Data: []byte("package b\nfunc TestDo() { _ = []string{\"one, two\", `tel:`} }\nfunc (T) TestNot() {}\n")},
	}
	if p := checkConformance(fsys, goodConformance); p != nil {
		t.Errorf("good: %q", p)
	}
	for name, tc := range map[string]struct{ old, new, want string }{
		"no table":        {"| requirement |", "| need |", "no table"},
		"missing column":  {"| 3: other |", "|", "line 7: 3 columns, want 4"},
		"no requirement":  {"3: other", "", "line 7: no requirement"},
		"other verdict":   {"not applicable: ", "never: ", `line 7: verdict "never"`},
		"no reason":       {"deviates: there is a reason", "deviates", "line 6: deviates without a reason"},
		"no test":         {"`a/b.TestDo` |", " |", "line 5: yes without a test"},
		"no place":        {"reason | `a/b/x.go:do`", "reason | ", "line 6: deviates without a place"},
		"prose":           {"`a/b/x.go:do`, `a/b/x.go`", "`a/b/x.go:do` and `a/b/x.go`", "line 5: want names in backquotes"},
		"no such package": {"`a/b.TestDo` |", "`a/c.TestDo` |", "line 5: no package a/c"},
		"no such file":    {", `a/b/x.go`", ", `a/b/y.go`", "line 5: there is no a/b/y.go"},
		"no such func":    {"`a/b/x.go:do`,", "`a/b/x.go:undo`,", "line 5: there is no a/b/x.go:undo"},
		"no such test":    {"`a/b.TestDo` |", "`a/b.TestNot` |", "line 5: there is no test a/b.TestNot"},
		"no test name":    {"`a/b.TestDo` |", "`a/b` |", "line 5: a/b is no package and test"},
		"no such subtest": {"tel:`", "tel`", `line 11: a/b.TestDo has no subtest "one, two/tel"`},
		"wrong count":     {"2 yes", "3 yes", "and has 4 requirements: 2 yes"},
	} {
		t.Run(name, func(t *testing.T) {
			doc := strings.ReplaceAll(goodConformance, tc.old, tc.new)
			if doc == goodConformance {
				t.Fatalf("%q is not in the good document", tc.old)
			}
			if p := strings.Join(checkConformance(fsys, doc), "\n"); !strings.Contains(p, tc.want) {
				t.Errorf("%q, want %q in it", p, tc.want)
			}
		})
	}
}
