// Package metrics is what Prometheus sees of the proxy: counters and histograms that are told of each call, and gauges
// that are read from their owners when a scrape comes, so that they cannot drift. It owns its registry and nothing
// else: it changes no state of the proxy, logs nothing, and no label of its series carries anything that a message can
// make up, such as a Call-ID or a User-Agent; exemplars, which are no series, do.
package metrics

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"mrcproxy/balancer"
	"mrcproxy/health"
	"mrcproxy/internal/cdr"
	"mrcproxy/internal/hep"
	"mrcproxy/internal/journal"
	"mrcproxy/internal/resolver"
	"mrcproxy/internal/session"
	"mrcproxy/internal/spans"
	"mrcproxy/internal/store"
	"mrcproxy/proxy"
	"mrcproxy/proxy/transport"
)

var _ proxy.Observer = (*Metrics)(nil)

// Sources are what a scrape reads. The functions are called at each scrape, also concurrently; the series of one that
// is nil are absent.
type Sources struct {
	Backends     func() []balancer.BackendView
	Sessions     func() int
	Transactions func() int
	Transport    func() transport.Stats
	Names        func() []resolver.Stat
	Clusters     func() []balancer.ClusterView
	Health       func(backend uint32) (health.Status, bool)
	Operator     func(cluster, idc, backend string) bool // whether an operator has taken it out
	Queued       func() map[string]int                   // by cluster
	Journal      func() journal.Stats
	Store        func() store.Stats
	CDR          func() cdr.Stats
	HEP          func() hep.Stats
	Spans        func() spans.Stats

	// For mrcproxy_build_info; they do not change.
	Version, Revision, IDC string
}

// Metrics counts what happens and serves it with what it reads. All methods are safe for concurrent use. Those of
// proxy.Observer, and SessionEnded, neither block nor allocate once a series exists, but for an exemplar of each kind a second and bucket.
type Metrics struct {
	reg *prometheus.Registry
	src Sources

	build           prometheus.Gauge
	invites         *prometheus.CounterVec
	failovers       *prometheus.CounterVec
	late            *prometheus.CounterVec
	dropped         *prometheus.CounterVec
	ended           *prometheus.CounterVec
	inviteDuration  *prometheus.HistogramVec
	probeDuration   *prometheus.HistogramVec
	sessionDuration *prometheus.HistogramVec
	attempts        *prometheus.CounterVec
	changes         *prometheus.CounterVec
	queueDuration   *prometheus.HistogramVec
	admission       prometheus.Histogram
	reloadOK        prometheus.Gauge
	reloadAt        prometheus.Gauge
	deep            deepMetrics

	// The series of the call path, found without the label hashing of the vectors above.
	byOutcome  cache[outcome, *inviteSeries]
	byFailover cache[failover, prometheus.Counter]
	byCluster  cache[string, *clusterSeries]
	byAttempt  cache[attempt, *attemptSeries]
	byReason   []prometheus.Counter // by proxy.DropReason
}

// Buckets in seconds: an INVITE from a server's few milliseconds, over one and two first-response timeouts, to the 5 s
// that FreeSWITCH must be answered in; a probe around its usual timeouts; a session from one prompt to half a shift.
var (
	inviteBuckets    = []float64{0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 1.5, 2, 3, 4, 5}
	probeBuckets     = []float64{0.002, 0.01, 0.05, 0.2, 1, 5}
	admissionBuckets = []float64{0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1}
	sessionBuckets   = []float64{1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400}
)

