package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"mrcproxy/internal/hep"
)

// hepSeries are the series of the export of messages.
var hepSeries = []struct {
	desc  *prometheus.Desc
	value func(hep.Stats) uint64
}{
	{desc("hep_sent_total", "SIP messages given to the HEP server."), func(s hep.Stats) uint64 { return s.Sent }},
	{desc("hep_dropped_total", "SIP messages that the HEP server did not get, because it could not be reached, or not fast enough."), func(s hep.Stats) uint64 { return s.Dropped }},
	{desc("hep_errors_total", "Times that the HEP server could not be reached or written to."), func(s hep.Stats) uint64 { return s.Errors }},
}
