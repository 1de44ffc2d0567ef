package app

import (
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"mrcproxy/balancer"
	"mrcproxy/config"
	"mrcproxy/internal/api"
	"mrcproxy/internal/resolver"
	"mrcproxy/proxy"
)

// Explain says what would become of an INVITE from source with a configuration that nothing runs yet: no server is known
// to be up, down or busy. A name is not looked up: it stands for one server, and says so.
func Explain(c *config.Config, invite []byte, source netip.Addr) (api.Route, error) {
	bal, names := balancer.New(), newUnresolved(c)
	spec, _ := balancerSpec(c, names.targets)
	if err := bal.Apply(spec); err != nil {
		return api.Route{}, err
	}
	a, err := explain(routing(c), bal, invite, source)
	for i := range a.Candidates {
		v := &a.Candidates[i]
		if uri := names.restore(v.Cluster, v.Backend); uri != v.Backend {
			v.Backend, v.Why = uri, join(v.Why, "a name, which is not looked up without the daemon")
		}
		if v.Chosen {
			a.Backend = v.Backend
		}
	}
	return a, err
}

// unresolved has an address in the place of each name, and knows which: of 240.0.0.0/4, which is nobody's (RFC 1112 4).
type unresolved struct {
	addrs map[resolver.Name]netip.AddrPort
	uris  map[[2]string]string // by cluster and URI with the address: as configured
}

func newUnresolved(c *config.Config) *unresolved {
	u := &unresolved{map[resolver.Name]netip.AddrPort{}, map[[2]string]string{}}
	for _, n := range namesOf(c) {
		if i := len(u.addrs) + 1; !u.addrs[n].IsValid() {
			u.addrs[n] = netip.AddrPortFrom(netip.AddrFrom4([4]byte{240, byte(i >> 16), byte(i >> 8), byte(i)}), resolver.DefaultPort)
		}
	}
	for _, cc := range c.Clusters {
		for _, g := range cc.Groups {
			for _, b := range g.Backends {
				if b.Host != "" {
					u.uris[[2]string{cc.Name, literal(b, u.addrs[nameOf(c, b)])}] = b.URI
				}
			}
		}
	}
	return u
}

func (u *unresolved) targets(n resolver.Name) []resolver.Target {
	return []resolver.Target{{Addr: u.addrs[n]}}
}

// restore is a server's URI as configured.
func (u *unresolved) restore(cluster, uri string) string {
	if name, ok := u.uris[[2]string{cluster, uri}]; ok {
		return name
	}
	return uri
}

func explain(r *proxy.Routing, bal *balancer.Balancer, invite []byte, source netip.Addr) (api.Route, error) {
	e, err := proxy.Explain(r, invite, source)
	if err != nil {
		return api.Route{}, failure(http.StatusUnprocessableEntity, "%s", err)
	}
	a := api.Route{
		CallID: e.CallID, UserAgent: e.UserAgent, Source: source.String(), Resources: orNone(e.Resources), Routes: []api.RouteStep{},
		Route: e.Route, Cluster: e.Cluster, Code: e.Code, Why: e.Why, Candidates: []api.Candidate{},
	}
	for _, s := range e.Steps {
		a.Routes = append(a.Routes, api.RouteStep{Route: s.Route, Cluster: s.Cluster, Matched: s.Why == "", Why: s.Why})
	}
	if e.Code != 0 {
		return a, nil
	}
	e.Ask.Now = time.Now()
	all, _ := bal.Explain(e.Ask)
	for _, v := range all {
		c := api.Candidate{
			Cluster: v.Cluster, IDC: v.IDC, Priority: v.Priority, Level: v.Level, Backend: v.URI, Sessions: v.Sessions + v.Elsewhere,
			Capacity: v.Capacity, Weight: v.Weight, Usable: v.Refused == "", Chosen: v.Chosen, Why: v.Refused,
		}
		switch {
		case v.Chosen:
			a.Backend, a.IDC = v.URI, v.IDC
			c.Usable, c.Why = true, join("chosen", v.Refused)
		case c.Usable && a.Backend == "":
			c.Why = "another of its group has less load, or its turn"
		case c.Usable:
			c.Why = "next, should that fail"
		}
		a.Candidates = append(a.Candidates, c)
	}
	if a.Backend == "" {
		a.Code, a.Why = r.Failover.Reject, fmt.Sprintf("no server of cluster %s or its fallbacks can take it", e.Cluster)
	}
	return a, nil
}
