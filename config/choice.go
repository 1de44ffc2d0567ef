package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// maxCPS is the most that max_cps can be: the time of each session of the last second is remembered.
const maxCPS = 10000

// choice reads how a cluster's backends are chosen.
func (b *builder) choice(path string, c *Cluster, raw *rawCluster) {
	oneOf(b, path+".policy", &c.Policy, raw.Policy, LeastLoad, Weighted, Ordered, Hash, Latency)
	b.hashOn(path+".hash_on", c, raw.HashOn)
	b.count(path+".licences", &c.Licences, raw.Licences, 1)
	b.duration(path+".queue", &c.Queue, raw.Queue, 0)
	b.count(path+".queue_length", &c.QueueLength, raw.QueueLength, 1)
	if raw.SlowStart != nil {
		b.duration(path+".slow_start.window", &c.SlowStart, raw.SlowStart.Window, 0)
	}
	if raw.Panic != nil {
		c.Panic = *raw.Panic
	}
	b.duration(path+".failback_after", &c.FailbackAfter, raw.FailbackAfter, 0)
	b.duration(path+".failback_ramp", &c.FailbackRamp, raw.FailbackRamp, 0)
}

func (b *builder) hashOn(path string, c *Cluster, raw *string) {
	if c.Policy == Hash {
		c.HashOn = "call-id"
	}
	if raw == nil {
		return
	}
	c.HashOn = strings.ToLower(*raw)
	header, isHeader := strings.CutPrefix(c.HashOn, "header:")
	switch {
	case !isHeader && c.HashOn != "call-id" && c.HashOn != "source":
		b.fail(path, "must be call-id, source or header:NAME, not %q", *raw)
	case isHeader && !validToken.MatchString(header):
		b.fail(path, "%q is no name of a header", header)
	case c.Policy != Hash:
		b.fail(path, "does nothing without policy: hash")
	}
}

// spill reads a number of sessions, or a part of the capacity in another IDC, which must have one then.
func (b *builder) spill(c *Config, path string, cl *Cluster, raw *partText) {
	if raw == nil {
		return
	}
	number, isPart := strings.CutSuffix(string(*raw), "%")
	n, err := strconv.Atoi(strings.TrimSpace(number))
	switch {
	case err != nil || n < 1 || n > mostOf || isPart && n > 100:
		b.fail(path, "must be a number of sessions, 1 or more, or 1%% to 100%%, not %q", *raw)
		return
	case !isPart:
		cl.Spill.Sessions = n
	default:
		cl.Spill.Percent = n
	}
	unlimited := func(be Backend) bool { return be.Capacity == Unlimited }
	for _, g := range cl.Groups {
		if i := slices.IndexFunc(g.Backends, unlimited); isPart && g.IDC != c.IDC && i >= 0 {
			b.fail(path, "a part needs the capacity of every server in another idc: %s has none", g.Backends[i].URI)
			return
		}
	}
}

// capacity reads the total, and the limits for resources.
func (b *builder) capacity(path string, be *Backend, raw rawCapacity) {
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		n, where := raw[name], path
		if _, ok := b.places[join(path, name)]; ok {
			where = join(path, name)
		}
		if !b.within(where, n, 0) {
			continue
		}
		if name == total {
			be.Capacity = n
			continue
		}
		if !validToken.MatchString(name) {
			b.fail(join(path, name), "is no name of a resource")
		}
		if be.Resources == nil {
			be.Resources = make(map[string]int)
		}
		be.Resources[name] = n
	}
	if len(be.Resources) > maxResources {
		b.fail(path, "has limits for %d resources, at most %d are possible", len(be.Resources), maxResources)
	}
}

// maxResources is how many resources of one server can have a limit.
const maxResources = 32

// Needs is what must be known of a session for placing it in a cluster or one of its fallbacks.
type Needs struct {
	Resources bool   // the MRCP resources that it asks for: some have a limit
	HashOn    string // what the first cluster with the policy Hash goes by; "" where none has it
}

// Needs tells what must be known of a session that a route sends to a cluster.
func (c *Config) Needs(cluster string) (n Needs) {
	var visited []string
	var visit func(string)
	visit = func(name string) {
		i := slices.IndexFunc(c.Clusters, func(cl Cluster) bool { return cl.Name == name })
		if i < 0 || slices.Contains(visited, name) {
			return
		}
		visited = append(visited, name)
		cl := &c.Clusters[i]
		if n.HashOn == "" {
			n.HashOn = cl.HashOn
		}
		for _, g := range cl.Groups {
			n.Resources = n.Resources || slices.ContainsFunc(g.Backends, func(b Backend) bool { return len(b.Resources) > 0 })
		}
		for _, f := range cl.Fallback {
			visit(f)
		}
	}
	visit(cluster)
	return n
}

// fields are the values of a cluster's choice, for Diff.
func (c *Cluster) fields() []field {
	return []field{
		{"policy", string(c.Policy)},
		{"hash_on", c.HashOn},
		{"fallback", strings.Join(c.Fallback, ", ")},
		{"licences", number(c.Licences, 0)},
		{"queue", short(c.Queue)},
		{"queue_length", strconv.Itoa(c.QueueLength)},
		{"slow_start.window", short(c.SlowStart)},
		{"panic", strconv.FormatBool(c.Panic)},
		{"failback_after", short(c.FailbackAfter)},
		{"failback_ramp", short(c.FailbackRamp)},
		{"spill", c.Spill.String()},
	}
}

// String is the bound as the file has it.
func (s Spill) String() string {
	if s.Percent > 0 {
		return number(s.Sessions, 0) + strconv.Itoa(s.Percent) + "%"
	}
	return number(s.Sessions, 0)
}

// capacityText is the capacity as the file has it.
func capacityText(b *Backend) string {
	if len(b.Resources) == 0 {
		return number(b.Capacity, Unlimited)
	}
	var parts []string
	for name, n := range b.Resources {
		parts = append(parts, name+": "+strconv.Itoa(n))
	}
	slices.Sort(parts)
	if b.Capacity != Unlimited {
		parts = append(parts, total+": "+strconv.Itoa(b.Capacity))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
