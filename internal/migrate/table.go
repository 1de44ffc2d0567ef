package migrate

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// File is the content of a file, and its name for errors.
type File struct {
	Name string
	Data []byte
}

// row is one row of a table, by column. NULL is "".
type row struct {
	file   string
	line   int
	values map[string]string
	read   map[string]bool // columns that were asked for
}

// get is the value of a column, which counts as carried from here on.
func (r *row) get(column string) string {
	r.read[column] = true
	return r.values[column]
}

// unread names the columns that have a value that nobody asked for.
func (r *row) unread() []string {
	var l []string
	for _, column := range slices.Sorted(maps.Keys(r.values)) {
		if v := r.values[column]; v != "" && !r.read[column] {
			l = append(l, fmt.Sprintf("%s %q is not carried over", column, v))
		}
	}
	return l
}

func (r *row) fail(column, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s: %s", r.file, r.line, column, fmt.Sprintf(format, args...))
}

// readTable reads a table as CSV with the names of the columns in the first line, or as SQL with INSERTs. want are columns
// that must be there. Errors name file and line.
func readTable(table string, f File, want ...string) ([]*row, error) {
	data := bytes.TrimPrefix(f.Data, []byte("\xef\xbb\xbf")) // a byte order mark
	read := readCSV
	if looksLikeSQL(data) {
		read = readSQL
	}
	rows, err := read(table, f.Name, data)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, r := range rows {
		r.read = map[string]bool{"id": true}
		for _, column := range want {
			if _, ok := r.values[column]; !ok {
				errs = append(errs, r.fail(column, "there is no such column, which %s must have", table))
			}
		}
		if len(errs) > 0 {
			break // the other rows are of the same form
		}
	}
	return rows, errors.Join(errs...)
}

// null is what MySQL and its tools write for NULL.
func null(s string) bool { return s == `\N` || strings.EqualFold(s, "null") }
