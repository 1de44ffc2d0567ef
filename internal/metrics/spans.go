package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"mrcproxy/internal/spans"
)

// spanSeries are the series of what an OpenTelemetry collector is told.
var spanSeries = []struct {
	desc  *prometheus.Desc
	value func(spans.Stats) uint64
}{
	{desc("spans_sent_total", "Spans that the collector took."), func(s spans.Stats) uint64 { return s.Sent }},
	{desc("spans_dropped_total", "Spans that the collector did not take, or not fast enough."), func(s spans.Stats) uint64 { return s.Dropped }},
	{desc("spans_errors_total", "Requests to the collector that failed."), func(s spans.Stats) uint64 { return s.Errors }},
}
