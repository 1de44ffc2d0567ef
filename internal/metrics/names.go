package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"mrcproxy/internal/resolver"
)

var (
	lookupsDesc   = desc("dns_lookups_total", "Lookups of names of backends.", "name", "result")
	resolvedDesc  = desc("dns_last_success_timestamp_seconds", "When the name was last resolved in full.", "name")
	addressesDesc = desc("dns_addresses", "Addresses that the name stands for.", "name")
)

// name sends the series of one name.
func (c collector) name(ch chan<- prometheus.Metric, n resolver.Stat) {
	name := n.Name.String()
	ch <- prometheus.MustNewConstMetric(lookupsDesc, prometheus.CounterValue, float64(n.OK), name, "ok")
	ch <- prometheus.MustNewConstMetric(lookupsDesc, prometheus.CounterValue, float64(n.Failed), name, "failed")
	ch <- prometheus.MustNewConstMetric(addressesDesc, prometheus.GaugeValue, float64(n.Targets), name)
	if !n.LastSuccess.IsZero() {
		ch <- prometheus.MustNewConstMetric(resolvedDesc, prometheus.GaugeValue, float64(n.LastSuccess.UnixMilli())/1000, name)
	}
}
