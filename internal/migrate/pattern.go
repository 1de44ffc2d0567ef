package migrate

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strconv"
)

// What match_op and match_flags of a dialplan mean, in OpenSIPS and, but for the flags, in Kamailio.
const (
	matchEqual      = 0
	matchRegexp     = 1
	ignoreCase      = 1 // of match_flags
	caseInsensitive = "(?i)"
)

// pattern is what a rule of a dialplan matches, as a pattern of the configuration, and the literal text in it, if it is one.
func pattern(op int, exp string, flags int) (text, literal string, err error) {
	switch {
	case op == matchEqual && flags&ignoreCase == 0:
		return "=" + exp, exp, nil
	case op == matchEqual:
		return "~" + caseInsensitive + "^" + regexp.QuoteMeta(exp) + "$", exp, nil
	case op != matchRegexp:
		return "", "", fmt.Errorf("match_op %d is neither 0 (equal) nor 1 (regular expression)", op)
	}
	if flags&ignoreCase != 0 {
		exp = caseInsensitive + exp
	}
	if _, err = regexp.Compile(exp); err != nil {
		return "", "", fmt.Errorf("match_exp %s cannot be a regular expression here, which has no look-around and no back-references: %w", strconv.Quote(exp), err)
	}
	if exp == "" {
		exp = "^" // a pattern must not be empty
	}
	prefix, literal, whole := simple(exp)
	switch {
	case whole:
		return "=" + literal, literal, nil
	case prefix && literal[0] != '=' && literal[0] != '~':
		return literal, literal, nil
	}
	return "~" + exp, literal, nil
}

// simple tells whether an expression finds what begins with a text (prefix), or that text alone (whole).
func simple(exp string) (prefix bool, literal string, whole bool) {
	re, err := syntax.Parse(exp, syntax.Perl)
	if err != nil || re.Op != syntax.OpConcat {
		return false, "", false
	}
	subs := re.Sub
	for _, s := range subs {
		if s.Op == syntax.OpLiteral && len(string(s.Rune)) > len(literal) {
			literal = string(s.Rune)
		}
	}
	if len(subs) < 2 || subs[0].Op != syntax.OpBeginText || subs[1].Op != syntax.OpLiteral || subs[1].Flags&syntax.FoldCase != 0 {
		return false, literal, false
	}
	return len(subs) == 2, literal, len(subs) == 3 && subs[2].Op == syntax.OpEndText
}
