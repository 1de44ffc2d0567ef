package freeswitch

import (
	"fmt"
	"net/netip"
	"strings"

	"mrcproxy/config"
)

// offer is what the routes see of a session that a profile opens.
type offer struct {
	userAgent, user, resource string
	source                    netip.Addr // invalid: not known
}

// resources are what FreeSWITCH asks for.
var resources = []string{"speechrecog", "speechsynth"}

// identity gives the profile what leads to the cluster: ua-name, and server-username where a route wants a user. routes
// says where the profile's sessions go.
func identity(c *config.Config, o Options) (ua, user, routes string, err error) {
	source, err := netip.ParseAddr(o.ClientIP)
	if o.ClientIP != "" && err != nil {
		return "", "", "", fmt.Errorf("the client's address must be an IP address, not %q", o.ClientIP)
	}
	for _, candidate := range candidates(c, o) {
		reached := false
		var says []string
		for _, res := range resources {
			candidate.resource, candidate.source = res, source
			route, cluster := routed(c, candidate)
			reached = reached || cluster == o.Cluster
			says = append(says, fmt.Sprintf("%s: %s (%s)", res, cluster, route))
		}
		if reached {
			return candidate.userAgent, candidate.user, strings.Join(says, ", "), nil
		}
	}
	if o.UserAgent != "" {
		return "", "", "", fmt.Errorf("no route leads from the User-Agent %q to cluster %s", o.UserAgent, o.Cluster)
	}
	return "", "", "", fmt.Errorf("no route leads to cluster %s for a User-Agent that can be told from it: give one", o.Cluster)
}

// candidates are what might lead to the cluster, by its routes.
func candidates(c *config.Config, o Options) []offer {
	generic := o.UserAgent
	if generic == "" {
		generic = "FS_" + o.Cluster
	}
	var l []offer
	for _, r := range c.Routes {
		if r.Cluster != o.Cluster || r.Match.Header != nil { // FreeSWITCH adds no header
			continue
		}
		l = append(l, offer{userAgent: text(r.Match.UserAgent, generic), user: text(r.Match.User, "")})
		if o.UserAgent != "" {
			l[len(l)-1].userAgent = o.UserAgent
		}
	}
	return append(l, offer{userAgent: generic})
}

// text is one that a pattern matches, if it says one.
func text(p *config.Pattern, otherwise string) string {
	if p == nil || p.Kind == config.Regexp {
		return otherwise
	}
	return p.Text
}

// routed is the route of an INVITE, and its cluster or the code that rejects it.
func routed(c *config.Config, o offer) (route, cluster string) {
	for _, r := range c.Routes {
		if matches(&r.Match, o) {
			return "route " + r.Name, r.Cluster
		}
	}
	if c.Otherwise.Cluster != "" {
		return "otherwise", c.Otherwise.Cluster
	}
	return "no route", fmt.Sprintf("rejected with %d", c.Otherwise.Reject)
}

// matches is what the proxy decides by the same conditions. A source that is not known counts as one that fits.
func matches(m *config.Match, o offer) bool {
	inside := !o.source.IsValid() || len(m.Source) == 0
	for _, p := range m.Source {
		inside = inside || p.Contains(o.source)
	}
	return inside && len(m.Header) == 0 && (m.MRCP == nil || *m.MRCP) && (m.Resource == "" || m.Resource == o.resource) &&
		(m.UserAgent == nil || m.UserAgent.Match([]byte(o.userAgent))) && (m.User == nil || m.User.Match([]byte(o.user)))
}
