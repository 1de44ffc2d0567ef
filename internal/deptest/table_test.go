package deptest

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

// tableHeader starts the import table in docs/architecture.md.
var tableHeader = []string{"package", "purpose, and what it never does", "may import of ours"}

const (
	mayNothing  = "nothing"  // the third column of a package that imports none of the module
	mayAnything = "anything" // the third column of a package that is free
)

// row is one line of the import table. Packages are named by their directory from the module's root.
type row struct {
	pkg      string   // "proxy", or "test/..." for a directory and all below it
	may      []string // what it may import
	anything bool
	line     int // in the document, from 1
}

// covers reports whether the row speaks of the package in dir.
func (r row) covers(dir string) bool {
	if base, ok := strings.CutSuffix(r.pkg, "/..."); ok {
		return dir == base || strings.HasPrefix(dir, base+"/")
	}
	return dir == r.pkg
}

// allows reports whether the row's packages may import the package in dir.
func (r row) allows(dir string) bool {
	return r.anything || slices.Contains(r.may, dir)
}

// parseTable reads the one import table of a Markdown document. An error names the line.
func parseTable(doc string) ([]row, error) {
	var rows []row
	inTable := false
	for i, line := range strings.Split(doc, "\n") {
		cells := tableCells(line)
		switch {
		case slices.Equal(cells, tableHeader):
			if rows != nil || inTable {
				return nil, fmt.Errorf("line %d: a second import table", i+1)
			}
			inTable = true
		case !inTable:
		case cells == nil:
			inTable = false
		case strings.Trim(cells[0], "-: ") == "":
		default:
			r, err := parseRow(cells)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", i+1, err)
			}
			r.line = i + 1
			rows = append(rows, r)
		}
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("no table with the columns %q", tableHeader)
	}
	return rows, checkRows(rows)
}

// tableCells splits a Markdown table line; nil for any other line.
func tableCells(line string) []string {
	line = strings.TrimSpace(line)
	if len(line) < 2 || line[0] != '|' || line[len(line)-1] != '|' {
		return nil
	}
	cells := strings.Split(line[1:len(line)-1], "|")
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	return cells
}

func parseRow(cells []string) (row, error) {
	if len(cells) != len(tableHeader) {
		return row{}, fmt.Errorf("%d columns, want %d", len(cells), len(tableHeader))
	}
	pkg, err := quoted(cells[0])
	if err != nil {
		return row{}, err
	}
	if cells[1] == "" {
		return row{}, fmt.Errorf("package %s: no purpose", pkg)
	}
	r := row{pkg: pkg}
	switch cells[2] {
	case mayNothing:
		return r, nil
	case mayAnything:
		r.anything = true
		return r, nil
	}
	for _, cell := range strings.Split(cells[2], ",") {
		p, err := quoted(strings.TrimSpace(cell))
		if err != nil {
			return row{}, fmt.Errorf("package %s may import: %w, or the whole cell %s or %s", pkg, err, mayNothing, mayAnything)
		}
		r.may = append(r.may, p)
	}
	return r, nil
}

// quoted takes the backquotes off a package name.
func quoted(cell string) (string, error) {
	name := strings.Trim(cell, "`")
	if cell != "`"+name+"`" || strings.ContainsAny(name, "` ") || !fs.ValidPath(name) {
		return "", fmt.Errorf("want a package path in backquotes, not %q", cell)
	}
	return name, nil
}

// checkRows refuses two rows for one package, and a permission for a package that has no row.
func checkRows(rows []row) error {
	seen := map[string]bool{}
	for _, r := range rows {
		if seen[r.pkg] {
			return fmt.Errorf("line %d: a second row for %s", r.line, r.pkg)
		}
		seen[r.pkg] = true
	}
	for _, r := range rows {
		for _, p := range r.may {
			if !seen[p] {
				return fmt.Errorf("line %d: %s may import %s, which has no row", r.line, r.pkg, p)
			}
		}
	}
	return nil
}

const goodTable = `# Title

| other | table |
|---|---|
| x | y |

| package | purpose, and what it never does | may import of ours |
|---|---|---|
| ` + "`a`" + ` | says a | ` + "`b`, `c/d`" + ` |
| ` + "`b`" + ` | says b | nothing |
| ` + "`c/d`" + ` | says d | ` + "`b`" + ` |
| ` + "`test/...`" + ` | tests | anything |

| ` + "`z`" + ` | not in the table | nothing |
`

func TestParseTable(t *testing.T) {
	rows, err := parseTable(goodTable)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rows {
		got = append(got, fmt.Sprintf("%s:%v:%t:%d", r.pkg, r.may, r.anything, r.line))
	}
	want := []string{"a:[b c/d]:false:9", "b:[]:false:10", "c/d:[b]:false:11", "test/...:[]:true:12"}
	if !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
}

func TestParseTableRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ old, new, want string }{
		"no table":          {"| package |", "| packages |", "no table"},
		"unquoted package":  {"| `b` | says b |", "| b | says b |", "line 10: want a package path in backquotes"},
		"no purpose":        {"says b", "", "line 10: package b: no purpose"},
		"missing column":    {"| `b` | says b | nothing |", "| `b` | says b |", "line 10: 2 columns, want 3"},
		"prose for imports": {"`b`, `c/d`", "`b` and `c/d`", "line 9: package a may import"},
		"second row":        {"| `c/d` | says", "| `b` | says", "line 11: a second row for b"},
		"unknown import":    {"`b`, `c/d`", "`b`, `e`", "line 9: a may import e, which has no row"},
	} {
		t.Run(name, func(t *testing.T) {
			doc := strings.Replace(goodTable, tc.old, tc.new, 1)
			if doc == goodTable {
				t.Fatalf("%q is not in the good table", tc.old)
			}
			if _, err := parseTable(doc); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}
