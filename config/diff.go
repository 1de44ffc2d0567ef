package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// field is one value of a configuration and its key.
type field struct {
	key, value string
}

// Diff says in lines for people what changed from one configuration to the next, by key path. Routes and clusters are
// named by their name, groups by their IDC, backends by their URI, so that moving one in the file changes no paths.
// Secrets are never shown. No lines: nothing changed.
func Diff(old, new *Config) []string {
	lines := diffFields("", topFields(old), topFields(new))
	if !slices.Equal(old.Secret, new.Secret) {
		lines = append(lines, "secret: changed")
	}
	if old.Admin.Token != new.Admin.Token {
		lines = append(lines, "admin.token: changed")
	}
	if old.HEP.Password != new.HEP.Password {
		lines = append(lines, "hep.password: changed")
	}
	if old.Store.String() == new.Store.String() && !old.Store.equal(new.Store) {
		lines = append(lines, "store: password changed")
	}
	return slices.Concat(lines, diffRoutes(old.Routes, new.Routes), diffClusters(old, new))
}

// NeedsRestart gives the keys whose values differ and take effect only after a restart.
func NeedsRestart(old, new *Config) []string {
	changed := make(map[string]bool)
	o, n := topFields(old), topFields(new)
	for i := range o {
		changed[o[i].key] = o[i] != n[i]
	}
	changed["secret"] = !slices.Equal(old.Secret, new.Secret)
	changed["store"] = !old.Store.equal(new.Store)
	return keep(restartKeys(), func(key string) bool { return changed[key] })
}

// restartKeys are what is fixed when the sockets are opened and the logger is made.
func restartKeys() []string {
	return []string{"listen", "advertise", "secret", "data_dir", "tls.cert", "tls.key", "tls.client_auth", "tls.client_ca", "tls.server_ca",
		"admin.listen", "admin.web_config", "admin.pprof", "handover.socket", "log.format", "clients.max_connections", "failover.connect_timeout", "sessions.journal", "store"}
}

func topFields(c *Config) []field {
	f, advertise := &c.Failover, ""
	if c.Advertise.IsValid() {
		advertise = c.Advertise.String()
	}
	var listen []string
	for _, l := range c.Listen {
		listen = append(listen, l.String())
	}
	fields := []field{
		{"idc", c.IDC},
		{"listen", strings.Join(listen, ", ")},
		{"advertise", advertise},
		{"data_dir", c.DataDir},
		{"tls.cert", c.TLS.Cert},
		{"tls.key", c.TLS.Key},
		{"tls.client_auth", c.TLS.ClientAuth},
		{"tls.client_ca", c.TLS.ClientCA},
		{"tls.server_ca", c.TLS.ServerCA},
		{"admin.listen", c.Admin.Listen},
		{"admin.web_config", c.Admin.WebConfig},
		{"admin.probe_targets", joinPrefixes(c.Admin.ProbeTargets)},
		{"admin.pprof", strconv.FormatBool(c.Admin.Pprof)},
		{"log.level", c.Log.Level},
		{"log.format", c.Log.Format},
		{"clients.allow", joinPrefixes(c.Clients.Allow)},
		{"clients.rate", rateText(c.Clients.Rate)},
		{"clients.total_rate", rateText(c.Clients.TotalRate)},
		{"clients.max_connections", strconv.Itoa(c.Clients.MaxConnections)},
		{"failover.first_response_timeout", short(f.FirstResponseTimeout)},
		{"failover.answer_timeout", short(f.AnswerTimeout)},
		{"failover.deadline", short(f.Deadline)},
		{"failover.max_attempts", strconv.Itoa(f.MaxAttempts)},
		{"failover.connect_timeout", short(f.ConnectTimeout)},
		{"failover.t1", short(f.T1)},
		{"failover.trying_after", short(f.TryingAfter)},
		{"failover.tcp_above", strconv.Itoa(f.TCPAbove)},
		{"failover.reject", number(f.Reject, 0)},
		{"failover.retry_after", short(f.RetryAfter)},
		{"sessions.max", short(c.Sessions.Max)},
		{"sessions.bye_timeout", short(c.Sessions.ByeTimeout)},
		{"sessions.bye_answer", number(c.Sessions.ByeAnswer, 0)},
		{"sessions.on_backend_down", string(c.Sessions.OnBackendDown)},
		{"sessions.journal", strconv.FormatBool(c.Sessions.Journal)},
		{"drain.accept_for", short(c.Drain.AcceptFor)},
		{"drain.timeout", short(c.Drain.Timeout)},
		{"handover.socket", c.Handover.Socket},
		{"cdr.file", c.CDR.File},
		{"cdr.headers", strings.Join(c.CDR.Headers, ", ")},
		{"hep.server", c.HEP.Server},
		{"hep.id", strconv.Itoa(c.HEP.ID)},
		{"otlp.endpoint", c.OTLP.Endpoint},
		{"otlp.sample", fraction(c.OTLP.Sample)},
		{"store", c.Store.String()},
		{"on_store_loss", string(c.OnStoreLoss)},
		{"instances", strconv.Itoa(c.Instances)},
		{"otherwise.reject", number(c.Otherwise.Reject, 0)},
		{"otherwise.cluster", c.Otherwise.Cluster},
	}
	return append(fields, healthFields(c.Health)...)
}

