package config

import (
	"path/filepath"
	"slices"
	"strings"
)

// maxHeaders is how many header fields a call's record can have.
const maxHeaders = 32

func (b *builder) cdr(c *Config, raw *rawCDR) {
	if raw == nil {
		return
	}
	b.pathOrOff("cdr.file", &c.CDR.File, raw.File)
	if !b.given("cdr.headers") {
		return
	}
	c.CDR.Headers = nil
	for i, name := range raw.Headers {
		path := b.item("cdr.headers", i)
		same := func(other string) bool { return strings.EqualFold(name, other) }
		switch {
		case !isToken(name):
			b.fail(path, "must be the name of a header field, not %q", name)
		case slices.ContainsFunc(c.CDR.Headers, same):
			b.fail(path, "is given twice")
		case len(c.CDR.Headers) == maxHeaders:
			b.fail("cdr.headers", "must not have more than %d", maxHeaders)
			return
		}
		c.CDR.Headers = append(c.CDR.Headers, name)
	}
}

// isToken reports whether s can be a header field's name (RFC 3261 25.1).
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-.!%*_+`'~", r))
	})
}

// pathOrOff reads the path of a file, or off.
func (b *builder) pathOrOff(path string, to *string, raw *string) {
	switch {
	case raw == nil:
	case *raw == "" || *raw == "off":
		*to = ""
	case !filepath.IsAbs(*raw):
		b.fail(path, "must be an absolute path or off, not %q", *raw)
	default:
		*to = *raw
	}
}
