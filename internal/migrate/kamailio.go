package migrate

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The flags of a destination in dispatcher.list.
const (
	kmInactive = 1
	kmDisabled = 4
)

// Kamailio writes a configuration from the dispatcher.list of Kamailio: a line is
//
//	set URI [flags [priority [attributes]]]
//
// and comments begin with #. Errors name file and line.
func Kamailio(f File, o Options) ([]byte, error) {
	all, err := readList(f)
	if err != nil {
		return nil, err
	}
	d := &draft{notes: []string{
		"Made from a dispatcher.list of Kamailio. What could not be carried over stands in comments: read them.",
		"The script is not read. Assumed: ds_select_dst with algorithm 4 or 9, in turn by weight.",
		"Servers are probed by OPTIONS, all of them, as health says.",
	}}
	d.clusters, _ = newSets(weigh(all)).clusters(nil, o.Escape)
	d.idc = ownIDC(d.clusters)
	d.routeWithout()
	return d.yaml(o.Listen), nil
}

func readList(f File) ([]member, error) {
	var all []member
	var errs []error
	number := 0
	for line := range bytes.Lines(f.Data) {
		number++
		fields := strings.Fields(string(line))
		if i := slices.IndexFunc(fields, func(s string) bool { return s[0] == '#' }); i >= 0 {
			fields = fields[:i]
		}
		if len(fields) == 0 {
			continue
		}
		m, err := destination(&row{file: f.Name, line: number}, fields)
		all = append(all, m)
		errs = append(errs, err)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: has no destination", f.Name)
	}
	return all, errors.Join(errs...)
}

func destination(r *row, fields []string) (member, error) {
	if len(fields) < 2 {
		return member{}, r.fail("destination", "is missing: a line is: set URI [flags [priority [attributes]]]")
	}
	set, err := strconv.Atoi(fields[0])
	if err != nil {
		return member{}, r.fail("set", "a number is wanted, not %q", fields[0])
	}
	fields = slices.Concat(fields, []string{"0", "", ""}[min(len(fields)-2, 3):]) // flags, priority, attributes
	flags, err := strconv.Atoi(fields[2])
	if err != nil {
		return member{}, r.fail("flags", "a number is wanted, not %q", fields[2])
	}
	m := newMember(r, setKey{dispatcher, set}, fields[1], "")
	m.priority = fields[3]
	err = m.attributes(r, parseResources(fields[4]))
	if flags&(kmInactive|kmDisabled) != 0 {
		m.deactivate(fmt.Sprintf("flags %d", flags))
	}
	if rest := flags &^ (kmInactive | kmDisabled); rest != 0 {
		m.note("flags %d are not carried over", rest)
	}
	if len(fields) > 5 {
		m.note("not carried over: %s", strings.Join(fields[5:], " "))
	}
	return m, err
}

// attributes reads those that have a meaning here: weight, and maxload, the limit of algorithm 10.
func (m *member) attributes(r *row, l []resource) error {
	var errs []error
	for _, a := range l {
		switch a.name {
		case "weight":
			n, ok := a.limit()
			if !ok {
				errs = append(errs, r.fail("weight", "a number from 0 on is wanted, not %q", a.value))
			}
			m.backend.weight = n
		case "maxload":
			n, ok := a.limit()
			if !ok {
				errs = append(errs, r.fail("maxload", "a number from 0 on is wanted, not %q", a.value))
			}
			if n > 0 { // 0: no limit
				m.backend.capacity = n
			}
		default:
			m.note("%s is not carried over", a)
		}
	}
	return errors.Join(errs...)
}
