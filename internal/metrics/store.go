package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mrcproxy/internal/store"
)

// storeSeries are the series of a store, without its admissions.
var storeSeries = []struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(store.Stats) float64
}{
	{desc("store_up", "1 if the store answers."), prometheus.GaugeValue, func(s store.Stats) float64 { return truth(s.Up) }},
	{desc("store_exact", "1 if limits hold over all instances together."), prometheus.GaugeValue, func(s store.Stats) float64 { return truth(s.Exact) }},
	{desc("store_losses_total", "Times that the store stopped answering."), prometheus.CounterValue, func(s store.Stats) float64 { return float64(s.Losses) }},
	{desc("store_resets_total", "Times that the store came back without its data."), prometheus.CounterValue, func(s store.Stats) float64 { return float64(s.Resets) }},
}

var admissionsDesc = desc("store_admissions_total", "Places asked for, by who decided and how.", "by", "result")

// store sends the series of the store.
func (c collector) store(ch chan<- prometheus.Metric, s store.Stats) {
	for _, t := range storeSeries {
		ch <- prometheus.MustNewConstMetric(t.desc, t.kind, t.value(s))
	}
	for _, n := range []struct {
		by, result string
		value      uint64
	}{
		{"store", "admitted", s.Admitted}, {"store", "refused", s.Refused}, {"alone", "admitted", s.AloneAdmitted}, {"alone", "refused", s.AloneRefused},
	} {
		ch <- prometheus.MustNewConstMetric(admissionsDesc, prometheus.CounterValue, float64(n.value), n.by, n.result)
	}
}

// Admission notes how long an INVITE waited for the store.
func (m *Metrics) Admission(d time.Duration) { m.admission.Observe(d.Seconds()) }
