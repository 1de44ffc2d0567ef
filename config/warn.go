package config

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// Warnings says what of a valid configuration is hardly meant: routes that nothing reaches or that get no sessions, clusters that
// nothing leads to, servers that get no sessions, fallbacks that cannot hold what they are to stand in for, names that nothing has,
// and times that are too short.
func Warnings(c *Config) []string {
	return slices.Concat(idleRoutes(c), modestRoutes(c), idleClusters(c), idleBackends(c), smallFallbacks(c),
		oddResources(c), shortTimes(c), strangeIDC(c), closedAdmin(c))
}

// modestRoutes are those that leave to others more than there is anywhere.
func modestRoutes(c *Config) (l []string) {
	for _, r := range c.Routes {
		room := r.Reserve == 0
		for _, cl := range c.behind(r.Cluster) {
			for _, g := range cl.Groups {
				for _, b := range g.Backends {
					n := least(least(b.Capacity, b.limit(r.Match.Resource)), cl.licences())
					room = room || n == Unlimited || n > r.Reserve
				}
			}
		}
		if !room {
			l = append(l, fmt.Sprintf("routes[%s] gets no sessions: it leaves %d places free, and no server that it leads to has more", r.Name, r.Reserve))
		}
	}
	return l
}

// behind is a cluster and all its fallbacks.
func (c *Config) behind(name string) (all []*Cluster) {
	var visit func(string)
	visit = func(name string) {
		cl := c.cluster(name)
		if slices.Contains(all, cl) {
			return
		}
		all = append(all, cl)
		for _, f := range cl.Fallback {
			visit(f)
		}
	}
	visit(name)
	return all
}

// licences is how many sessions the cluster may have, or Unlimited.
func (cl *Cluster) licences() int {
	if cl.Licences == 0 {
		return Unlimited
	}
	return cl.Licences
}

// limit is how many sessions with a resource the backend may have, or Unlimited.
func (b *Backend) limit(resource string) int {
	if n, ok := b.Resources[strings.ToLower(resource)]; ok {
		return n
	}
	return Unlimited
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

// smallFallbacks are clusters whose first IDC has more places, or more for a resource, than all that is to stand in for it.
// What has nothing to stand in for it is not meant to have.
func smallFallbacks(c *Config) (l []string) {
	for i := range c.Clusters {
		cl := &c.Clusters[i]
		first := firstIDC(c, *cl)
		for _, resource := range append([]string{""}, resources(cl)...) {
			own, rest, others := 0, 0, len(cl.Fallback) > 0
			for _, g := range cl.Groups {
				if n := room(g, resource); g.IDC == first {
					own = sum(own, n)
				} else {
					rest, others = sum(rest, n), true
				}
			}
			own, rest = least(own, cl.licences()), least(rest, cl.licences())
			for _, f := range c.behind(cl.Name)[1:] {
				n := 0
				for _, g := range f.Groups {
					n = sum(n, room(g, resource))
				}
				rest = sum(rest, least(n, f.licences()))
			}
			if others && own != Unlimited && rest != Unlimited && rest < own {
				l = append(l, fmt.Sprintf("clusters[%s]: its servers in %s have %d places%s, its other groups and its fallbacks %d: they cannot hold its load",
					cl.Name, quoted(first), own, forResource(resource), rest))
			}
		}
	}
	return l
}

// resources are those that servers of the cluster have a limit for.
func resources(cl *Cluster) []string {
	all := map[string]bool{}
	for _, g := range cl.Groups {
		for _, b := range g.Backends {
			for r := range b.Resources {
				all[r] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func forResource(resource string) string {
	if resource == "" {
		return ""
	}
	return " for " + resource
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

// room is how many places a group has, or for a resource how many with it. A name counts as one server: how many it stands for, only DNS knows.
func room(g Group, resource string) (n int) {
	for _, b := range g.Backends {
		if b.Weight > 0 {
			n = sum(n, least(b.Capacity, b.limit(resource)))
		}
	}
	return n
}

// least is the lower of two capacities.
func least(a, b int) int {
	if a == Unlimited || b != Unlimited && b < a {
		return b
	}
	return a
}

// sum adds capacities.
func sum(a, b int) int {
	if a == Unlimited || b == Unlimited {
		return Unlimited
	}
	return a + b
}
