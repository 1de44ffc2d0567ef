package migrate

import "strings"

type sqlKind uint8

const (
	sqlEnd sqlKind = iota
	sqlWord
	sqlName   // quoted by ` or "
	sqlString // quoted by '
	sqlMark
)

type sqlToken struct {
	kind sqlKind
	text string
	line int
}

// is reports whether the token is a mark, or a word in any case.
func (t sqlToken) is(text string) bool {
	return t.kind == sqlMark && t.text == text || t.kind == sqlWord && strings.EqualFold(t.text, text)
}

// sqlLexer cuts SQL into tokens, without comments: -- and # to the end of the line, and /* */.
type sqlLexer struct {
	text string
	line int
	open bool // a quote or comment did not end; line is where it began
}

func (l *sqlLexer) token() sqlToken {
	l.space()
	t := sqlToken{line: l.line}
	if l.text == "" {
		return t
	}
	switch c := l.text[0]; {
	case c == '\'':
		t.kind, t.text = sqlString, l.quoted()
	case c == '`' || c == '"':
		t.kind, t.text = sqlName, l.quoted()
	case wordByte(c):
		n := 1
		for n < len(l.text) && wordByte(l.text[n]) {
			n++
		}
		t.kind, t.text, l.text = sqlWord, l.text[:n], l.text[n:]
	default:
		t.kind, t.text, l.text = sqlMark, l.text[:1], l.text[1:]
	}
	return t
}

// space goes past white space and comments.
func (l *sqlLexer) space() {
	for l.text != "" {
		switch {
		case l.text[0] == '\n':
			l.line++
			l.text = l.text[1:]
		case strings.IndexByte(" \t\r\f", l.text[0]) >= 0:
			l.text = l.text[1:]
		case strings.HasPrefix(l.text, "--"), l.text[0] == '#':
			_, rest, found := strings.Cut(l.text, "\n")
			if l.text = rest; found {
				l.line++
			}
		case strings.HasPrefix(l.text, "/*"):
			comment, rest, found := strings.Cut(l.text[2:], "*/")
			if l.text = rest; !found {
				l.open = true
				return
			}
			l.line += strings.Count(comment, "\n")
		default:
			return
		}
	}
}

// quoted reads what stands in quotes: a quote is doubled in it, or in a string stands behind a backslash.
func (l *sqlLexer) quoted() string {
	q := l.text[0]
	var b strings.Builder
	lines := 0
	for i := 1; i < len(l.text); i++ {
		c := l.text[i]
		switch {
		case c == '\\' && q == '\'' && i+1 < len(l.text):
			i++
			b.WriteString(unescape(l.text[i]))
		case c == q && i+1 < len(l.text) && l.text[i+1] == q:
			i++
			b.WriteByte(q)
		case c == q:
			l.text = l.text[i+1:]
			l.line += lines
			return b.String()
		default:
			b.WriteByte(c)
		}
		if c == '\n' {
			lines++
		}
	}
	l.open, l.text = true, ""
	return ""
}

// unescape is what stands behind a backslash in MySQL: \% and \_ keep it.
func unescape(c byte) string {
	switch c {
	case 'n':
		return "\n"
	case 't':
		return "\t"
	case 'r':
		return "\r"
	case '0':
		return "\x00"
	case '%', '_':
		return `\` + string(c)
	}
	return string(c)
}

func wordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '$' || c >= 0x80
}
