package config

import (
	"bytes"
	"errors"
	"regexp"
	"strconv"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

var (
	// yamlError is what the YAML parser says: "yaml: line 3: what is wrong", or the same without a line.
	yamlError = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?((?s).*)$`)
	// yamlLineBefore are the messages for which the parser names the line before the one it means.
	yamlLineBefore = regexp.MustCompile(`^did not find expected (key|node content|'-' indicator|',' or|<)`)
	// yamlAnchor are the messages that have no line, but the name of an anchor.
	yamlAnchor = regexp.MustCompile(`^(unknown anchor|anchor) '([^']*)'`)
	// yamlValue is a value in a message; it may be a secret.
	yamlValue = regexp.MustCompile("`[^`]*`")
)

// syntaxErrors gives the errors of the YAML parser the form of ours.
func syntaxErrors(name string, data []byte, err error) Errors {
	texts := []string{err.Error()}
	if te, ok := errors.AsType[*yaml.TypeError](err); ok {
		texts = te.Errors
	}
	var errs Errors
	for _, text := range texts {
		m := yamlError.FindStringSubmatch(text)
		line, _ := strconv.Atoi(m[1]) // 0 where there is none
		msg := yamlValue.ReplaceAllString(m[2], "a value")
		if line > 0 && yamlLineBefore.MatchString(msg) {
			line++
		}
		if a := yamlAnchor.FindStringSubmatch(msg); a != nil {
			mark := "&"
			if a[1] == "unknown anchor" {
				mark = "*"
			}
			line = lineWith(data, mark+a[2])
		}
		// Where the end of the file comes too early, the parser may name a line after the last.
		lines := bytes.Count(bytes.TrimRight(data, "\r\n"), []byte("\n")) + 1
		errs = append(errs, &Error{File: name, Line: min(line, lines), Msg: "YAML syntax: " + msg})
	}
	return errs
}

// lineWith is the first line of data that holds text; 0 if none does.
func lineWith(data []byte, text string) int {
	before, _, found := bytes.Cut(data, []byte(text))
	if !found {
		return 0
	}
	return bytes.Count(before, []byte("\n")) + 1
}

// invalidUTF8 is the first line of data that is not UTF-8; 0 if all is.
func invalidUTF8(data []byte) int {
	for line, rest := 1, data; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		if r == utf8.RuneError && size == 1 {
			return line
		}
		if r == '\n' {
			line++
		}
		rest = rest[size:]
	}
	return 0
}
