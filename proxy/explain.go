package proxy

import (
	"errors"
	"fmt"
	"net/netip"

	"mrcproxy/balancer"
	"mrcproxy/proxy/message"
)

// Explanation is what a Routing makes of an INVITE.
type Explanation struct {
	CallID, UserAgent string
	Resources         []string         // that its SDP asks for
	Steps             []Step           // the routes in order, up to the one that matched
	Route, Cluster    string           // where it goes
	Ask               balancer.Request // what the balancer is asked for then
	Code              int              // of our answer when it goes nowhere; 0 when it goes somewhere
	Why               string
}

// Step is one route that was compared.
type Step struct {
	Route, Cluster string
	Why            string // it does not match; empty: it does
}

// Explain says where an initial INVITE from src would go, by the same comparison that one from the network meets. An error
// says why the bytes are no such INVITE.
func Explain(r *Routing, invite []byte, src netip.Addr) (*Explanation, error) {
	var m message.Message
	switch err := m.Scan(invite); {
	case err != nil:
		return nil, fmt.Errorf("not a SIP message: %w", err)
	case !m.Request:
		return nil, errors.New("a response, not an INVITE")
	case m.Method != message.Invite:
		return nil, errors.New("a request, but not an INVITE")
	case m.InDialog():
		return nil, errors.New("an INVITE within a session (To has a tag): it goes to the server that has the session")
	}
	var o offer
	e := &Explanation{
		CallID: string(m.Bytes(m.CallID.Value)), UserAgent: string(m.Bytes(m.UserAgent.Value)), Resources: o.of(&m).resources,
	}
	switch {
	case !contains(r.Allow, src):
		e.Code, e.Why = 403, fmt.Sprintf("%s may not start sessions", src)
		return e, nil
	case !isSIP(m.Bytes(m.URI)):
		e.Code, e.Why = 416, "the Request-URI is not a sip: URI"
		return e, nil
	}
	for i := range r.Routes {
		rt := &r.Routes[i]
		if c := rt.compare(&m, src, &o); c != matches {
			e.Steps = append(e.Steps, Step{rt.Name, rt.Cluster, rt.say(c, &m, src, &o)})
			continue
		}
		e.Steps = append(e.Steps, Step{Route: rt.Name, Cluster: rt.Cluster})
		e.Route, e.Cluster = rt.Name, rt.Cluster
		e.Ask = balancer.Request{Cluster: rt.Cluster, Reserve: rt.Reserve}
		r.complete(&e.Ask, &m, src, &o)
		return e, nil
	}
	if e.Route, e.Cluster = "otherwise", r.Otherwise.Cluster; e.Cluster == "" {
		e.Code, e.Why = r.Otherwise.Reject, "no route matches"
	}
	e.Ask.Cluster = e.Cluster
	r.complete(&e.Ask, &m, src, &o)
	return e, nil
}

// say puts into words that a condition does not hold.
func (r *Route) say(c condition, m *message.Message, src netip.Addr, o *offer) string {
	switch c {
	case onUserAgent:
		return fmt.Sprintf("user_agent: %q does not match %v", m.Bytes(m.UserAgent.Value), r.UserAgent)
	case onSource:
		return fmt.Sprintf("source: %s is in none of %v", src, r.Source)
	case onUser:
		u, _ := message.ParseURI(m.Bytes(m.URI))
		return fmt.Sprintf("user: %q does not match %v", u.User, r.User)
	case onHeader:
		for _, h := range r.Header {
			switch v := m.Field(h.Name); {
			case v == nil:
				return fmt.Sprintf("header: there is no %s", h.Name)
			case !h.Matcher.Match(v):
				return fmt.Sprintf("header: %s: %q does not match %v", h.Name, v, h.Matcher)
			}
		}
	case onMRCP:
		return fmt.Sprintf("mrcp: the SDP offers MRCPv2: %t, not %t", o.mrcp, *r.MRCP)
	case onResource:
		return fmt.Sprintf("resource: the SDP asks for %q, not %s", o.resources, r.Resource)
	}
	return ""
}
