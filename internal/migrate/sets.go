package migrate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"mrcproxy/config"
)

// The kinds of groups, as attrs of a dialplan name them: those of the module load_balancer, and of dispatcher.
const (
	loadBalancer = "LB"
	dispatcher   = "DS"
)

// setKey is a group of servers of another proxy.
type setKey struct {
	kind  string
	group int
}

func (k setKey) String() string { return fmt.Sprintf("%s-%d", strings.ToLower(k.kind), k.group) }

// member is a server of a group.
type member struct {
	set      setKey
	idc      string
	backend  backend
	priority string
	inactive bool     // gets no new sessions
	counted  []string // names of the resources that it limits
	where    string   // file and line
	dropped  string   // why it cannot be carried over; "" if it can
}

// newMember reads what both tables have: a URI, and a description with the IDC in front of a colon.
func newMember(r *row, set setKey, uri, description string) member {
	m := member{set: set, where: fmt.Sprintf("%s:%d", r.file, r.line), backend: backend{capacity: config.Unlimited, weight: 1}}
	if idc, rest, ok := strings.Cut(description, ":"); ok && idc != "" && !strings.ContainsFunc(idc, notInIDC) {
		m.idc, description = idc, rest
	}
	if description != "" {
		m.backend.notes = append(m.backend.notes, description)
	}
	m.uri(uri)
	return m
}

func notInIDC(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }

// uri takes over what the configuration knows of a URI: its parameters but for transport are left out.
func (m *member) uri(text string) {
	hostport, params, _ := strings.Cut(strings.Trim(strings.TrimSpace(text), "<>"), ";")
	for p := range strings.SplitSeq(params, ";") {
		name, _, _ := strings.Cut(p, "=")
		switch {
		case strings.EqualFold(name, "transport"):
			hostport += ";" + strings.ToLower(p)
		case p != "":
			m.note("the parameter ;%s is not carried over", p)
		}
	}
	m.backend.uri = hostport
	if _, err := config.ParseBackend(hostport); err != nil {
		m.dropped = err.Error()
	}
}

func (m *member) note(format string, args ...any) {
	m.backend.notes = append(m.backend.notes, fmt.Sprintf(format, args...))
}

// deactivate keeps new sessions away.
func (m *member) deactivate(why string) {
	m.note("%s, inactive: weight 0 instead of %d, no new sessions", why, m.backend.weight)
	m.backend.weight, m.inactive = 0, true
}

// sets are the groups of all tables, in their order.
type sets struct {
	order   []setKey
	members map[setKey][]member
}

func newSets(all []member) *sets {
	s := &sets{members: map[setKey][]member{}}
	for _, m := range all {
		if s.members[m.set] == nil {
			s.order = append(s.order, m.set)
		}
		s.members[m.set] = append(s.members[m.set], m)
	}
	return s
}

// clusters makes a cluster of each group, with its escape group as the second. names are those of the groups that have one.
func (s *sets) clusters(names map[setKey]string, escape int) (all []*cluster, byKey map[setKey]*cluster) {
	byKey = map[setKey]*cluster{}
	taken := map[string]bool{}
	for _, name := range names {
		taken[name] = true
	}
	for _, key := range s.order {
		key = s.base(key, names, escape)
		if byKey[key] != nil {
			continue
		}
		name, ok := names[key]
		if !ok {
			name = uniqueName(taken, key.String())
		}
		c := &cluster{name: name, policy: config.Weighted}
		if key.kind == loadBalancer {
			c.policy = config.LeastLoad
		}
		c.groups = append(c.groups, newGroup(s.members[key], 0))
		if escaped := s.members[setKey{key.kind, key.group + escape}]; escape > 0 && escaped != nil {
			c.groups = append(c.groups, newGroup(escaped, 1))
		}
		c.dropTwins()
		all = append(all, c)
		byKey[key] = c
	}
	return all, byKey
}

// base is the group that a group stands in for; the group itself if it is no escape group.
func (s *sets) base(key setKey, names map[setKey]string, escape int) setKey {
	base := setKey{key.kind, key.group - escape}
	_, named := names[key]
	_, baseNamed := names[base]
	if escape > 0 && !named && (s.members[base] != nil || baseNamed) {
		return base
	}
	return key
}

// newGroup has the IDC that all servers have.
func newGroup(members []member, priority int) *group {
	g := &group{priority: priority}
	idcs := map[string]bool{}
	for _, m := range members {
		if m.dropped != "" {
			g.note("left out: %s, %s: %s", m.backend.uri, m.where, m.dropped)
			continue
		}
		idcs[m.idc] = true
		g.backends = append(g.backends, m.backend)
	}
	names := slices.Sorted(maps.Keys(idcs))
	switch {
	case len(names) == 1:
		g.idc = names[0]
	case len(names) > 1:
		g.note("the servers stand in different data centres, %q, and took turns all the same: the group has no idc", names)
	}
	g.hoist()
	return g
}

// hoist says of the group what would be said of each server.
func (g *group) hoist() {
	if len(g.backends) == 0 {
		return
	}
	common := slices.Clone(g.backends[0].notes)
	for _, b := range g.backends {
		common = slices.DeleteFunc(common, func(n string) bool { return !slices.Contains(b.notes, n) })
	}
	for i := range g.backends {
		b := &g.backends[i]
		b.notes = slices.DeleteFunc(slices.Clone(b.notes), func(n string) bool { return slices.Contains(common, n) })
	}
	g.notes = slices.Concat(common, g.notes)
}

// dropTwins leaves out servers that stand in the cluster already: a server may stand in it once.
func (c *cluster) dropTwins() {
	seen := map[string]bool{}
	for _, g := range c.groups {
		g.backends = slices.DeleteFunc(g.backends, func(b backend) bool {
			be, _ := config.ParseBackend(b.uri) // was checked
			key := fmt.Sprint(be.Addr, be.Host, be.Port)
			if seen[key] {
				g.note("left out: %s stands in the cluster already", b.uri)
				return true
			}
			seen[key] = true
			return false
		})
	}
}

// ownIDC is the data centre of most first groups. A cluster whose order would be another with it loses its IDCs.
func ownIDC(all []*cluster) string {
	count := map[string]int{}
	own := ""
	for _, c := range all {
		if idc := c.groups[0].idc; idc != "" {
			if count[idc]++; count[idc] > count[own] {
				own = idc
			}
		}
	}
	for _, c := range all {
		if len(c.groups) > 1 && own != "" && c.groups[1].idc == own && c.groups[0].idc != own {
			c.notes = append(c.notes, fmt.Sprintf("The groups have no idc (%q, then %q): with idc %s the second would be tried first.", c.groups[0].idc, own, own))
			c.groups[0].idc, c.groups[1].idc = "", ""
		}
	}
	return own
}
