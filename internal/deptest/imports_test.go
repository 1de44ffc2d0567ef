package deptest

import (
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const (
	root       = "../.."                // the module's root, from this directory
	tableFile  = "docs/architecture.md" // from the module's root
	simulators = "internal/sim"         // what every package's tests may use
)

// file is a Go file and what it imports of its own module, as directories from the module's root.
type file struct {
	name    string
	dir     string
	imports []string
}

// isTest reports whether only `go test` compiles the file.
func (f file) isTest() bool { return strings.HasSuffix(f.name, "_test.go") }

// scan reads the import clauses of all Go files under fsys, whatever their build constraints say. It goes where the go
// command goes: not into testdata, vendor, names that start with a dot or an underscore, or another module.
func scan(fsys fs.FS, module string) ([]file, error) {
	var files []file
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name == "." {
			return nil
		}
		base := path.Base(name)
		hidden := base[0] == '.' || base[0] == '_'
		if d.IsDir() {
			_, modErr := fs.Stat(fsys, path.Join(name, "go.mod"))
			if hidden || base == "testdata" || base == "vendor" || modErr == nil {
				return fs.SkipDir
			}
			return nil
		}
		if hidden || path.Ext(name) != ".go" {
			return nil
		}
		f, err := readImports(fsys, name, module)
		files = append(files, f)
		return err
	})
	return files, err
}

func readImports(fsys fs.FS, name, module string) (file, error) {
	src, err := fs.ReadFile(fsys, name)
	if err != nil {
		return file{}, err
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ImportsOnly)
	if err != nil {
		return file{}, err
	}
	f := file{name: name, dir: path.Dir(name)}
	for _, spec := range parsed.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return file{}, fmt.Errorf("%s: import %s: %w", name, spec.Path.Value, err)
		}
		if p == module {
			f.imports = append(f.imports, ".")
		} else if dir, ok := strings.CutPrefix(p, module+"/"); ok {
			f.imports = append(f.imports, dir)
		}
	}
	return f, nil
}

// check compares files with the table: one line for each forbidden import, each package without a row and each row
// without a package.
func check(rows []row, files []file) []string {
	var problems []string
	used := map[string]bool{}
	missing := map[string]bool{}
	for _, f := range files {
		i := slices.IndexFunc(rows, func(r row) bool { return r.covers(f.dir) })
		if i < 0 {
			if !missing[f.dir] {
				missing[f.dir] = true
				problems = append(problems, fmt.Sprintf("package %s has no row in the table of %s", f.dir, tableFile))
			}
			continue
		}
		used[rows[i].pkg] = true
		for _, imported := range f.imports {
			if rows[i].allows(imported) || f.isTest() && testMayImport(f.dir, imported) {
				continue
			}
			problems = append(problems, fmt.Sprintf("%s: %s may not import %s (%s line %d)",
				f.name, rows[i].pkg, imported, tableFile, rows[i].line))
		}
	}
	for _, r := range rows {
		if !used[r.pkg] {
			problems = append(problems, fmt.Sprintf("%s line %d: row %s, but there is no such package", tableFile, r.line, r.pkg))
		}
	}
	slices.Sort(problems)
	return problems
}

// testMayImport is what test files in dir may import beyond the table: the package under test (from its _test package),
// the simulators, and test helpers, which are the packages named ...test, as net/http/httptest is.
func testMayImport(dir, imported string) bool {
	return imported == dir || imported == simulators || strings.HasSuffix(imported, "test")
}

// moduleName reads the module line of go.mod.
func moduleName(fsys fs.FS) (string, error) {
	return goModLine(fsys, "module")
}

// goModLine returns the argument of go.mod's line that starts with the directive.
func goModLine(fsys fs.FS, directive string) (string, error) {
	mod, err := fs.ReadFile(fsys, "go.mod")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(mod)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == directive {
			return f[1], nil
		}
	}
	return "", errors.New("go.mod: no line " + directive)
}

