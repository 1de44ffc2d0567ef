package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"mrcproxy/balancer"
)

// collector is everything of ours in one scrape: first what is read from the sources, then what was counted. It is not
// part of Metrics, whose methods are for those who tell it things.
type collector struct{ *Metrics }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

var (
	sessionsDesc     = desc("sessions", "Established sessions.")
	transactionsDesc = desc("transactions", "Transactions that are kept.")

	upDesc = desc("backend_up",
		"1 if the backend is known to be up; 0 if it is down, draining or not probed yet.", backendLabels...)
	stateDesc = desc("backend_state",
		"1 for the state that the backend is in, 0 for the others.", "cluster", "idc", "backend", "state")
	allSessionsDesc = desc("backend_sessions_all",
		"The same over all instances, as far as this one knows.", backendLabels...)
	backendSessionsDesc = desc("backend_sessions",
		"Places taken at the backend: sessions, and INVITEs on the way to it.", backendLabels...)
	capacityDesc = desc("backend_capacity",
		"How many sessions the backend accepts at once; absent if there is no limit.", backendLabels...)
	weightDesc = desc("backend_weight", "The backend's configured weight.", backendLabels...)
	pickedDesc = desc("backend_picked_total", "Times that the backend was chosen.", backendLabels...)

	journalUpDesc = desc("journal_up",
		"1 if what has changed of the sessions is on disk; 0 if it could not be written.")
	journalSizeDesc     = desc("journal_size_bytes", "Size of the file of sessions.")
	journalFailuresDesc = desc("journal_failures_total", "Times that the file of sessions could not be opened or written.")

	backendLabels = []string{"cluster", "idc", "backend"}
	states        = []balancer.State{balancer.Unknown, balancer.Up, balancer.Down, balancer.Draining}
)

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{sessionsDesc, transactionsDesc, upDesc, stateDesc, backendSessionsDesc, allSessionsDesc,
		capacityDesc, weightDesc, pickedDesc, lookupsDesc, resolvedDesc, addressesDesc, journalUpDesc, journalSizeDesc, journalFailuresDesc} {
		ch <- d
	}
	for _, d := range healthDescs {
		ch <- d
	}
	for _, t := range transportSeries {
		ch <- t.desc
	}
	for _, t := range recordSeries {
		ch <- t.desc
	}
	for _, t := range hepSeries {
		ch <- t.desc
	}
	for _, t := range spanSeries {
		ch <- t.desc
	}
	ch <- admissionsDesc
	for _, t := range storeSeries {
		ch <- t.desc
	}
	for _, v := range c.counted() {
		v.Describe(ch)
	}
}

// counted are the metrics that are told of events.
func (c collector) counted() []prometheus.Collector {
	return append(c.deep.all(), c.build, c.invites, c.failovers, c.late, c.dropped, c.ended, c.inviteDuration,
		c.probeDuration, c.sessionDuration, c.attempts, c.changes, c.queueDuration, c.admission, c.reloadOK, c.reloadAt)
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	if c.src.Backends != nil {
		for _, v := range c.src.Backends() {
			c.backend(ch, v)
		}
	}
	if c.src.Clusters != nil {
		c.clusters(ch)
	}
	if c.src.Queued != nil {
		for cluster, n := range c.src.Queued() {
			ch <- prometheus.MustNewConstMetric(queuedDesc, prometheus.GaugeValue, float64(n), cluster)
		}
	}
	if c.src.Sessions != nil {
		ch <- prometheus.MustNewConstMetric(sessionsDesc, prometheus.GaugeValue, float64(c.src.Sessions()))
	}
	if c.src.Transactions != nil {
		ch <- prometheus.MustNewConstMetric(transactionsDesc, prometheus.GaugeValue, float64(c.src.Transactions()))
	}
	if c.src.Transport != nil {
		stats := c.src.Transport()
		for _, t := range transportSeries {
			ch <- prometheus.MustNewConstMetric(t.desc, t.kind, t.value(stats))
		}
	}
	if c.src.Journal != nil {
		stats := c.src.Journal()
		ch <- prometheus.MustNewConstMetric(journalUpDesc, prometheus.GaugeValue, truth(stats.Up))
		ch <- prometheus.MustNewConstMetric(journalSizeDesc, prometheus.GaugeValue, float64(stats.Bytes))
		ch <- prometheus.MustNewConstMetric(journalFailuresDesc, prometheus.CounterValue, float64(stats.Failures))
	}
	if c.src.Names != nil {
		for _, n := range c.src.Names() {
			c.name(ch, n)
		}
	}
	if c.src.CDR != nil {
		stats := c.src.CDR()
		for _, t := range recordSeries {
			ch <- prometheus.MustNewConstMetric(t.desc, prometheus.CounterValue, float64(t.value(stats)))
		}
	}
	if c.src.HEP != nil {
		stats := c.src.HEP()
		for _, t := range hepSeries {
			ch <- prometheus.MustNewConstMetric(t.desc, prometheus.CounterValue, float64(t.value(stats)))
		}
	}
	if c.src.Spans != nil {
		stats := c.src.Spans()
		for _, t := range spanSeries {
			ch <- prometheus.MustNewConstMetric(t.desc, prometheus.CounterValue, float64(t.value(stats)))
		}
	}
	if c.src.Store != nil {
		c.store(ch, c.src.Store())
	}
	for _, v := range c.counted() {
		v.Collect(ch)
	}
}

// backend sends the series of one backend. Of one that is no longer configured only the sessions are left to tell of.
func (c collector) backend(ch chan<- prometheus.Metric, v balancer.BackendView) {
	send := func(d *prometheus.Desc, kind prometheus.ValueType, value float64) {
		ch <- prometheus.MustNewConstMetric(d, kind, value, v.Cluster, v.IDC, v.URI)
	}
	send(backendSessionsDesc, prometheus.GaugeValue, float64(v.Sessions))
	send(allSessionsDesc, prometheus.GaugeValue, float64(v.Sessions+v.Elsewhere))
	if v.Removed {
		return
	}
	c.cluster(v.Cluster)
	send(upDesc, prometheus.GaugeValue, truth(v.State == balancer.Up))
	if v.Capacity != balancer.Unlimited {
		send(capacityDesc, prometheus.GaugeValue, float64(v.Capacity))
	}
	send(weightDesc, prometheus.GaugeValue, float64(v.Weight))
	send(pickedDesc, prometheus.CounterValue, float64(v.Picked))
	c.limits(ch, v)
	for _, s := range states {
		ch <- prometheus.MustNewConstMetric(stateDesc, prometheus.GaugeValue, truth(v.State == s),
			v.Cluster, v.IDC, v.URI, s.String())
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
