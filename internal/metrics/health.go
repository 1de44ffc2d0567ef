package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mrcproxy/balancer"
	"mrcproxy/health"
	"mrcproxy/proxy"
)

var (
	conditionDesc = desc("backend_condition", "1 if that is so of the backend, beside its state.",
		"cluster", "idc", "backend", "condition")
	maxCPSDesc       = desc("backend_max_cps", "How many sessions may be placed within a second; absent if any number.", backendLabels...)
	latencyDesc      = desc("backend_latency_seconds", "Moving average from an INVITE to its 2xx; absent if there was none.", backendLabels...)
	resourceUsedDesc = desc("backend_resource_sessions", "Sessions that count against the limit for a resource, those of other instances included as far as known.",
		"cluster", "idc", "backend", "resource")
	resourceLimitDesc = desc("backend_resource_capacity", "How many sessions with that resource the backend accepts at once.",
		"cluster", "idc", "backend", "resource")

	clusterSessionsDesc = desc("cluster_sessions", "Places taken in the cluster, those of other instances included as far as known.", "cluster")
	licencesDesc        = desc("cluster_licences", "How many sessions the cluster may have at once; absent if there is no limit.", "cluster")
	spilledDesc         = desc("spilled_sessions", "Places that this instance has taken in another IDC.", "cluster", "idc")
	spillLimitDesc      = desc("spill_limit_sessions", "How many of them there may be; absent if any number.", "cluster", "idc")
	queuedDesc          = desc("queue_waiting", "INVITEs that wait for a place.", "cluster")

	healthDescs = []*prometheus.Desc{conditionDesc, maxCPSDesc, latencyDesc, resourceUsedDesc, resourceLimitDesc, clusterSessionsDesc,
		licencesDesc, spilledDesc, spillLimitDesc, queuedDesc}
)

// conditions are what can be so of a backend beside its state.
func (c collector) conditions(v balancer.BackendView, now time.Time) map[string]bool {
	var s health.Status
	if c.src.Health != nil {
		s, _ = c.src.Health(v.ID)
	}
	return map[string]bool{
		"suspect": s.Suspect, "ejected": s.Ejected, "engine_down": s.EngineDown, "probation": s.Probation, "held": v.Held(now),
		"slow_start": !v.StartedAt.IsZero(), "operator": c.src.Operator != nil && c.src.Operator(v.Cluster, v.IDC, v.URI),
	}
}

// limits sends what is known of a backend beyond its state.
func (c collector) limits(ch chan<- prometheus.Metric, v balancer.BackendView) {
	send := func(d *prometheus.Desc, value float64, label ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, append([]string{v.Cluster, v.IDC, v.URI}, label...)...)
	}
	for name, is := range c.conditions(v, time.Now()) {
		send(conditionDesc, truth(is), name)
	}
	if v.MaxCPS > 0 {
		send(maxCPSDesc, float64(v.MaxCPS))
	}
	if v.Latency > 0 {
		send(latencyDesc, v.Latency.Seconds())
	}
	for _, r := range v.Resources {
		send(resourceUsedDesc, float64(r.Sessions+r.Elsewhere), r.Name)
		send(resourceLimitDesc, float64(r.Capacity), r.Name)
	}
}

// clusters sends what belongs to no single backend.
func (c collector) clusters(ch chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, value int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value), labels...)
	}
	for _, v := range c.src.Clusters() {
		send(clusterSessionsDesc, v.Sessions+v.Elsewhere, v.Name)
		if v.Licences != balancer.Unlimited {
			send(licencesDesc, v.Licences, v.Name)
		}
		for idc, n := range v.Spilled {
			send(spilledDesc, n, v.Name, idc)
		}
		for idc, n := range v.SpillLimit {
			send(spillLimitDesc, n, v.Name, idc)
		}
	}
}

// attemptSeries are the counts of a backend's attempts, by proxy.OutcomeKind.
type attemptSeries [4]prometheus.Counter

var outcomes = [4]string{proxy.Answered: "answered", proxy.Failed: "failed", proxy.Refused: "refused", proxy.Errored: "errored"}

// Attempted counts one INVITE at a backend, by what it showed.
func (m *Metrics) Attempted(b *balancer.Backend, kind proxy.OutcomeKind) {
	k := attempt{b.Cluster(), b.URI()}
	s, ok := m.byAttempt.get(k)
	if !ok {
		s = new(attemptSeries)
		for i, name := range outcomes {
			s[i] = m.attempts.WithLabelValues(k.cluster, k.backend, name)
		}
		s = m.byAttempt.add(k, s)
	}
	if int(kind) < len(s) {
		s[kind].Inc()
	}
}

type attempt struct{ cluster, backend string }

// StateChanged counts a backend's change to a state.
func (m *Metrics) StateChanged(b *balancer.Backend, to health.State) {
	for _, s := range []health.State{health.Unknown, health.Up, health.Down, health.Draining} {
		c := m.changes.WithLabelValues(b.Cluster(), b.URI(), s.String()) // all at once, so that each begins at 0
		if s == to {
			c.Inc()
		}
	}
}