// TestImports holds the module to the import table in docs/architecture.md.
func TestImports(t *testing.T) {
	fsys := os.DirFS(root)
	doc, err := fs.ReadFile(fsys, tableFile)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := parseTable(string(doc))
	if err != nil {
		t.Fatalf("%s: %v", tableFile, err)
	}
	module, err := moduleName(fsys)
	if err != nil {
		t.Fatal(err)
	}
	files, err := scan(fsys, module)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range check(rows, files) {
		t.Error(p)
	}
}

func TestScanAndCheck(t *testing.T) {
	src := func(pkg string, imports ...string) *fstest.MapFile {
		s := "package " + pkg + "\n"
		for _, i := range imports {
			s += "import " + strconv.Quote(i) + "\n"
		}
		return &fstest.MapFile{Data: []byte(s + "func broken( {")} // bodies are not read
	}
	good := fstest.MapFS{
		"go.mod":                  {Data: []byte("module m\n\ngo 1.26\n")},
		"a/a.go":                  src("a", "fmt", "m/b", "m/c/d", "mx/e"),
		"a/a_test.go":             src("a_test", "m/a", "m/b/btest", "m/internal/sim"),
		"b/b.go":                  src("b"),
		"b/btest/b.go":            src("btest"),
		"c/d/d.go":                src("d", "m/b"),
		"internal/sim/s.go":       src("sim"),
		"test/bench/x_test.go":    src("bench", "m/a", "m/internal/sim"),
		"a/testdata/x.go":         src("x", "m/nowhere"),
		"a/.hidden/x.go":          src("x", "m/nowhere"),
		"other/go.mod":            {Data: []byte("module other\n")},
		"other/x.go":              src("x", "m/nowhere"),
		"a/_ignored.go":           src("a", "m/nowhere"),
		"docs/architecture.md":    {Data: []byte("no Go")},
		"c/README.md":             {Data: []byte("no Go")},
		"b/generated_by_nobody.s": {Data: []byte("no Go")},
	}
	rows, err := parseTable(strings.Replace(goodTable, "| `test/...` |",
		"| `b/btest` | helps | nothing |\n| `internal/sim` | acts | nothing |\n| `test/...` |", 1))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		file string // put into the good tree; an empty src takes the file out
		src  *fstest.MapFile
		want string // the one problem, "" for none
	}{
		"good":             {},
		"forbidden import": {"b/x.go", src("b", "m/a"), "b/x.go: b may not import a (docs/architecture.md line 10)"},
		"build constraint": {"b/x_windows.go", src("b", "m/a"), "b/x_windows.go: b may not import a (docs/architecture.md line 10)"},
		"root package":     {"b/x.go", src("b", "m"), "b/x.go: b may not import . (docs/architecture.md line 10)"},
		"forbidden in a test": {"c/d/d_test.go", src("d", "m/a"),
			"c/d/d_test.go: c/d may not import a (docs/architecture.md line 11)"},
		"simulator outside a test": {"b/x.go", src("b", "m/internal/sim"),
			"b/x.go: b may not import internal/sim (docs/architecture.md line 10)"},
		"package without a row": {"e/e.go", src("e", "m/b"), "package e has no row in the table of docs/architecture.md"},
		"row without a package": {"c/d/d.go", nil, "docs/architecture.md line 11: row c/d, but there is no such package"},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := fstest.MapFS{}
			for k, v := range good {
				fsys[k] = v
			}
			if tc.src != nil {
				fsys[tc.file] = tc.src
			} else {
				delete(fsys, tc.file)
			}
			module, err := moduleName(fsys)
			if err != nil {
				t.Fatal(err)
			}
			files, err := scan(fsys, module)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(check(rows, files), "\n"); got != tc.want {
				t.Errorf("problems:\n%s\nwant:\n%s", got, tc.want)
			}
		})
	}
}
