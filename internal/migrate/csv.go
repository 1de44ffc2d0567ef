package migrate

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
)

// readCSV reads a table whose first line names the columns, with commas (RFC 4180), semicolons or, as `mysql --batch`
// writes it, tabs between the values. Lines that begin with # are comments.
func readCSV(table, file string, data []byte) ([]*row, error) {
	c := csv.NewReader(bytes.NewReader(data))
	c.Comma, c.Comment = separator(data), '#'
	c.LazyQuotes = c.Comma == '\t' // mysql quotes nothing
	c.TrimLeadingSpace = true
	var columns []string
	var rows []*row
	for {
		fields, err := c.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, csvError(file, columns, err)
		}
		if columns == nil {
			for _, f := range fields {
				columns = append(columns, strings.ToLower(unquote(f)))
			}
			continue
		}
		line, _ := c.FieldPos(0)
		r := &row{file: file, line: line, values: map[string]string{}}
		for i, f := range fields {
			if f = unquote(f); null(f) {
				f = ""
			}
			r.values[columns[i]] = f
		}
		rows = append(rows, r)
	}
	if columns == nil {
		return nil, fmt.Errorf("%s: is empty: the table %s is wanted, as CSV with the names of the columns in the first line, or as SQL", file, table)
	}
	return rows, nil
}

func csvError(file string, columns []string, err error) error {
	pe, ok := errors.AsType[*csv.ParseError](err)
	if !ok {
		return fmt.Errorf("%s: %w", file, err)
	}
	if errors.Is(pe.Err, csv.ErrFieldCount) {
		return fmt.Errorf("%s:%d: has not %d values, as many as the first line names columns", file, pe.StartLine, len(columns))
	}
	return fmt.Errorf("%s:%d: %w", file, pe.Line, pe.Err)
}

// separator is the one that the first line has most of.
func separator(data []byte) rune {
	for line := range bytes.Lines(data) {
		if line = bytes.TrimSpace(line); len(line) == 0 || line[0] == '#' {
			continue
		}
		best := ','
		for _, c := range "\t;" {
			if bytes.Count(line, []byte(string(c))) > bytes.Count(line, []byte(string(best))) {
				best = c
			}
		}
		return best
	}
	return ','
}

// unquote takes spaces and single quotes from around a value: SQL's quotes are common in CSV too.
func unquote(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > 1 && s[0] == '\'' && s[len(s)-1] == '\'' {
		return strings.ReplaceAll(s[1:len(s)-1], "''", "'")
	}
	return s
}
