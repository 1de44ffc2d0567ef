package migrate

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var sqlStart = regexp.MustCompile(`(?im)^\s*(insert|replace)\s[^;]*?\binto\s|^\s*create\s+table\s`)

func looksLikeSQL(data []byte) bool { return sqlStart.Match(data) }

// readSQL reads the rows that INSERT and REPLACE statements put into the table, as mysqldump and opensips-cli write them.
// Where a statement has no list of columns, those of CREATE TABLE are taken. Other statements and tables are passed over.
func readSQL(table, file string, data []byte) ([]*row, error) {
	p := &sqlParser{table: table, file: file, lex: sqlLexer{text: string(data), line: 1}}
	p.next()
	for p.tok.kind != sqlEnd {
		if err := p.statement(); err != nil {
			return nil, err
		}
	}
	if p.lex.open {
		return nil, fmt.Errorf("%s:%d: a quote or comment that begins here does not end", file, p.lex.line)
	}
	if len(p.rows) == 0 {
		return nil, fmt.Errorf("%s: has no INSERT INTO %s", file, table)
	}
	return p.rows, nil
}

type sqlParser struct {
	table, file string
	lex         sqlLexer
	tok         sqlToken
	columns     []string // of CREATE TABLE
	rows        []*row
}

func (p *sqlParser) next() { p.tok = p.lex.token() }

// accept goes past a word, in upper case, or a mark.
func (p *sqlParser) accept(text string) bool {
	if p.tok.is(text) {
		p.next()
		return true
	}
	return false
}

func (p *sqlParser) fail(format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", p.file, p.tok.line, fmt.Sprintf(format, args...))
}

// statement reads one, with the semicolon at its end.
func (p *sqlParser) statement() error {
	switch {
	case p.accept("CREATE") && p.accept("TABLE"):
		for p.accept("IF") || p.accept("NOT") || p.accept("EXISTS") {
		}
		if p.name() == p.table && p.accept("(") {
			p.columns = p.definitions()
		}
	case p.accept("INSERT"), p.accept("REPLACE"):
		for p.tok.kind == sqlWord && !p.tok.is("INTO") {
			p.next() // IGNORE, LOW_PRIORITY
		}
		if p.accept("INTO") && p.name() == p.table {
			if err := p.insert(); err != nil {
				return err
			}
		}
	}
	for p.tok.kind != sqlEnd && !p.accept(";") {
		p.next()
	}
	return nil
}

// name reads a table's name and leaves a schema before it away.
func (p *sqlParser) name() string {
	name := strings.ToLower(p.tok.text)
	p.next()
	for p.accept(".") {
		name = strings.ToLower(p.tok.text)
		p.next()
	}
	return name
}

// definitions reads the columns of CREATE TABLE.
func (p *sqlParser) definitions() []string {
	var columns []string
	keys := []string{"PRIMARY", "UNIQUE", "KEY", "INDEX", "CONSTRAINT", "CHECK", "FOREIGN", "FULLTEXT"}
	for p.tok.kind != sqlEnd && !p.tok.is(")") {
		if p.tok.kind == sqlName || p.tok.kind == sqlWord && !slices.Contains(keys, strings.ToUpper(p.tok.text)) {
			columns = append(columns, strings.ToLower(p.tok.text))
		}
		for depth := 0; p.tok.kind != sqlEnd && (depth > 0 || !p.tok.is(",") && !p.tok.is(")")); p.next() {
			switch {
			case p.tok.is("("):
				depth++
			case p.tok.is(")"):
				depth--
			}
		}
		p.accept(",")
	}
	return columns
}

// insert reads [(columns)] VALUES (row), (row) …
func (p *sqlParser) insert() error {
	columns := p.columns
	if p.accept("(") {
		columns = nil
		for p.tok.kind != sqlEnd && !p.accept(")") {
			columns = append(columns, strings.ToLower(p.tok.text))
			p.next()
			p.accept(",")
		}
	}
	if !p.accept("VALUES") && !p.accept("VALUE") {
		return p.fail("INSERT INTO %s without VALUES: only rows that are written out can be read", p.table)
	}
	if columns == nil {
		return p.fail("INSERT INTO %s names no columns, and there is no CREATE TABLE before it: dump with mysqldump --complete-insert", p.table)
	}
	for {
		if err := p.values(columns); err != nil {
			return err
		}
		if !p.accept(",") {
			return nil
		}
	}
}

func (p *sqlParser) values(columns []string) error {
	r := &row{file: p.file, line: p.tok.line, values: map[string]string{}}
	if !p.accept("(") {
		return p.fail("a row in parentheses is wanted after VALUES")
	}
	n := 0
	for ; !p.accept(")"); n++ {
		value := p.tok.text
		switch {
		case p.tok.kind == sqlMark && value != "-", p.tok.kind == sqlEnd:
			return p.fail("a value is wanted, not %q", value)
		case p.accept("-"):
			value = "-" + p.tok.text
		case p.tok.kind == sqlWord && null(value):
			value = ""
		}
		p.next()
		if n < len(columns) {
			r.values[columns[n]] = value
		}
		if !p.accept(",") && !p.tok.is(")") {
			return p.fail("a comma or a closing parenthesis is wanted after a value, not %q", p.tok.text)
		}
	}
	if n != len(columns) {
		return fmt.Errorf("%s:%d: the row has %d values for %d columns", p.file, r.line, n, len(columns))
	}
	p.rows = append(p.rows, r)
	return nil
}
