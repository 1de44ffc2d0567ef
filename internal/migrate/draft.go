package migrate

import (
	"fmt"
	"strings"
	"unicode"

	"mrcproxy/config"
)

// Options say what the tables do not.
type Options struct {
	// Listen are the SIP addresses, as in the configuration. Empty: loopback, with a comment that says so.
	Listen []string
	// Escape is how much larger the number of a group is that stands in for another one. 0: there are none such.
	Escape int
}

// draft is a configuration with its comments.
type draft struct {
	notes     []string
	idc       string
	routes    []route
	left      []string // about routes that could not be
	otherwise string   // a cluster
	clusters  []*cluster
}

type route struct {
	name, userAgent, cluster string
	notes                    []string
}

type cluster struct {
	name   string
	policy config.Policy
	notes  []string
	groups []*group
}

type group struct {
	idc      string
	priority int
	notes    []string // about backends that could not be, too
	backends []backend
}

type backend struct {
	uri      string
	capacity int // config.Unlimited
	weight   int
	notes    []string
}

func (g *group) note(format string, args ...any) {
	g.notes = append(g.notes, fmt.Sprintf(format, args...))
}

// empty reports whether no backend of the cluster could be carried over.
func (c *cluster) empty() bool {
	for _, g := range c.groups {
		if len(g.backends) > 0 {
			return false
		}
	}
	return true
}

// name gives a cluster or route a name that no other has.
func uniqueName(taken map[string]bool, name string) string {
	unique := name
	for n := 2; taken[unique]; n++ {
		unique = fmt.Sprintf("%s-%d", name, n)
	}
	taken[unique] = true
	return unique
}

// yaml writes the configuration.
func (d *draft) yaml(listen []string) []byte {
	w := &writer{}
	w.comments(0, d.notes)
	w.line(0, "")
	if d.idc != "" {
		w.comment(0, "The data centre of the groups that are not escape groups. Where this instance stands in another, change it.")
		w.line(0, "idc: %q", d.idc)
	}
	if len(listen) == 0 {
		w.comment(0, "The tables do not say where the proxy listens. Put addresses here that clients and servers can reach.")
		listen = []string{"udp://127.0.0.1:5060", "tcp://127.0.0.1:5060"}
	}
	w.line(0, "listen:")
	for _, l := range listen {
		w.line(1, "- %q", l)
	}
	w.comment(0, "Nor who may start sessions: without clients, everyone may.")
	w.comment(0, "clients: {allow: [10.0.0.0/8]}")
	d.writeRoutes(w)
	w.line(0, "")
	w.line(0, "clusters:")
	for _, c := range d.clusters {
		c.write(w)
	}
	return []byte(w.b.String())
}

func (d *draft) writeRoutes(w *writer) {
	w.line(0, "")
	if len(d.routes) > 0 {
		w.line(0, "routes:")
	}
	for _, r := range d.routes {
		w.comments(1, r.notes)
		w.line(1, "- {name: %s, match: {user_agent: %q}, cluster: %s}", quoteName(r.name), r.userAgent, quoteName(r.cluster))
	}
	w.comments(1, d.left)
	if d.otherwise != "" {
		w.line(0, "otherwise: {cluster: %s}", quoteName(d.otherwise))
		return
	}
	w.comment(0, "What no route matches is rejected. The script's answer does not stand in the tables.")
	w.line(0, "otherwise: {reject: 488}")
}

func (c *cluster) write(w *writer) {
	if c.empty() {
		w.comment(1, "%s is left out: it has no server that could be carried over.", c.name)
		w.comments(1, c.notes)
		for _, g := range c.groups {
			w.comments(1, g.notes)
		}
		return
	}
	w.comments(1, c.notes)
	w.line(1, "- name: %s", quoteName(c.name))
	w.line(2, "policy: %s", c.policy)
	w.line(2, "groups:")
	for _, g := range c.groups {
		g.write(w)
	}
}

func (g *group) write(w *writer) {
	w.comments(3, g.notes)
	if len(g.backends) == 0 {
		return
	}
	var keys []string
	if g.idc != "" {
		keys = append(keys, fmt.Sprintf("idc: %q", g.idc))
	}
	if g.priority != 0 {
		keys = append(keys, fmt.Sprintf("priority: %d", g.priority))
	}
	for i, key := range append(keys, "backends:") {
		if i == 0 {
			w.line(3, "- %s", key)
		} else {
			w.line(4, "%s", key)
		}
	}
	for _, b := range g.backends {
		w.comments(5, b.notes)
		w.line(5, "- %s", b)
	}
}

// String writes a backend as YAML.
func (b backend) String() string {
	s := fmt.Sprintf("{uri: %q", b.uri)
	if b.capacity != config.Unlimited {
		s += fmt.Sprintf(", capacity: %d", b.capacity)
	}
	if b.weight != 1 {
		s += fmt.Sprintf(", weight: %d", b.weight)
	}
	return s + "}"
}

// quoteName quotes names that YAML would read as something else, such as 90 or true.
func quoteName(name string) string {
	if strings.ContainsAny(name, "_-") && !strings.ContainsAny(name[:1], "-.0123456789") && !strings.ContainsAny(name, ":#") {
		return name
	}
	return fmt.Sprintf("%q", name)
}

// writer writes indented lines, and comments that never end early.
type writer struct{ b strings.Builder }

func (w *writer) line(indent int, format string, args ...any) {
	if text := fmt.Sprintf(format, args...); text != "" {
		w.b.WriteString(strings.Repeat("  ", indent) + text)
	}
	w.b.WriteByte('\n')
}

func (w *writer) comments(indent int, notes []string) {
	for _, n := range notes {
		w.comment(indent, "%s", n)
	}
}

func (w *writer) comment(indent int, format string, args ...any) {
	printable := func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}
	w.line(indent, "# %s", strings.Map(printable, fmt.Sprintf(format, args...)))
}
