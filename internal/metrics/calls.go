package metrics

import (
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"mrcproxy/balancer"
	"mrcproxy/internal/session"
	"mrcproxy/proxy"
)

// outcome is how an INVITE ended, as far as a series tells.
type outcome struct {
	cluster, backend string
	code             int
}

type inviteSeries struct {
	count    prometheus.Counter
	duration *exemplified
}

type failover struct{ cluster, reason string }

// clusterSeries are those that a cluster has whatever happens. They are made together, so that they begin at 0 rather
// than with the first event: rate and increase miss a series' first value.
type clusterSeries struct {
	inviteDuration  *exemplified
	sessionDuration prometheus.Observer
	queueDuration   prometheus.Observer
	ended           []prometheus.Counter // by session.Reason
}

func (m *Metrics) cluster(name string) *clusterSeries {
	if c, ok := m.byCluster.get(name); ok {
		return c
	}
	c := &clusterSeries{
		inviteDuration:  exemplify(m.inviteDuration.WithLabelValues(name)),
		sessionDuration: m.sessionDuration.WithLabelValues(name),
		queueDuration:   m.queueDuration.WithLabelValues(name),
	}
	for _, r := range session.Reasons() {
		c.ended = append(c.ended, m.ended.WithLabelValues(name, r.String()))
	}
	for _, r := range failoverReasons {
		m.failovers.WithLabelValues(name, r)
	}
	for _, code := range noServer {
		m.invites.WithLabelValues(name, "", code)
	}
	return m.byCluster.add(name, c)
}

// InviteDone counts an initial INVITE and the time to its final response. Its cluster is the one that the route named,
// its backend the last one tried.
func (m *Metrics) InviteDone(i *proxy.Invite) {
	k := outcome{cluster: i.Cluster, code: i.Code}
	if i.Backend != nil {
		k.backend = i.Backend.URI()
	}
	s, ok := m.byOutcome.get(k)
	if !ok {
		s = m.invite(k)
	}
	s.count.Inc()
	s.duration.observe(i)
	if i.Queued > 0 {
		m.cluster(i.Cluster).queueDuration.Observe(i.Queued.Seconds())
	}
}

// invite makes the series of an outcome. Codes that SIP does not have share one.
func (m *Metrics) invite(k outcome) *inviteSeries {
	label := strconv.Itoa(k.code)
	if !finalCode(k.code) {
		k.code, label = 0, other
	}
	return m.byOutcome.add(k, &inviteSeries{
		count:    m.invites.WithLabelValues(k.cluster, k.backend, label),
		duration: m.cluster(k.cluster).inviteDuration,
	})
}

// finalCode reports whether a status code is one of a final response (RFC 3261 7.2).
func finalCode(code int) bool { return code >= 200 && code <= 699 }

// other is the label value of what has no name of its own, so that there is a bound on their number.
const other = "other"

// noServer are the codes of the answer that no server can take the session (failover.reject).
var noServer = []string{"480", "503"}

// failoverReasons are the words for attempts without an answer; an answer's reason is its code.
var failoverReasons = []string{"no_response", "no_answer", "unreachable", "connection", "send_failed", "too_large", "deadline"}

// FailedOver counts an attempt that was given up for another.
func (m *Metrics) FailedOver(cluster, reason string) {
	k := failover{cluster, reason}
	c, ok := m.byFailover.get(k)
	if !ok {
		if code, err := strconv.Atoi(reason); (err != nil || !finalCode(code)) && !slices.Contains(failoverReasons, reason) {
			k.reason = other
		}
		m.cluster(cluster)
		c = m.byFailover.add(k, m.failovers.WithLabelValues(cluster, k.reason))
	}
	c.Inc()
}

// Dropped counts a message that was not relayed.
func (m *Metrics) Dropped(why proxy.DropReason) {
	if int(why) < len(m.byReason) {
		m.byReason[why].Inc()
	}
}

// Late counts a 2xx of an abandoned attempt. Its cluster is the backend's own.
func (m *Metrics) Late(b *balancer.Backend) {
	m.late.WithLabelValues(b.Cluster(), b.URI()).Inc()
}

// Unroutable counts nothing: the INVITE is dropped too, for the reason that no route matched.
func (m *Metrics) Unroutable(*proxy.Invite, string) {}
