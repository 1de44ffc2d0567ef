package message

import "bytes"

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// trim is the span of b[off:end] without white space at either side.
func trim(b []byte, off, end int) Span {
	for off < end && isSpace(b[off]) {
		off++
	}
	for end > off && isSpace(b[end-1]) {
		end--
	}
	return Span{off, end}
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// equalFold compares with s, which is in lower case.
func equalFold(b []byte, s string) bool { return len(b) == len(s) && hasPrefixFold(b, s) }

func hasPrefixFold(b []byte, s string) bool {
	if len(b) < len(s) {
		return false
	}
	for i := 0; i < len(s); i++ {
		if lower(b[i]) != s[i] {
			return false
		}
	}
	return true
}

// isToken follows RFC 3261 25.1.
func isToken(b []byte) bool {
	for _, c := range b {
		if !tokenChar(c) {
			return false
		}
	}
	return len(b) > 0
}

// The characters of a token, as bits: those below 64, and from 64 up.
const (
	digits   = (1<<10 - 1) << '0'
	letters  = (1<<26-1)<<('A'-64) | (1<<26-1)<<('a'-64)
	tokenLow = digits | 1<<'-' | 1<<'.' | 1<<'!' | 1<<'%' | 1<<'*' | 1<<'+' | 1<<'\''
	tokenTop = letters | 1<<('_'-64) | 1<<('`'-64) | 1<<('~'-64)
)

func tokenChar(c byte) bool {
	if c < 64 {
		return uint64(tokenLow)>>c&1 != 0
	}
	return c < 128 && uint64(tokenTop)>>(c-64)&1 != 0
}

// number is the decimal b, at most limit.
func number(b []byte, limit int) (int, bool) {
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n = n*10 + int(c-'0'); n > limit {
			return 0, false
		}
	}
	return n, len(b) > 0
}

// quoteEnd is the offset behind the quoted string that starts at b[p] (RFC 3261 25.1 quoted-string), or -1.
func quoteEnd(b []byte, p, end int) int {
	for p++; p < end; p++ {
		switch b[p] {
		case '\\':
			p++
		case '"':
			return p + 1
		}
	}
	return -1
}

// valueEnd is the offset of the comma that ends the value which starts at p, or end. Commas in quotes and in angle
// brackets do not count. -1: a quote or bracket before a comma does not close.
func valueEnd(b []byte, p, end int) int {
	if bytes.IndexByte(b[p:end], ',') < 0 {
		return end
	}
	for p < end {
		switch b[p] {
		case ',':
			return p
		case '"':
			if p = quoteEnd(b, p, end); p < 0 {
				return -1
			}
			continue
		case '<':
			k := bytes.IndexByte(b[p:end], '>')
			if k < 0 {
				return -1
			}
			p += k
		}
		p++
	}
	return end
}

// addressTag finds the tag parameter of a From or To value (RFC 3261 20.20): behind the angle bracket where there is one,
// behind the first semicolon of a bare addr-spec else. ok is false when the value is no address.
func addressTag(b []byte, v Span) (tag Span, ok bool) {
	p := v.Off
	if p < v.End && b[p] == '"' {
		if p = quoteEnd(b, p, v.End); p < 0 {
			return Span{}, false
		}
	}
	if lt := bytes.IndexByte(b[p:v.End], '<'); lt >= 0 {
		gt := bytes.IndexByte(b[p+lt:v.End], '>')
		if gt < 0 {
			return Span{}, false
		}
		if !displayName(b[p : p+lt]) {
			return Span{}, false
		}
		p += lt + gt + 1
	} else if bytes.IndexByte(b[p:v.End], ':') < 0 {
		return Span{}, false
	}
	tag, _, ok = param(b, p, v.End, "tag")
	return tag, ok
}

// displayName reports whether b is what may stand in front of an angle bracket without quotes: tokens (RFC 3261 25.1). A
// proxy that let anything else pass would pass the error on (RFC 4475 3.1.2.15).
func displayName(b []byte) bool {
	for _, c := range b {
		if !tokenChar(c) && !isSpace(c) {
			return false
		}
	}
	return true
}

// param finds a parameter in b[p:end], which holds ";name=value" pairs, and gives its value and the whole of it from
// its semicolon. White space may stand around ";" and "=" (RFC 3261 25.1 SEMI, EQUAL). ok is false when a quote does not
// close, or something other than the next parameter follows the one that is looked for.
func param(b []byte, p, end int, name string) (value, whole Span, ok bool) {
	for {
		k := bytes.IndexByte(b[p:end], ';')
		if k < 0 {
			return Span{}, Span{}, true
		}
		semi := p + k
		n, v, next := oneParam(b, semi+1, end)
		if next < 0 {
			return Span{}, Span{}, false
		}
		if p = next; equalFold(b[n.Off:n.End], name) {
			for p < end && isSpace(b[p]) {
				p++
			}
			if p < end && b[p] != ';' {
				return Span{}, Span{}, false
			}
			return v, Span{semi, max(v.End, n.End)}, true
		}
	}
}

// oneParam reads name [ EQUAL value ] behind a semicolon, and gives the offset behind it: -1 when a quote does not close.
func oneParam(b []byte, p, end int) (name, value Span, next int) {
	for p < end && isSpace(b[p]) {
		p++
	}
	name.Off = p
	for p < end && tokenChar(b[p]) {
		p++
	}
	name.End = p
	for p < end && isSpace(b[p]) {
		p++
	}
	value = Span{p, p}
	if p == end || b[p] != '=' {
		return name, value, p
	}
	p++
	for p < end && isSpace(b[p]) {
		p++
	}
	value.Off = p
	if p < end && b[p] == '"' {
		if p = quoteEnd(b, p, end); p < 0 {
			return name, Span{}, -1
		}
	} else {
		for p < end && b[p] != ';' && !isSpace(b[p]) {
			p++
		}
	}
	value.End = p
	return name, value, p
}
