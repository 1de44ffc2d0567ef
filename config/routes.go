package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var (
	validName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	validToken = regexp.MustCompile("^[A-Za-z0-9.!%*_+`'~-]+$") // RFC 3261 25.1
)

// name reads the name of a route or cluster, which must be unique: seen holds those before it.
func (b *builder) name(path string, raw *string, seen map[string]bool) string {
	switch {
	case raw == nil:
		b.fail(path, "is required")
		return ""
	case !validName.MatchString(*raw):
		b.fail(path, "must be 1 to 64 letters, digits, dots, hyphens or underscores, not %q", *raw)
	case seen[*raw]:
		b.fail(path, "%q is the name of another one above", *raw)
	}
	seen[*raw] = true
	return *raw
}

func (b *builder) routes(raws []rawRoute) []Route {
	var all []Route
	seen := make(map[string]bool)
	for i, raw := range raws {
		path := index("routes", i)
		r := Route{Name: b.name(path+".name", raw.Name, seen)}
		if raw.Cluster == nil {
			b.fail(path+".cluster", "is required")
		} else {
			r.Cluster = *raw.Cluster
		}
		b.count(path+".reserve", &r.Reserve, raw.Reserve, 0)
		if raw.Match != nil {
			r.Match = b.match(path+".match", raw.Match)
		}
		all = append(all, r)
	}
	b.unreachable(raws)
	return all
}

// unreachable reports the routes that stand after one that matches everything.
func (b *builder) unreachable(raws []rawRoute) {
	for i, raw := range raws {
		m := raw.Match
		if m != nil && (m.UserAgent != nil || m.MRCP != nil || m.Resource != nil || m.Source != nil || m.User != nil || m.Header != nil) ||
			b.badWithin(index("routes", i)+".match") || b.given(index("routes", i)+".match.header") || i == len(raws)-1 {
			continue
		}
		var later []string
		for j := i + 1; j < len(raws); j++ {
			name := index("routes", j)
			if raws[j].Name != nil {
				name = *raws[j].Name
			}
			later = append(later, name)
		}
		b.fail(index("routes", i)+".match", "is empty, which matches everything: these routes below are never reached: %s", strings.Join(later, ", "))
		return
	}
}

func (b *builder) match(path string, raw *rawMatch) Match {
	m := Match{
		UserAgent: b.pattern(path+".user_agent", raw.UserAgent),
		MRCP:      raw.MRCP,
		User:      b.pattern(path+".user", raw.User),
		Source:    b.prefixes(path+".source", raw.Source),
	}
	if b.given(path+".source") && len(raw.Source) == 0 {
		b.fail(path+".source", "must not be empty: leave it out to match every source")
	}
	if raw.Resource != nil {
		if m.Resource = strings.ToLower(*raw.Resource); !validToken.MatchString(m.Resource) {
			b.fail(path+".resource", "must be a resource type such as speechrecog or speechsynth, not %q", *raw.Resource)
		}
	}
	if b.given(path+".header") && len(raw.Header) == 0 && !b.badWithin(path+".header") {
		b.fail(path+".header", "must not be empty")
	}
	names := make([]string, 0, len(raw.Header))
	for name := range raw.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		sub := join(path+".header", name)
		if !validToken.MatchString(name) {
			b.fail(sub, "%q cannot be the name of a SIP header field", name)
		}
		text := raw.Header[name]
		m.Header = append(m.Header, HeaderMatch{Name: name, Pattern: b.pattern(sub, &text)})
	}
	return m
}

func (b *builder) pattern(path string, raw *string) *Pattern {
	if raw == nil {
		return nil
	}
	p, err := parsePattern(*raw)
	if err != nil {
		b.fail(path, "%s", err)
	}
	return p
}

func parsePattern(text string) (*Pattern, error) {
	if text == "" {
		return nil, fmt.Errorf("must not be empty: leave it out to match everything, or write \"=\" to match an empty value")
	}
	switch text[0] {
	case '=':
		return &Pattern{Kind: Exact, Text: text[1:]}, nil
	case '~':
		if text == "~" {
			return nil, fmt.Errorf("must have a regular expression after ~")
		}
		re, err := regexp.Compile(text[1:])
		if err != nil {
			return nil, fmt.Errorf("must be a regular expression after ~: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		}
		return &Pattern{Kind: Regexp, Text: text[1:], Re: re}, nil
	}
	return &Pattern{Kind: Prefix, Text: text}, nil
}

// String writes the pattern as it stands in the file.
func (p *Pattern) String() string {
	switch p.Kind {
	case Exact:
		return "=" + p.Text
	case Regexp:
		return "~" + p.Text
	default:
		return p.Text
	}
}
