package migrate

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"mrcproxy/config"
)

// OpenSIPSTables are the tables of OpenSIPS, those that are there.
type OpenSIPSTables struct {
	LoadBalancer, Dispatcher, Dialplan *File
}

// OpenSIPS writes a configuration that routes as an OpenSIPS does whose dialplan finds, by User-Agent, attrs of the form
// 91:LB:NAME (a group of load_balancer) or 90:DS:NAME (of dispatcher), and which goes to that group's number and
// Options.Escape when it has no server left. Errors name file, line and column.
func OpenSIPS(t OpenSIPSTables, o Options) ([]byte, error) {
	var errs []error
	try := func(f *File, read func(File) error) {
		if f != nil {
			errs = append(errs, read(*f))
		}
	}
	var lb, ds []member
	var rules []*rule
	try(t.LoadBalancer, func(f File) (err error) { lb, err = readLoadBalancer(f); return err })
	try(t.Dispatcher, func(f File) (err error) { ds, err = readDispatcher(f, resourceNames(lb)); return err })
	try(t.Dialplan, func(f File) (err error) { rules, err = readDialplan(f); return err })
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if len(lb)+len(ds) == 0 {
		return nil, errors.New("there is no server in the tables")
	}
	d := &draft{notes: []string{
		"Made from tables of OpenSIPS. What could not be carried over stands in comments: read them.",
		"The script is not read. Assumed: the dialplan is asked with the User-Agent; dispatcher with algorithm 4, in turn by weight.",
		"Servers are probed by OPTIONS, all of them, as health says: probe_mode is not carried over.",
	}}
	s := newSets(slices.Concat(ds, lb))
	var byKey map[setKey]*cluster
	d.clusters, byKey = s.clusters(clusterNames(rules), o.Escape)
	for _, c := range d.clusters {
		c.compare()
	}
	d.idc = ownIDC(d.clusters)
	if t.Dialplan == nil {
		d.routeWithout()
		return d.yaml(o.Listen), nil
	}
	d.route(rules, byKey)
	return d.yaml(o.Listen), nil
}

// compare says where least-load picks another server than OpenSIPS.
func (c *cluster) compare() {
	for _, g := range c.groups {
		differs := func(b backend) bool { return b.capacity != g.backends[0].capacity }
		if c.policy == config.LeastLoad && slices.ContainsFunc(g.backends, differs) {
			c.notes = append(c.notes, "Capacities differ: load_balancer picks the server with the most places free, least-load that with the least share taken.")
			return
		}
	}
}

// routeWithout sends everything to the one cluster, if there is just one.
func (d *draft) routeWithout() {
	if len(d.clusters) == 1 && !d.clusters[0].empty() {
		d.otherwise = d.clusters[0].name
		return
	}
	d.left = append(d.left, "Which call goes to which cluster stands in the script. Write it down as routes, such as:", "routes:")
	for _, c := range d.clusters {
		d.left = append(d.left, fmt.Sprintf("  - {name: to-%[1]s, match: {user_agent: NAME}, cluster: %[1]s}", c.name))
	}
}

// groupNumber reads the number of a group.
func groupNumber(r *row, column string) (int, error) {
	n, err := strconv.Atoi(r.get(column))
	if err != nil {
		return 0, r.fail(column, "a number is wanted, not %q", r.get(column))
	}
	return n, nil
}

// number reads a column that may be empty or missing.
func number(r *row, column string, otherwise int) (int, error) {
	if r.get(column) == "" {
		return otherwise, nil
	}
	return groupNumber(r, column)
}

func readLoadBalancer(f File) (all []member, err error) {
	rows, err := readTable("load_balancer", f, "group_id", "dst_uri", "resources")
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, r := range rows {
		n, err := groupNumber(r, "group_id")
		errs = append(errs, err)
		m := newMember(r, setKey{loadBalancer, n}, r.get("dst_uri"), r.get("description"))
		var notes []string
		resources := parseResources(r.get("resources"))
		for _, res := range resources {
			m.counted = append(m.counted, res.name)
		}
		m.backend.capacity, notes = capacity(resources, func(string) bool { return true })
		if m.backend.capacity == config.Unlimited {
			notes = append(notes, "no limit is known, so there is no capacity: set it to the number of licences")
		}
		r.get("probe_mode")
		m.backend.notes = slices.Concat(m.backend.notes, notes, r.unread())
		all = append(all, m)
	}
	return all, errors.Join(errs...)
}

// resourceNames gives what the servers of load_balancer count; pstn, the name in OpenSIPS' own examples, always.
func resourceNames(lb []member) map[string]bool {
	names := map[string]bool{"pstn": true}
	for _, m := range lb {
		for _, name := range m.counted {
			names[name] = true
		}
	}
	return names
}

// The states of a destination of dispatcher.
const (
	dsActive   = 0
	dsInactive = 1
)

func readDispatcher(f File, counts map[string]bool) (all []member, err error) {
	rows, err := readTable("dispatcher", f, "setid", "destination")
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, r := range rows {
		n, err := groupNumber(r, "setid")
		errs = append(errs, err)
		m := newMember(r, setKey{dispatcher, n}, r.get("destination"), r.get("description"))
		var notes []string
		m.backend.capacity, notes = capacity(parseResources(r.get("attrs")), func(name string) bool { return counts[name] })
		if m.backend.capacity != config.Unlimited {
			notes = append(notes, "capacity is from attrs, which dispatcher did not enforce")
		}
		weight, err := number(r, "weight", 1)
		errs = append(errs, err)
		if weight < 0 {
			errs = append(errs, r.fail("weight", "must not be negative"))
		}
		m.backend.weight = weight
		state, err := number(r, "state", dsActive)
		errs = append(errs, err)
		if state == dsInactive {
			m.deactivate("state 1")
		}
		m.priority = r.get("priority")
		r.get("probe_mode")
		m.backend.notes = slices.Concat(m.backend.notes, notes, r.unread())
		all = append(all, m)
	}
	return weigh(all), errors.Join(errs...)
}

// weigh sees to it that a group whose weights are all 0, where dispatcher takes turns, gets sessions, and says what becomes
// of priorities.
func weigh(all []member) []member {
	for _, set := range newSets(all).order {
		in := func(m member) bool { return m.set == set }
		first := all[slices.IndexFunc(all, in)]
		idle := !slices.ContainsFunc(all, func(m member) bool { return in(m) && m.backend.weight > 0 })
		mixed := slices.ContainsFunc(all, func(m member) bool { return in(m) && m.priority != first.priority })
		for i := range all {
			m := &all[i]
			if !in(*m) {
				continue
			}
			if idle && !m.inactive {
				m.backend.weight = 1
				m.note("weight 0 for the whole group: the servers take turns")
			}
			if mixed && m.priority != "" {
				m.note("priority %s is not carried over: servers of one group are equals here, and groups have priorities", m.priority)
			}
		}
	}
	return all
}
