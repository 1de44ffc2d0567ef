package config

import (
	"fmt"
	"strconv"
	"strings"
)

// The status codes that a CodeSet can hold (RFC 3261 21: final responses are 200 to 699).
const (
	minCode = 100
	maxCode = 699
)

// CodeSet is a set of SIP status codes, 100 to 699. The zero value is empty. Two sets are equal (==) when they hold the
// same codes.
type CodeSet struct {
	bits [maxCode/64 + 1]uint64
}

// ParseCodeSet makes a set of items as they stand in the file: a code ("200"), a range ("200-499"), or either with "!"
// before it, which takes codes out again. Items apply in the order given; one string may hold several, with commas
// between them.
func ParseCodeSet(items ...string) (CodeSet, error) {
	var s CodeSet
	for item := range strings.SplitSeq(strings.Join(items, ","), ",") {
		text, remove := strings.CutPrefix(strings.TrimSpace(item), "!")
		first, last, isRange := strings.Cut(text, "-")
		if !isRange {
			last = first
		}
		lo, err1 := parseCode(first)
		hi, err2 := parseCode(last)
		if err1 != nil || err2 != nil {
			return CodeSet{}, fmt.Errorf("must be a status code %d-%d, a range such as 200-499, or either with ! before it, not %q", minCode, maxCode, strings.TrimSpace(item))
		}
		if lo > hi {
			return CodeSet{}, fmt.Errorf("range %q is the wrong way round", item)
		}
		for c := lo; c <= hi; c++ {
			if remove {
				s.bits[c/64] &^= 1 << (c % 64)
			} else {
				s.bits[c/64] |= 1 << (c % 64)
			}
		}
	}
	return s, nil
}

func parseCode(s string) (int, error) {
	s = strings.TrimSpace(s)
	n, err := strconv.Atoi(s)
	if err != nil || len(s) != 3 || n < minCode || n > maxCode {
		return 0, fmt.Errorf("bad status code %q", s)
	}
	return n, nil
}

// Contains reports whether code is in the set.
func (s CodeSet) Contains(code int) bool {
	return code >= minCode && code <= maxCode && s.bits[code/64]&(1<<(code%64)) != 0
}

// String lists the set's ranges in ascending order, for example "200-407,409-499"; "" for the empty set.
func (s CodeSet) String() string {
	var b strings.Builder
	for c := minCode; c <= maxCode; c++ {
		if !s.Contains(c) {
			continue
		}
		first := c
		for s.Contains(c + 1) {
			c++
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(first))
		if c > first {
			b.WriteByte('-')
			b.WriteString(strconv.Itoa(c))
		}
	}
	return b.String()
}