// New makes the metrics with a registry of their own, which also has those of the Go runtime and the process.
func New(src Sources) *Metrics {
	m := &Metrics{
		reg:       prometheus.NewRegistry(),
		src:       src,
		invites:   counters("invites_total", "Initial INVITEs by their final response.", "cluster", "backend", "code"),
		failovers: counters("failovers_total", "Attempts given up for another backend.", "cluster", "reason"),
		late:      counters("late_answers_total", "2xx of abandoned attempts, ended by the proxy.", "cluster", "backend"),
		dropped:   counters("dropped_total", "Messages that were not relayed.", "reason"),
		ended:     counters("sessions_ended_total", "Sessions that ended.", "cluster", "reason"),
		inviteDuration: histograms("invite_duration_seconds",
			"Time from an initial INVITE to its final response.", inviteBuckets, "cluster"),
		probeDuration: histograms("probe_duration_seconds",
			"Time a health probe took.", probeBuckets, "cluster", "backend", "result"),
		attempts: counters("attempts_total", "INVITEs sent to backends, by what came of it.", "cluster", "backend", "outcome"),
		changes:  counters("backend_state_changes_total", "Changes of a backend's state, by the new one.", "cluster", "backend", "state"),
		queueDuration: histograms("queue_duration_seconds",
			"Time that INVITEs have waited for a place, of those that waited.", inviteBuckets, "cluster"),
		sessionDuration: histograms("session_duration_seconds",
			"Time from a session's INVITE to its end.", sessionBuckets, "cluster"),
		admission: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "store_admission_duration_seconds", Buckets: admissionBuckets,
			Help: "Time that an INVITE waited for the store.",
		}),
		reloadOK: gauge("config_last_reload_successful", "1 if the last load of the configuration succeeded."),
		reloadAt: gauge("config_last_reload_success_timestamp_seconds",
			"When the configuration was last loaded with success."),
		build: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Name: "build_info", Help: "Always 1; the labels say what is running.",
			ConstLabels: prometheus.Labels{
				"version": src.Version, "revision": src.Revision, "goversion": runtime.Version(), "idc": src.IDC,
			},
		}),
	}
	m.build.Set(1)
	m.deep = newDeepMetrics()
	for _, r := range proxy.DropReasons() {
		m.byReason = append(m.byReason, m.dropped.WithLabelValues(r.String()))
	}
	m.reg.MustRegister(collector{m}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

const namespace = "mrcproxy"

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help})
}

func histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help, Buckets: buckets,
	}, labels)
}

// Registry is where the metrics are registered, for others to be added to or to gather from.
func (m *Metrics) Registry() *prometheus.Registry { return m.reg }

// Handler serves a scrape. When a series cannot be had, the others are served all the same, and
// promhttp_metric_handler_errors_total counts it.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.reg, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, Registry: m.reg, MaxRequestsInFlight: maxScrapes,
		EnableOpenMetrics: true, // where it is asked for: it has exemplars
	})
}

// maxScrapes is how many scrapes are served at once; more are answered 503.
const maxScrapes = 16

// Probed counts a health probe. ok: the server takes sessions. The IDC is not kept: a backend's URI is its own in the
// cluster.
func (m *Metrics) Probed(cluster, _, backend string, ok bool, d time.Duration) {
	result := "failed"
	if ok {
		result = "ok"
	}
	m.probeDuration.WithLabelValues(cluster, backend, result).Observe(d.Seconds())
}

// SessionEnded counts the end of a session and how long it was. Its cluster is the one that the route named, of a session
// that began at another process the backend's own.
func (m *Metrics) SessionEnded(s *session.Session, why session.Reason) {
	name := s.Cluster
	if s.Learned {
		name = s.Backend().Cluster()
	}
	c := m.cluster(name)
	if int(why) < len(c.ended) {
		c.ended[why].Inc()
	}
	if !s.Learned {
		c.sessionDuration.Observe(time.Since(s.Start).Seconds())
	}
}

// Forget drops what was counted for a backend that is gone, in all clusters, so that servers that come and go under ever
// new addresses leave nothing behind.
func (m *Metrics) Forget(backend string) {
	gone := prometheus.Labels{"backend": backend}
	m.byOutcome.remove(func(k outcome) bool { return k.backend == backend })
	m.invites.DeletePartialMatch(gone)
	m.byAttempt.remove(func(k attempt) bool { return k.backend == backend })
	m.attempts.DeletePartialMatch(gone)
	m.changes.DeletePartialMatch(gone)
	m.late.DeletePartialMatch(gone)
	m.probeDuration.DeletePartialMatch(gone)
	m.deep.forget(gone)
}

// Reloaded tells of a load of the configuration, the first one at start included: whether it succeeded, and when it was.
func (m *Metrics) Reloaded(ok bool, at time.Time) {
	if !ok {
		m.reloadOK.Set(0)
		return
	}
	m.reloadAt.Set(float64(at.UnixMilli()) / 1000)
	m.reloadOK.Set(1)
}
