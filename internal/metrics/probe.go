package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"mrcproxy/health/probe"
)

// ProbeResult is one probe that was asked for over HTTP. Deep is nil for one by OPTIONS.
type ProbeResult struct {
	OK     bool
	Code   int    // SIP status code; 0: none
	Reason string // as metrics spell it
	Took   time.Duration
	Deep   *probe.Report
}

// ServeProbe answers an HTTP request with one probe's result, named as blackbox_exporter names its own.
func ServeProbe(w http.ResponseWriter, req *http.Request, r ProbeResult) {
	reg := prometheus.NewRegistry()
	set := func(name, help string, labels prometheus.Labels, v float64) {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels})
		g.Set(v)
		reg.MustRegister(g)
	}
	set("probe_success", "1 if the probe succeeded, 0 if it failed.", nil, truth(r.OK))
	set("probe_duration_seconds", "How long the probe took.", nil, r.Took.Seconds())
	set("probe_sip_status_code", "Status code of the final answer to OPTIONS or INVITE; 0 if there was none.", nil, float64(r.Code))
	if !r.OK {
		set("probe_failure_info", "Always 1; the label says how the probe failed.", prometheus.Labels{"reason": r.Reason}, 1)
	}
	if d := r.Deep; d != nil {
		for s := range probe.Steps {
			set("probe_phase_duration_seconds", "How long each part of the probe took; 0 for one that was not come to.", prometheus.Labels{"phase": s.String()}, d.Took[s].Seconds())
		}
		set("probe_recognition_confidence", "Confidence of what was recognised, 0 to 1.", nil, d.Confidence)
		set("probe_rtp_packets", "RTP packets received.", nil, float64(d.Packets))
	}
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(w, req)
}
