package app

import (
	"strings"
	"time"

	"mrcproxy/balancer"
	"mrcproxy/config"
	"mrcproxy/health"
	"mrcproxy/health/probe"
	"mrcproxy/internal/operator"
	"mrcproxy/internal/resolver"
	"mrcproxy/proxy"
)

// balancerSpec is the configuration as the balancer sees it, with what the names among the servers stand for now. skipped
// says which addresses of names are left out, and why.
func balancerSpec(c *config.Config, targets func(resolver.Name) []resolver.Target) (s balancer.Spec, skipped []string) {
	s.IDC, s.Now = c.IDC, time.Now()
	for i := range c.Clusters {
		cc := &c.Clusters[i]
		policy, _ := balancer.ParsePolicy(string(cc.Policy)) // config knows the same
		cs := balancer.ClusterSpec{Name: cc.Name, Policy: policy, Fallback: cc.Fallback, Licences: cc.Licences, SlowStart: cc.SlowStart,
			FailbackAfter: cc.FailbackAfter, FailbackRamp: cc.FailbackRamp, Panic: cc.Panic, Spill: balancer.Spill(cc.Spill)}
		e := newExpansion(c, cc, targets)
		for j := range cc.Groups {
			cs.Groups = append(cs.Groups, e.group(&cc.Groups[j])...)
		}
		s.Clusters = append(s.Clusters, cs)
		skipped = append(skipped, e.skipped...)
	}
	return s, skipped
}

// routing is the configuration as the engine sees it.
func routing(c *config.Config) *proxy.Routing {
	f := c.Failover
	r := &proxy.Routing{
		Clusters:  make(map[string]proxy.Cluster),
		Allow:     c.Clients.Allow,
		Rate:      proxy.Rate{PerSource: c.Clients.Rate, Total: c.Clients.TotalRate},
		Otherwise: proxy.Otherwise{Reject: c.Otherwise.Reject, Cluster: c.Otherwise.Cluster},
		Failover: proxy.Failover{FirstResponse: f.FirstResponseTimeout, Answer: f.AnswerTimeout, Deadline: f.Deadline, MaxAttempts: f.MaxAttempts, TCPAbove: f.TCPAbove, T1: f.T1,
			TryingAfter: f.TryingAfter, Reject: f.Reject, RetryAfter: f.RetryAfter, Bye: c.Sessions.ByeTimeout, ByeAnswer: c.Sessions.ByeAnswer},
		Drain:  proxy.Drain{AcceptFor: c.Drain.AcceptFor, Timeout: c.Drain.Timeout},
		Record: proxy.Record{On: c.CDR.File != ""},
	}
	if c.OTLP.Endpoint != "" {
		r.Sample = c.OTLP.Sample
	}
	for _, h := range c.CDR.Headers {
		r.Record.Headers = append(r.Record.Headers, proxy.RecordedHeader{Field: strings.ToLower(h), Name: h})
	}
	for i := range c.Clusters {
		cc := &c.Clusters[i]
		needs := c.Needs(cc.Name)
		pc := proxy.Cluster{Resources: needs.Resources, Queue: cc.Queue, QueueLength: cc.QueueLength}
		switch header, ok := strings.CutPrefix(needs.HashOn, "header:"); {
		case ok:
			pc.HashOn, pc.Header = proxy.HashHeader, header
		case needs.HashOn == "call-id":
			pc.HashOn = proxy.HashCallID
		case needs.HashOn == "source":
			pc.HashOn = proxy.HashSource
		}
		r.Clusters[cc.Name] = pc
	}
	for _, cr := range c.Routes {
		m := cr.Match
		pr := proxy.Route{Name: cr.Name, Cluster: cr.Cluster, Reserve: cr.Reserve, MRCP: m.MRCP, Resource: m.Resource, Source: m.Source}
		if m.UserAgent != nil { // a nil *Pattern in the interface would not be nil
			pr.UserAgent = m.UserAgent
		}
		if m.User != nil {
			pr.User = m.User
		}
		for _, h := range m.Header {
			pr.Header = append(pr.Header, proxy.HeaderMatch{Name: strings.ToLower(h.Name), Matcher: h.Pattern})
		}
		r.Routes = append(r.Routes, pr)
	}
	return r
}

// targets are the servers to probe, those that are disabled not among them, each with its cluster's policy.
func (a *App) targets(c *config.Config) []health.Target {
	policies := map[string]*config.Health{}
	for i := range c.Clusters {
		policies[c.Clusters[i].Name] = &c.Clusters[i].Health
	}
	var l []health.Target
	for _, b := range a.bal.Backends() {
		if w, ok := a.book.For(b.Cluster(), b.IDC(), b.URI()); ok && w.Mode == operator.Disable {
			continue
		}
		h := policies[b.Cluster()]
		l = append(l, health.Target{
			Key: b.ID(), Name: b.Cluster() + " " + b.URI(), Group: b.Cluster() + " " + b.IDC(), Policy: policy(h),
			Info: probe.Info{Dest: probe.Dest{URI: b.URI(), Network: b.Network(), Addr: b.Addr()}, Up: h.UpCodes.Contains},
		})
	}
	return l
}

func policy(h *config.Health) health.Policy {
	p := health.Policy{Interval: h.Interval, Timeout: h.Timeout, Jitter: h.Jitter, Rise: h.Rise, Fall: h.Fall,
		EjectAfter: h.EjectAfter, EjectFor: h.EjectFor, EjectMax: h.EjectMax, HoldFor: h.HoldFor,
		HoldMax: h.HoldMax, Fast: h.FastInterval, Slow: h.SlowInterval, SuspectAfter: h.SuspectAfter, ErrorRate: h.ErrorRate, ErrorWindow: h.ErrorWindow,
		ErrorVolume: h.ErrorVolume, MaxEjected: h.MaxEjected}
	if h.Deep.Method != config.DeepOff && h.Deep.Action == config.DeepDown {
		p.DeepRise, p.DeepFall = h.Deep.Rise, h.Deep.Fall
	}
	return p
}
