package app

import (
	"fmt"
	"math"
	"net/netip"
	"slices"

	"mrcproxy/balancer"
	"mrcproxy/config"
	"mrcproxy/internal/resolver"
)

// expansion puts servers in the place of a cluster's names: one for each address, each with the capacity of the name. An
// address is in the cluster once: as the file has it, else for the first name that has it.
type expansion struct {
	config  *config.Config
	cluster string
	targets func(resolver.Name) []resolver.Target
	taken   map[netip.AddrPort]string // and by what
	skipped []string
}

func newExpansion(c *config.Config, cc *config.Cluster, targets func(resolver.Name) []resolver.Target) *expansion {
	e := &expansion{config: c, cluster: cc.Name, targets: targets, taken: make(map[netip.AddrPort]string)}
	for _, g := range cc.Groups {
		for _, b := range g.Backends {
			if b.Host == "" {
				e.taken[b.Addr] = b.URI
			}
		}
	}
	return e
}

// group is a group of the file as one group or more: the addresses of a name with the lowest SRV priority stand in the
// first, those with the next in one that is tried after it, and so on (RFC 2782).
func (e *expansion) group(g *config.Group) []balancer.GroupSpec {
	all := []balancer.GroupSpec{{IDC: g.IDC, Priority: g.Priority}}
	for _, b := range g.Backends {
		if b.Host == "" {
			all[0].Backends = append(all[0].Backends, balancer.BackendSpec{
				URI: b.URI, Network: b.Network, Addr: b.Addr, User: b.User, Capacity: b.Capacity, Resources: b.Resources, MaxCPS: b.MaxCPS,
				Weight: b.Weight,
			})
			continue
		}
		for i, servers := range e.name(b) {
			if i == len(all) {
				all = append(all, balancer.GroupSpec{IDC: g.IDC, Priority: g.Priority})
			}
			all[i].Backends = append(all[i].Backends, servers...)
		}
	}
	return all
}

// name gives the servers that a name stands for, by SRV priority.
func (e *expansion) name(b config.Backend) [][]balancer.BackendSpec {
	var usable []resolver.Target
	for _, t := range e.targets(nameOf(e.config, b)) {
		if why := e.refuse(b, t.Addr); why != "" {
			e.skipped = append(e.skipped, fmt.Sprintf("clusters[%s]: %s: %s %s", e.cluster, b.URI, t.Addr, why))
			continue
		}
		e.taken[t.Addr] = b.URI
		usable = append(usable, t)
	}
	var all [][]balancer.BackendSpec
	for len(usable) > 0 {
		n := slices.IndexFunc(usable, func(t resolver.Target) bool { return t.Priority != usable[0].Priority })
		if n < 0 {
			n = len(usable)
		}
		all = append(all, servers(b, usable[:n]))
		usable = usable[n:]
	}
	return all
}

// refuse says why an address cannot be a server; "" if it can.
func (e *expansion) refuse(b config.Backend, addr netip.AddrPort) string {
	if by, ok := e.taken[addr]; ok {
		return "is in the cluster already, for " + by
	}
	if e.config.ListensOn(b.Network, addr) {
		return "is an address this proxy listens on"
	}
	return ""
}

// servers are the addresses of one SRV priority. Weights of SRV records divide the weight of the name in lowest terms, so
// that equal ones leave it as it is; a record's 0 counts as 1, the "very small chance" of RFC 2782.
func servers(b config.Backend, targets []resolver.Target) []balancer.BackendSpec {
	unit := 0
	for _, t := range targets {
		unit = gcd(unit, int(max(t.Weight, 1)))
	}
	l := make([]balancer.BackendSpec, len(targets))
	for i, t := range targets {
		l[i] = balancer.BackendSpec{
			URI: literal(b, t.Addr), Network: b.Network, Addr: t.Addr, User: b.User, Capacity: b.Capacity, Resources: b.Resources, MaxCPS: b.MaxCPS,
			Weight: min(b.Weight*(int(max(t.Weight, 1))/unit), math.MaxInt32),
		}
	}
	return l
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// literal is the URI of one address of a name. It depends on nothing else, so that a server keeps its identity, and with
// it its sessions, whatever else the name stands for.
func literal(b config.Backend, addr netip.AddrPort) string {
	uri := "sip:"
	if b.User != "" {
		uri += b.User + "@"
	}
	uri += addr.String()
	if b.Network != "udp" {
		uri += ";transport=" + b.Network
	}
	return uri
}
