package config

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// Warnings says what of a valid configuration is hardly meant: routes that nothing reaches, clusters that nothing leads to,
// servers that get no sessions, and fallbacks that cannot hold what they are to stand in for.
func Warnings(c *Config) []string {
	return slices.Concat(idleRoutes(c), idleClusters(c), idleBackends(c), smallFallbacks(c))
}

// idleRoutes are those before which another matches whatever they match.
func idleRoutes(c *Config) (l []string) {
	for i, later := range c.Routes {
		for _, earlier := range c.Routes[:i] {
			if earlier.Match.covers(&later.Match) {
				l = append(l, fmt.Sprintf("routes[%s] is never reached: routes[%s] before it matches all that it matches", later.Name, earlier.Name))
				break
			}
		}
	}
	return l
}

// covers reports whether m is known to match everything that o matches.
func (m *Match) covers(o *Match) bool {
	return covers(m.UserAgent, o.UserAgent) && covers(m.User, o.User) &&
		(m.MRCP == nil || o.MRCP != nil && *m.MRCP == *o.MRCP || *m.MRCP && o.Resource != "") &&
		(m.Resource == "" || strings.EqualFold(m.Resource, o.Resource)) &&
		(len(m.Source) == 0 || len(o.Source) > 0 && !slices.ContainsFunc(o.Source, func(p netip.Prefix) bool { return !inside(m.Source, p) })) &&
		!slices.ContainsFunc(m.Header, func(h HeaderMatch) bool {
			return !slices.ContainsFunc(o.Header, func(g HeaderMatch) bool { return g.Name == h.Name && covers(h.Pattern, g.Pattern) })
		})
}

func covers(p, o *Pattern) bool {
	switch {
	case p == nil:
		return true
	case o == nil:
		return false
	case p.Kind == Prefix:
		return o.Kind != Regexp && strings.HasPrefix(o.Text, p.Text)
	case p.Kind == Regexp && o.Kind == Exact:
		return p.Re.MatchString(o.Text)
	case p.Kind == Regexp && o.Kind == Prefix: // a pattern that an end does not bind
		return !strings.Contains(p.Text, "$") && !strings.Contains(p.Text, `\z`) && anchored(p.Re) && p.Re.MatchString(o.Text)
	}
	return p.Kind == o.Kind && p.Text == o.Text
}

// anchored reports whether whatever follows a match is still one: it has no assertion about what comes next.
func anchored(re *regexp.Regexp) bool {
	return !strings.Contains(re.String(), `\b`) && !strings.Contains(re.String(), `\B`)
}

func inside(all []netip.Prefix, p netip.Prefix) bool {
	return slices.ContainsFunc(all, func(a netip.Prefix) bool { return a.Bits() <= p.Bits() && a.Contains(p.Addr()) })
}

// idleClusters are those that no route, otherwise or fallback leads to.
func idleClusters(c *Config) (l []string) {
	reached := map[string]bool{}
	var visit func(string)
	visit = func(name string) {
		if reached[name] {
			return
		}
		reached[name] = true
		for _, f := range c.cluster(name).Fallback {
			visit(f)
		}
	}
	for _, r := range c.Routes {
		visit(r.Cluster)
	}
	if c.Otherwise.Cluster != "" {
		visit(c.Otherwise.Cluster)
	}
	for _, cl := range c.Clusters {
		if !reached[cl.Name] {
			l = append(l, fmt.Sprintf("clusters[%s] is never used: no route, otherwise or fallback leads to it", cl.Name))
		}
	}
	return l
}

func (c *Config) cluster(name string) *Cluster {
	for i := range c.Clusters {
		if c.Clusters[i].Name == name {
			return &c.Clusters[i]
		}
	}
	return &Cluster{}
}

func idleBackends(c *Config) (l []string) {
	for _, cl := range c.Clusters {
		for _, g := range cl.Groups {
			for _, b := range g.Backends {
				switch path := fmt.Sprintf("clusters[%s].backends[%s]", cl.Name, b.URI); {
				case b.Capacity == 0:
					l = append(l, path+" gets no sessions: its capacity is 0")
				case b.Weight == 0:
					l = append(l, path+" gets no sessions: its weight is 0")
				}
			}
		}
	}
	return l
}

// smallFallbacks are clusters whose first IDC has more places than all that is to stand in for it. What has nothing to stand
// in for it is not meant to have.
func smallFallbacks(c *Config) (l []string) {
	for _, cl := range c.Clusters {
		first := firstIDC(c, cl)
		own, rest, others := 0, 0, false
		for _, g := range cl.Groups {
			n := room(g)
			if g.IDC == first {
				own = sum(own, n)
			} else {
				rest, others = sum(rest, n), true
			}
		}
		seen := map[string]bool{cl.Name: true}
		var visit func([]string)
		visit = func(names []string) {
			for _, name := range names {
				if seen[name] {
					continue
				}
				seen[name], others = true, true
				for _, g := range c.cluster(name).Groups {
					rest = sum(rest, room(g))
				}
				visit(c.cluster(name).Fallback)
			}
		}
		visit(cl.Fallback)
		if others && own != Unlimited && rest != Unlimited && rest < own {
			l = append(l, fmt.Sprintf("clusters[%s]: its servers in %s have %d places, its other groups and its fallbacks %d: they cannot hold its load", cl.Name, quoted(first), own, rest))
		}
	}
	return l
}

// firstIDC is the one whose groups a cluster tries first.
func firstIDC(c *Config, cl Cluster) string {
	first := cl.Groups[0]
	for _, g := range cl.Groups {
		if g.IDC == c.IDC {
			return g.IDC
		}
		if g.Priority < first.Priority {
			first = g
		}
	}
	return first.IDC
}

func quoted(idc string) string {
	if idc == "" {
		return "no IDC"
	}
	return idc
}

// room is how many places a group has. A name counts as one server: how many it stands for, only DNS knows.
func room(g Group) (n int) {
	for _, b := range g.Backends {
		if b.Weight > 0 {
			n = sum(n, b.Capacity)
		}
	}
	return n
}

// sum adds capacities.
func sum(a, b int) int {
	if a == Unlimited || b == Unlimited {
		return Unlimited
	}
	return a + b
}
