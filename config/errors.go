package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is one fault in a configuration: where it stands, and what is wrong.
type Error struct {
	File string // as given to Load or Parse
	Line int    // counted from 1; 0 where no line can be named
	Env  string // the environment variable that gave the value, in place of File and Line
	Key  string // key path, for example "clusters[0].groups[1].backends[0].capacity"; "" for the file as a whole
	Msg  string
}

// Error gives "file.yaml:12: key.path: message", or "MRCPROXY_VARIABLE: key.path: message".
func (e *Error) Error() string {
	var b strings.Builder
	switch {
	case e.Env != "":
		b.WriteString(e.Env)
	case e.Line > 0:
		fmt.Fprintf(&b, "%s:%d", e.File, e.Line)
	default:
		b.WriteString(e.File)
	}
	if e.Key != "" {
		b.WriteString(": " + e.Key)
	}
	b.WriteString(": " + e.Msg)
	return b.String()
}

// Errors is every fault found in one configuration: those of the file by line, then those of the environment.
type Errors []*Error

// Error gives one line for each fault.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the faults to errors.Is and errors.As.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, one := range e {
		all[i] = one
	}
	return all
}

func (e Errors) sort() {
	slices.SortStableFunc(e, func(a, b *Error) int {
		if (a.Env == "") != (b.Env == "") {
			if a.Env == "" {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.Env, b.Env), cmp.Compare(a.Line, b.Line))
	})
}

// closest gives the candidate that text is most likely a misspelling of, or "".
func closest(text string, candidates []string) string {
	text = strings.ToLower(text)
	if len(text) > 64 {
		return ""
	}
	best, bestDist := "", max(1, min(3, len(text)/3))+1
	for _, c := range candidates {
		if d := distance(text, strings.ToLower(c)); d < bestDist {
			best, bestDist = c, d
		}
	}
	return best
}

// distance is the number of insertions, deletions, substitutions and swaps of neighbours that turn a into b.
func distance(a, b string) int {
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
