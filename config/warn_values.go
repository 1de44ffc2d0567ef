package config

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
)

// mrcpResources are the media resources of RFC 6787 3.1. A server may have others.
var mrcpResources = []string{"basicsynth", "speechsynth", "dtmfrecog", "speechrecog", "recorder", "speakverify"}

// oddResources are names that no MRCP resource has: what is limited or matched by them is nothing.
func oddResources(c *Config) (l []string) {
	odd := func(path, name, effect string) {
		if !slices.Contains(mrcpResources, name) {
			l = append(l, fmt.Sprintf("%s: RFC 6787 has no resource %q: %s unless a client asks for it by that name", path, name, effect))
		}
	}
	for _, r := range c.Routes {
		if r.Match.Resource != "" {
			odd(fmt.Sprintf("routes[%s].match.resource", r.Name), r.Match.Resource, "the route matches nothing")
		}
	}
	for _, cl := range c.Clusters {
		for _, g := range cl.Groups {
			for _, b := range g.Backends {
				for _, name := range slices.Sorted(maps.Keys(b.Resources)) {
					odd(fmt.Sprintf("clusters[%s].backends[%s].capacity", cl.Name, b.URI), name, "it limits nothing")
				}
			}
		}
	}
	return l
}

// shortTimes are times that leave no room for what they are to bound.
func shortTimes(c *Config) (l []string) {
	f := &c.Failover
	if f.T1 >= f.FirstResponseTimeout {
		l = append(l, fmt.Sprintf("failover.t1, %v, is not shorter than first_response_timeout, %v: a server is given up for one datagram that was lost", f.T1, f.FirstResponseTimeout))
	}
	if c.Drain.Timeout < f.Deadline {
		l = append(l, fmt.Sprintf("drain.timeout, %v, is shorter than failover.deadline, %v: a stop ends calls that may still find a server", c.Drain.Timeout, f.Deadline))
	}
	return l
}

// strangeIDC is an idc that no group has, though they have others: no server is near.
func strangeIDC(c *Config) []string {
	named := false
	for _, cl := range c.Clusters {
		for _, g := range cl.Groups {
			if g.IDC == c.IDC {
				return nil
			}
			named = named || g.IDC != ""
		}
	}
	if c.IDC == "" || !named {
		return nil
	}
	return []string{fmt.Sprintf("idc: no group is in %s: all servers are taken for those of another data centre", c.IDC)}
}

// closedAdmin is a listener that serves nothing but health.
func closedAdmin(c *Config) []string {
	a := &c.Admin
	host, _, err := net.SplitHostPort(a.Listen)
	if ip, bad := netip.ParseAddr(host); err != nil || bad == nil && ip.IsLoopback() || a.Token != "" || a.WebConfig != "" {
		return nil
	}
	return []string{fmt.Sprintf("admin.listen, %s, is not loopback: without admin.token or admin.web_config it serves nothing but health", a.Listen)}
}
