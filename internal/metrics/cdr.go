package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"mrcproxy/internal/cdr"
)

// recordSeries are the series of call records.
var recordSeries = []struct {
	desc  *prometheus.Desc
	value func(cdr.Stats) uint64
}{
	{desc("cdr_written_total", "Call records written."), func(s cdr.Stats) uint64 { return s.Written }},
	{desc("cdr_dropped_total", "Call records lost, because the file could not be written, or not fast enough."), func(s cdr.Stats) uint64 { return s.Dropped }},
	{desc("cdr_errors_total", "Times that the file of call records could not be opened or written."), func(s cdr.Stats) uint64 { return s.Errors }},
}
