package config

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

func (b *builder) clusters(c *Config, raws []rawCluster) []Cluster {
	if len(raws) == 0 {
		b.fail("clusters", "must have at least one cluster")
	}
	var all []Cluster
	seen := make(map[string]bool)
	for i, raw := range raws {
		path := index("clusters", i)
		cl := Cluster{
			Name:     b.name(path+".name", raw.Name, seen),
			Policy:   LeastLoad,
			Fallback: raw.Fallback,
			Health:   c.Health,

			QueueLength: 100,
			SlowStart:   30 * time.Second,
			Panic:       true,
		}
		b.choice(path, &cl, &raw)
		if raw.Health != nil {
			b.health(path+".health", &cl.Health, raw.Health)
		}
		cl.Groups = b.groups(c, path+".groups", raw.Groups)
		b.spill(c, path+".spill", &cl, raw.Spill)
		all = append(all, cl)
	}
	return all
}

func (b *builder) groups(c *Config, path string, raws []rawGroup) []Group {
	if len(raws) == 0 {
		b.fail(path, "must have at least one group")
	}
	var all []Group
	seen := make(map[serverKey]string)
	for i, raw := range raws {
		sub := index(path, i)
		g := Group{IDC: b.label(sub+".idc", raw.IDC)}
		if raw.Priority != nil {
			g.Priority = *raw.Priority
		}
		if len(raw.Backends) == 0 {
			b.fail(sub+".backends", "must have at least one backend")
		}
		for j, rawBackend := range raw.Backends {
			g.Backends = append(g.Backends, b.backend(c, index(sub+".backends", j), rawBackend, seen))
		}
		all = append(all, g)
	}
	return all
}

// serverKey is what a cluster may have only once: an address, or a name with a port. A name without a port may stand for
// other servers with another transport (RFC 3263 4.2).
type serverKey struct {
	addr    netip.AddrPort
	host    string
	port    uint16
	network string
}

func keyOf(be Backend) serverKey {
	p := serverKey{addr: be.Addr, host: strings.TrimSuffix(be.Host, "."), port: be.Port}
	if be.Host != "" && be.Port == 0 {
		p.network = be.Network
	}
	return p
}

func (p serverKey) String() string {
	switch {
	case p.host == "":
		return p.addr.String()
	case p.port == 0:
		return p.host
	}
	return fmt.Sprintf("%s:%d", p.host, p.port)
}

// backend reads one server; seen holds the servers of the cluster above it and their key paths.
func (b *builder) backend(c *Config, path string, raw rawBackend, seen map[serverKey]string) Backend {
	if raw.URI == nil {
		raw.URI = new(string)
	}
	be, err := ParseBackend(*raw.URI)
	where := keyOf(be)
	first, again := seen[where]
	switch {
	case *raw.URI == "":
		b.fail(path+".uri", "is required")
	case err != nil:
		b.fail(path+".uri", "%s", err)
	case again:
		b.fail(path+".uri", "%s is in the cluster already: %s, line %d", where, first, b.lineOf(first))
	case !reachable(c, be):
		b.fail(path+".uri", "there is no %s listener that can reach %s", be.Network, where)
	default:
		seen[where] = path + ".uri"
	}
	if c.ListensOn(be.Network, be.Addr) {
		b.fail(path+".uri", "%s is an address this proxy listens on", be.Addr)
	}
	b.capacity(path+".capacity", &be, raw.Capacity)
	b.count(path+".max_cps", &be.MaxCPS, raw.MaxCPS, 1)
	if raw.MaxCPS != nil && be.MaxCPS > maxCPS {
		b.fail(path+".max_cps", "must be at most %d, not %d", maxCPS, be.MaxCPS)
	}
	b.count(path+".weight", &be.Weight, raw.Weight, 0)
	return be
}

// reachable reports whether a listener can reach the backend; for a name, of which only DNS knows the family, one of its
// transport. Refused listeners are not held against it.
func reachable(c *Config, be Backend) bool {
	if len(c.Listen) == 0 || slices.ContainsFunc(c.Listen, func(l Listener) bool { return l.Network == "" }) {
		return true
	}
	if be.Host != "" {
		return slices.ContainsFunc(c.Listen, func(l Listener) bool { return l.Network == be.Network })
	}
	return c.Reaches(be.Network, be.Addr.Addr())
}

// references checks that every cluster that is named exists.
func (b *builder) references(c *Config, raw *rawConfig) {
	names := make(map[string]bool)
	for i, cl := range raw.Clusters {
		if b.isBad(index("clusters", i) + ".name") {
			return // a name that was refused may be the one that is missed
		}
		if cl.Name != nil {
			names[*cl.Name] = true
		}
	}
	if b.isBad("clusters") {
		return
	}
	known := slices.Sorted(maps.Keys(names))
	check := func(path, name string) {
		if names[name] {
			return
		}
		b.fail(path, "%s", unknownCluster(name, known))
	}
	for i, r := range raw.Routes {
		if r.Cluster != nil {
			check(index("routes", i)+".cluster", *r.Cluster)
		}
	}
	if raw.Otherwise != nil && raw.Otherwise.Cluster != nil {
		check("otherwise.cluster", *raw.Otherwise.Cluster)
	}
	for i, cl := range c.Clusters {
		for j, name := range cl.Fallback {
			path := index(index("clusters", i)+".fallback", j)
			switch {
			case name == cl.Name && name != "":
				b.fail(path, "the cluster cannot be its own fallback")
			case slices.Contains(cl.Fallback[:j], name):
				b.fail(path, "%q is given twice", name)
			default:
				check(path, name)
			}
		}
	}
}

func unknownCluster(name string, known []string) string {
	if near := closest(name, known); near != "" {
		return fmt.Sprintf("there is no cluster %q, did you mean %s?", name, near)
	}
	if len(known) == 0 || len(known) > 10 {
		return fmt.Sprintf("there is no cluster %q", name)
	}
	return fmt.Sprintf("there is no cluster %q, only %s", name, strings.Join(known, ", "))
}
