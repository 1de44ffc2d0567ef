package migrate

import (
	"strconv"
	"strings"

	"mrcproxy/config"
)

// resource is one name=value of the resources of a load balancer's row, or of attrs.
type resource struct{ name, value string }

// parseResources reads name=value;name=value. Quotes around a value are left away.
func parseResources(text string) []resource {
	var l []resource
	for part := range strings.SplitSeq(text, ";") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		l = append(l, resource{strings.TrimSpace(name), strings.Trim(strings.TrimSpace(value), `"`)})
	}
	return l
}

// limit reads a number of sessions.
func (r resource) limit() (int, bool) {
	n, err := strconv.Atoi(r.value)
	return n, err == nil && n >= 0
}

func (r resource) String() string { return r.name + "=" + r.value }

// capacity is the least limit among the resources that count, and what cannot be said with it.
func capacity(l []resource, counts func(name string) bool) (n int, notes []string) {
	n = config.Unlimited
	limits := 0
	for _, r := range l {
		limit, ok := r.limit()
		switch {
		case !counts(r.name), !ok:
			notes = append(notes, r.String()+" is not carried over")
			continue
		case n == config.Unlimited || limit < n:
			n = limit
		}
		limits++
	}
	if limits > 1 {
		notes = append(notes, "of several resources the least limit is taken as the capacity")
	}
	return n, notes
}
