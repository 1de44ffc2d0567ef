package migrate

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
)

// rule is a row of the dialplan.
type rule struct {
	row       *row
	priority  int
	op        int
	userAgent string // a pattern
	literal   string
	set       setKey
	name      string   // of the cluster, from attrs
	dropped   string   // why it cannot be carried over
	notes     []string // what of it cannot
}

var (
	target    = regexp.MustCompile(`^\s*(\d+)\s*:\s*(?i:(LB|DS))\s*:\s*(.*?)\s*$`)
	validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	notInName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)
)

// readDialplan gives the rules in the order in which OpenSIPS tries them: by pr; of those that have the same, the ones that
// compare come before the expressions.
func readDialplan(f File) ([]*rule, error) {
	rows, err := readTable("dialplan", f, "match_exp", "attrs")
	if err != nil {
		return nil, err
	}
	var rules []*rule
	var errs []error
	for _, r := range rows {
		rl, err := newRule(r)
		rules = append(rules, rl)
		errs = append(errs, err)
	}
	slices.SortStableFunc(rules, func(a, b *rule) int {
		return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(min(a.op, matchRegexp), min(b.op, matchRegexp)))
	})
	return rules, errors.Join(errs...)
}

func newRule(r *row) (*rule, error) {
	rl := &rule{row: r}
	var errs [4]error
	rl.priority, errs[0] = number(r, "pr", 0)
	rl.op, errs[1] = number(r, "match_op", matchRegexp)
	flags, err := number(r, "match_flags", 0)
	errs[2] = err
	disabled, err := number(r, "disabled", 0)
	errs[3] = err
	rl.read(flags, disabled != 0)
	return rl, errors.Join(errs[:]...)
}

func (rl *rule) read(flags int, disabled bool) {
	r := rl.row
	r.get("dpid")
	var err error
	rl.userAgent, rl.literal, err = pattern(rl.op, r.get("match_exp"), flags)
	m := target.FindStringSubmatch(r.get("attrs"))
	timed := r.get("timerec")
	switch {
	case disabled:
		rl.dropped = "it is disabled"
	case timed != "":
		rl.dropped = fmt.Sprintf("it holds at times only, %q, which a route cannot say", timed)
	case m == nil:
		rl.dropped = fmt.Sprintf("attrs %q does not have the form 91:LB:NAME or 90:DS:NAME", r.get("attrs"))
	case err != nil:
		rl.dropped = err.Error()
	}
	if m != nil {
		n, _ := strconv.Atoi(m[1]) // digits; one that is too large names no group
		rl.set, rl.name = setKey{kindOf(m[2]), n}, m[3]
	}
	if r.get("subst_exp") != "" || r.get("repl_exp") != "" {
		rl.notes = append(rl.notes, fmt.Sprintf("the input is not rewritten: subst_exp %q, repl_exp %q", r.get("subst_exp"), r.get("repl_exp")))
	}
	rl.notes = append(rl.notes, r.unread()...)
}

func kindOf(text string) string {
	if text[0] == 'L' || text[0] == 'l' {
		return loadBalancer
	}
	return dispatcher
}

// clusterNames gives groups the names that the first rule calls them by.
func clusterNames(rules []*rule) map[setKey]string {
	names := map[setKey]string{}
	taken := map[string]bool{}
	for _, rl := range rules {
		if _, ok := names[rl.set]; ok || rl.set.kind == "" {
			continue
		}
		name := rl.name
		if !validName.MatchString(name) {
			name = rl.set.String()
		}
		names[rl.set] = uniqueName(taken, name)
	}
	return names
}

// route makes a route of each rule, and a comment of those that cannot be one.
func (d *draft) route(rules []*rule, byKey map[setKey]*cluster) {
	taken := map[string]bool{}
	reached := map[*cluster]bool{}
	dpids := map[string]bool{}
	for _, rl := range rules {
		dpids[rl.row.values["dpid"]] = true
		c := byKey[rl.set]
		if c != nil {
			reached[c] = true
		}
		if why := rl.cannot(c); why != "" {
			d.left = append(d.left, fmt.Sprintf("left out: %s:%d, %q to %q: %s", rl.row.file, rl.row.line, rl.row.values["match_exp"], rl.row.values["attrs"], why))
			continue
		}
		if rl.name != c.name {
			rl.notes = append(rl.notes, fmt.Sprintf("attrs call the cluster %q", rl.name))
		}
		d.routes = append(d.routes, route{name: uniqueName(taken, rl.routeName()), userAgent: rl.userAgent, cluster: c.name, notes: rl.notes})
	}
	for _, c := range d.clusters {
		if !reached[c] {
			c.notes = append(c.notes, "No rule of the dialplan names this one.")
		}
	}
	if len(dpids) > 1 {
		d.notes = append(d.notes, "The dialplan has several dpid, of which the script chose one for a call: the rules of all are routes here.")
	}
}

// cannot says why a rule cannot be a route to the cluster.
func (rl *rule) cannot(c *cluster) string {
	switch {
	case rl.dropped != "":
		return rl.dropped
	case c == nil:
		return fmt.Sprintf("there is no group %d of %s", rl.set.group, map[string]string{loadBalancer: "load_balancer", dispatcher: "dispatcher"}[rl.set.kind])
	case c.empty():
		return fmt.Sprintf("cluster %s has no server", c.name)
	}
	return ""
}

// routeName is the text that the rule looks for, else the line that it stands in.
func (rl *rule) routeName() string {
	if name := notInName.ReplaceAllString(rl.literal, "-"); validName.MatchString(name) {
		return name
	}
	return fmt.Sprintf("dialplan-line-%d", rl.row.line)
}