// String is the listener as the file has it.
func (l Listener) String() string {
	s, sep := l.Network+"://"+l.Addr.String(), "?"
	if l.Advertise.IsValid() {
		s, sep = s+sep+"advertise="+l.Advertise.String(), "&"
	}
	if l.Readers != 1 {
		s += sep + "readers=" + strconv.Itoa(l.Readers)
	}
	return s
}

func rateText(perSecond float64) string {
	if perSecond == 0 {
		return ""
	}
	return strconv.FormatFloat(perSecond, 'g', 6, 64) + "/s"
}

func fraction(part float64) string { return strconv.FormatFloat(part, 'g', -1, 64) }

func healthFields(h Health) []field {
	return []field{
		{"health.interval", short(h.Interval)},
		{"health.fast_interval", short(h.FastInterval)},
		{"health.slow_interval", short(h.SlowInterval)},
		{"health.timeout", short(h.Timeout)},
		{"health.jitter", fraction(h.Jitter)},
		{"health.rise", strconv.Itoa(h.Rise)},
		{"health.fall", strconv.Itoa(h.Fall)},
		{"health.up_codes", h.UpCodes.String()},
		{"health.eject_after", strconv.Itoa(h.EjectAfter)},
		{"health.eject_for", short(h.EjectFor)},
		{"health.eject_max", short(h.EjectMax)},
		{"health.hold_for", short(h.HoldFor)},
		{"health.hold_max", short(h.HoldMax)},
		{"health.suspect_after", strconv.Itoa(h.SuspectAfter)},
		{"health.error_rate", fraction(h.ErrorRate)},
		{"health.error_window", short(h.ErrorWindow)},
		{"health.error_volume", strconv.Itoa(h.ErrorVolume)},
		{"health.max_ejected", fraction(h.MaxEjected)},
		{"health.deep.method", h.Deep.Method},
		{"health.deep.action", h.Deep.Action},
		{"health.deep.interval", short(h.Deep.Interval)},
		{"health.deep.timeout", short(h.Deep.Timeout)},
		{"health.deep.rise", strconv.Itoa(h.Deep.Rise)},
		{"health.deep.fall", strconv.Itoa(h.Deep.Fall)},
		{"health.deep.resource", h.Deep.Resource},
		{"health.deep.language", h.Deep.Language},
		{"health.deep.audio", h.Deep.Audio},
		{"health.deep.grammar", h.Deep.Grammar},
		{"health.deep.expect", h.Deep.Expect.String()},
		{"health.deep.confidence", strconv.FormatFloat(h.Deep.Confidence, 'g', -1, 64)},
		{"health.deep.text", h.Deep.Text},
	}
}

func routeFields(r Route) []field {
	m, mrcp, headers := r.Match, "", make([]string, len(r.Match.Header))
	if m.MRCP != nil {
		mrcp = strconv.FormatBool(*m.MRCP)
	}
	for i, h := range m.Header {
		headers[i] = h.Name + ": " + h.Pattern.String()
	}
	return []field{
		{"match.user_agent", patternText(m.UserAgent)},
		{"match.mrcp", mrcp},
		{"match.resource", m.Resource},
		{"match.source", joinPrefixes(m.Source)},
		{"match.user", patternText(m.User)},
		{"match.header", strings.Join(headers, ", ")},
		{"cluster", r.Cluster},
		{"reserve", strconv.Itoa(r.Reserve)},
	}
}

func diffRoutes(old, new []Route) []string {
	o, oNames := byName(old, func(r Route) string { return r.Name })
	n, nNames := byName(new, func(r Route) string { return r.Name })
	lines, both := diffNames("routes", oNames, nNames)
	lines = append(lines, diffOrder("routes", oNames, nNames)...)
	for _, name := range both {
		lines = append(lines, diffFields("routes["+name+"].", routeFields(o[name]), routeFields(n[name]))...)
	}
	return lines
}

func diffClusters(old, new *Config) []string {
	o, oNames := byName(old.Clusters, func(c Cluster) string { return c.Name })
	n, nNames := byName(new.Clusters, func(c Cluster) string { return c.Name })
	lines, both := diffNames("clusters", oNames, nNames)
	lines = append(lines, diffOrder("clusters", oNames, nNames)...)
	oTop, nTop := healthFields(old.Health), healthFields(new.Health)
	for _, name := range both {
		path, oc, nc := "clusters["+name+"].", o[name], n[name]
		lines = append(lines, diffFields(path, oc.fields(), nc.fields())...)
		// A change of the health section that the cluster only follows is told once, above.
		oh, nh := healthFields(oc.Health), healthFields(nc.Health)
		for i := range oh {
			if oh[i] != oTop[i] || nh[i] != nTop[i] {
				lines = append(lines, diffFields(path, oh[i:i+1], nh[i:i+1])...)
			}
		}
		lines = append(lines, diffGroups(path, oc.Groups, nc.Groups)...)
	}
	return lines
}

