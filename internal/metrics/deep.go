package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"mrcproxy/health/probe"
)

// deepMetrics are those of deep probes.
type deepMetrics struct {
	probes  *prometheus.CounterVec
	skipped *prometheus.CounterVec
	up      *prometheus.GaugeVec
	steps   *prometheus.HistogramVec
}

// A step of a deep probe is as quick as an answer to OPTIONS, or takes as long as what is said.
var deepBuckets = []float64{0.002, 0.01, 0.05, 0.2, 0.5, 1, 2, 5, 10, 30}

func newDeepMetrics() deepMetrics {
	return deepMetrics{
		probes:  counters("deep_probes_total", "Deep probes by result.", "cluster", "backend", "result"),
		skipped: counters("deep_probes_skipped_total", "Deep probes that were not made.", "cluster", "backend", "reason"),
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: "deep_probe_up",
			Help: "1 if the last deep probe of the backend succeeded, 0 if it failed."}, []string{"cluster", "backend"}),
		steps: histograms("deep_probe_duration_seconds", "Duration of the steps of deep probes.", deepBuckets, "cluster", "backend", "step"),
	}
}

func (d deepMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{d.probes, d.skipped, d.up, d.steps}
}

func (d deepMetrics) forget(gone prometheus.Labels) {
	d.probes.DeletePartialMatch(gone)
	d.skipped.DeletePartialMatch(gone)
	d.up.DeletePartialMatch(gone)
	d.steps.DeletePartialMatch(gone)
}

// DeepOff drops what the last deep probe of a backend showed, as there will be no next.
func (m *Metrics) DeepOff(cluster, backend string) { m.deep.up.DeleteLabelValues(cluster, backend) }

// DeepProbed counts a deep probe with its steps.
func (m *Metrics) DeepProbed(cluster, backend string, r probe.Report) {
	m.deep.probes.WithLabelValues(cluster, backend, r.Failure.String()).Inc()
	switch r.Failure {
	case probe.Local, probe.Cancelled: // say nothing about the server
	default:
		m.deep.up.WithLabelValues(cluster, backend).Set(truth(r.Failure == probe.OK))
	}
	for s := range probe.Steps {
		if r.Took[s] > 0 {
			m.deep.steps.WithLabelValues(cluster, backend, s.String()).Observe(r.Took[s].Seconds())
		}
	}
}

// DeepSkipped counts a deep probe that was due and not made.
func (m *Metrics) DeepSkipped(cluster, backend, reason string) {
	m.deep.skipped.WithLabelValues(cluster, backend, reason).Inc()
}
