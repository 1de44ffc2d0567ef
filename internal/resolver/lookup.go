package resolver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// maxTargets and maxServices bound what one name can bring, maxErrors what is told of its failures.
const (
	maxTargets  = 256
	maxServices = 256
	maxErrors   = 4
)

// lookup is one walk through RFC 3263 4.2 for a name. Answers that are not old yet come from the walk before; so does an
// old one where there is no new one.
type lookup struct {
	r     *Resolver
	conf  settings
	name  Name
	now   time.Time // all answers count as received now, so that what is equally old is renewed together
	early float64   // where they fall in the spread, for the same reason

	old  map[question]answer // of the walk before
	used map[question]answer // of this one
	glue map[question]reply  // came with SRV records
	due  time.Time           // when the first of the answers used grows old
	errs []error             // questions without an answer
}

// errNone: DNS works, and has no address for the name.
var errNone = errors.New("has no address")

// run gives the targets, in order of priority and address, so that equal answers look equal. An error together with
// targets means that there may be more.
func (l *lookup) run(ctx context.Context) ([]Target, error) {
	targets := l.walk(ctx)
	slices.SortStableFunc(targets, func(a, b Target) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), a.Addr.Compare(b.Addr))
	})
	seen := make(map[netip.AddrPort]bool)
	targets = slices.DeleteFunc(targets, func(t Target) bool {
		again := seen[t.Addr]
		seen[t.Addr] = true
		return again
	})
	if len(targets) > maxTargets {
		l.errs = append(l.errs, fmt.Errorf("%d addresses: all but %d are left out", len(targets), maxTargets))
		targets = targets[:maxTargets]
	}
	if len(targets) == 0 && l.errs == nil {
		return nil, errNone
	}
	return targets, errors.Join(l.errs...)
}

func (l *lookup) walk(ctx context.Context) []Target {
	if targets := l.at(l.wanted(l.r.system.lookupHosts(l.name.Host)), cmp.Or(l.name.Port, l.name.defaultPort()), service{}); targets != nil {
		l.oldAt(l.now.Add(hostsTTL))
		return targets
	}
	for _, name := range l.conf.candidates(l.name.Host) {
		targets, found := l.candidate(ctx, name)
		if found || l.errs != nil { // a question that got no answer does not make another name the right one
			return targets
		}
	}
	return nil
}

// candidate looks up one absolute name; found: it is the one that is meant.
func (l *lookup) candidate(ctx context.Context, name string) (targets []Target, found bool) {
	if l.name.Port == 0 {
		a, err := l.ask(ctx, question{l.name.service() + "." + name, dns.TypeSRV})
		if err != nil {
			return nil, false
		}
		if len(a.services) > 0 {
			return l.services(ctx, a.services), true
		}
	}
	targets = l.at(l.addresses(ctx, name), cmp.Or(l.name.Port, l.name.defaultPort()), service{})
	return targets, targets != nil
}

// services looks up the hosts of SRV records. One host that has no address takes nothing from the others.
func (l *lookup) services(ctx context.Context, all []service) []Target {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b service) int {
		return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(b.weight, a.weight), cmp.Compare(a.host, b.host), cmp.Compare(a.port, b.port))
	})
	var targets []Target
	for _, s := range all[:min(len(all), maxServices)] {
		if s.host == "." || s.port == 0 {
			continue // "." says that there is no such service (RFC 2782)
		}
		targets = append(targets, l.at(l.addresses(ctx, s.host), s.port, s)...)
	}
	return targets
}

func (l *lookup) at(addrs []netip.Addr, port uint16, s service) []Target {
	var targets []Target
	for _, a := range addrs {
		targets = append(targets, Target{netip.AddrPortFrom(a, port), s.priority, s.weight})
	}
	return targets
}

// addresses asks for the addresses of an absolute name.
func (l *lookup) addresses(ctx context.Context, name string) []netip.Addr {
	var all []netip.Addr
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		if qtype == dns.TypeA && !l.name.IPv4 || qtype == dns.TypeAAAA && !l.name.IPv6 {
			continue
		}
		a, err := l.ask(ctx, question{name, qtype})
		if err == nil && a.absent {
			return all
		}
		all = append(all, a.addrs...)
	}
	return l.wanted(all)
}

func (l *lookup) wanted(addrs []netip.Addr) []netip.Addr {
	var all []netip.Addr
	for _, a := range addrs {
		if usable(a) && (a.Is4() && l.name.IPv4 || a.Is6() && l.name.IPv6) {
			all = append(all, a)
		}
	}
	return all
}

// ask answers a question: from this walk, from what came with SRV records, from the walk before, from a server, and
// where that fails, from the walk before though it is old. An error is noted, also where an old answer hides it.
func (l *lookup) ask(ctx context.Context, q question) (answer, error) {
	if a, ok := l.used[q]; ok {
		return a, nil
	}
	if g, ok := l.glue[q]; ok {
		return l.take(q, g), nil
	}
	old, known := l.old[q]
	if known && l.now.Before(old.renew) {
		l.used[q] = old
		l.oldAt(old.renew)
		return old, nil
	}
	fresh, err := l.r.query(ctx, l.conf, q)
	if err == nil {
		return l.take(q, fresh), nil
	}
	if len(l.errs) < maxErrors {
		l.errs = append(l.errs, err)
	}
	if known {
		l.used[q] = old
		return old, nil
	}
	return answer{}, err
}

// take notes a new answer and when it grows old.
func (l *lookup) take(q question, p reply) answer {
	p.renew = l.now.Add(lifetime(p.ttl, l.early))
	l.used[q] = p.answer
	l.oldAt(p.renew)
	if p.glue != nil {
		l.glue = p.glue
	}
	return p.answer
}

func (l *lookup) oldAt(t time.Time) {
	if l.due.IsZero() || t.Before(l.due) {
		l.due = t
	}
}