// placed is a backend and the label of its group.
type placed struct {
	Backend
	group string
}

func (b placed) fields() []field {
	return []field{
		{"group", b.group},
		{"capacity", capacityText(&b.Backend)},
		{"max_cps", number(b.MaxCPS, 0)},
		{"weight", strconv.Itoa(b.Weight)},
	}
}

func diffGroups(path string, old, new []Group) []string {
	oLabels, oPriority, oBackends := flatten(old)
	nLabels, nPriority, nBackends := flatten(new)
	lines, both := diffNames(path+"groups", oLabels, nLabels)
	lines = append(lines, diffOrder(path+"groups", oLabels, nLabels)...)
	for _, label := range both {
		key := path + "groups[" + label + "]."
		lines = append(lines, diffFields(key, []field{{"priority", oPriority[label]}}, []field{{"priority", nPriority[label]}})...)
	}

	o, oURIs := byName(oBackends, func(b placed) string { return b.URI })
	n, nURIs := byName(nBackends, func(b placed) string { return b.URI })
	named, bothURIs := diffNames(path+"backends", oURIs, nURIs)
	lines = append(lines, named...)
	for _, uri := range bothURIs {
		lines = append(lines, diffFields(path+"backends["+uri+"].", o[uri].fields(), n[uri].fields())...)
	}
	// Within each group, the order counts among the backends that stayed in it.
	stayed := slices.DeleteFunc(bothURIs, func(uri string) bool { return o[uri].group != n[uri].group })
	for _, label := range both {
		inGroup := func(uri string) bool { return slices.Contains(stayed, uri) && n[uri].group == label }
		lines = append(lines, diffOrder(path+"groups["+label+"].backends", keep(oURIs, inGroup), keep(nURIs, inGroup))...)
	}
	return lines
}

// flatten labels each group by its IDC, with a number where several share one, and lists the backends of all.
func flatten(groups []Group) (labels []string, priority map[string]string, backends []placed) {
	seen := make(map[string]int)
	priority = make(map[string]string)
	for _, g := range groups {
		label := g.IDC
		if seen[g.IDC]++; seen[g.IDC] > 1 || label == "" {
			label += "#" + strconv.Itoa(seen[g.IDC])
		}
		labels = append(labels, label)
		priority[label] = strconv.Itoa(g.Priority)
		for _, b := range g.Backends {
			backends = append(backends, placed{b, label})
		}
	}
	return labels, priority, backends
}

// diffNames tells which names were removed and added. It returns the names in both, in the new order.
func diffNames(path string, old, new []string) (lines, both []string) {
	for _, name := range old {
		if !slices.Contains(new, name) {
			lines = append(lines, path+": removed "+name)
		}
	}
	for _, name := range new {
		if slices.Contains(old, name) {
			both = append(both, name)
		} else {
			lines = append(lines, path+": added "+name)
		}
	}
	return lines, both
}

// diffOrder tells whether the names that are in both stand in another order.
func diffOrder(path string, old, new []string) []string {
	was := keep(old, func(name string) bool { return slices.Contains(new, name) })
	now := keep(new, func(name string) bool { return slices.Contains(old, name) })
	if slices.Equal(was, now) {
		return nil
	}
	return []string{path + ": order changed: " + strings.Join(now, ", ")}
}

func keep(names []string, ok func(string) bool) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !ok(name) })
}

// diffFields compares two lists that have the same keys in the same order.
func diffFields(path string, old, new []field) []string {
	var lines []string
	for i := range old {
		if old[i].value != new[i].value {
			lines = append(lines, fmt.Sprintf("%s%s: %s -> %s", path, old[i].key, shown(old[i].value), shown(new[i].value)))
		}
	}
	return lines
}

func shown(value string) string {
	if value == "" {
		return "(none)"
	}
	return value
}

func number(n, none int) string {
	if n == none {
		return ""
	}
	return strconv.Itoa(n)
}

func patternText(p *Pattern) string {
	if p == nil {
		return ""
	}
	return p.String()
}

func joinPrefixes(all []netip.Prefix) string {
	texts := make([]string, len(all))
	for i, p := range all {
		texts[i] = p.String()
	}
	return strings.Join(texts, ", ")
}

func byName[T any](all []T, name func(T) string) (map[string]T, []string) {
	m, names := make(map[string]T, len(all)), make([]string, len(all))
	for i, one := range all {
		names[i] = name(one)
		m[names[i]] = one
	}
	return m, names
}
