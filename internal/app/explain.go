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
// to be up, down or busy. Addresses of names are not known either; each stands in the answer's Why.
func Explain(c *config.Config, invite []byte, source netip.Addr) (api.Route, error) {
	bal := balancer.New()
	spec, _ := balancerSpec(c, func(resolver.Name) []resolver.Target { return nil })
	if err := bal.Apply(spec); err != nil {
		return api.Route{}, err
	}
	return explain(routing(c), bal, invite, source)
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
