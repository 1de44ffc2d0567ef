package test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// backendList writes hosts 21 up to 20+n as backends of a group, each with the keys given.
func (l *lab) backendList(n int, network, keys string) string {
	var b strings.Builder
	for i := range n {
		param := ""
		if network == "tcp" {
			param = ";transport=tcp"
		}
		fmt.Fprintf(&b, "          - {uri: \"sip:%s:8060%s\"%s}\n", l.ip(21+i), param, keys)
	}
	return b.String()
}

// sippServers starts hosts 21 up to 20+n as well-behaved servers.
func (l *lab) sippServers(n int, network string) []*sippServer {
	l.t.Helper()
	var servers []*sippServer
	for i := range n {
		servers = append(servers, l.sippServer(21+i, network, "uas_mrcp.xml"))
	}
	return servers
}

// each is a server's metric for hosts 21 up to 20+n.
func (l *lab) each(m map[string]float64, n int, name string, parts ...string) []int {
	var v []int
	for i := range n {
		v = append(v, int(sum(m, name, append([]string{"sip:" + l.ip(21+i) + ":"}, parts...)...)))
	}
	return v
}

// counters are one counter of each server.
func counters(servers []*sippServer, n int) []int {
	var v []int
	for _, s := range servers {
		v = append(v, s.counter(n))
	}
	return v
}

func total(v []int) int {
	t := 0
	for _, n := range v {
		t += n
	}
	return t
}

// served checks a client's run: no call failed, nothing was sent twice.
func (d *daemon) served(f figures, calls int) {
	d.lab.t.Helper()
	if f.int("SuccessfulCall(C)") != calls || f.int("FailedCall(C)") != 0 || d.lab.again(f) {
		d.lab.t.Errorf("client: %s of %d calls succeeded, %s failed, %s retransmissions; the slowest INVITE so far took %.0f ms", f["SuccessfulCall(C)"], calls,
			f["FailedCall(C)"], f["Retransmissions(C)"], d.slowest())
	}
}

// again says that a SIPp has sent something for the second time, and that its T1 of 500 ms has not run out because the machine
// stood still.
func (l *lab) again(f figures) bool {
	return f.int("Retransmissions(C)") != 0 && l.clock.Longest() < 250*time.Millisecond
}

// slowest is the longest time that the daemon took to answer an INVITE, by its log: a retransmission without a slow answer
// tells of a busy machine.
func (d *daemon) slowest() (ms float64) {
	for _, r := range d.sessions() {
		if r.SetupMS != nil {
			ms = max(ms, *r.SetupMS)
		}
	}
	return ms
}

// TestMatrix: 400 sessions from one client socket are spread over four equal servers, evenly, whatever the transports of
// the two sides. An L4 balancer would put them all on one.
func TestMatrix(t *testing.T) {
	for _, way := range []struct{ client, server string }{{"udp", "udp"}, {"tcp", "tcp"}, {"tcp", "udp"}, {"udp", "tcp"}} {
		t.Run(way.client+" to "+way.server, func(t *testing.T) { matrix(t, way.client, way.server) })
	}
}

func matrix(t *testing.T, client, server string) {
	const calls, n = 400, 4
	l := newLab(t)
	servers := l.sippServers(n, server)
	list := l.backendList(n, server, "")
	// With the usual T1 towards servers, as the SIPp peers have it, whatever is sent twice was lost or late on the way.
	d := l.start(l.head() + `
failover: {t1: 500ms, first_response_timeout: 2s, answer_timeout: 2s}
sessions: {bye_timeout: 8s, bye_answer: 481}
routes:
  - {name: turns, match: {user_agent: TURNS}, cluster: turns}
otherwise: {cluster: loads}
clusters:
  - name: turns
    policy: weighted
    groups:
      - backends:
` + list + `
  - name: loads
    policy: least-load
    groups:
      - backends:
` + list)
	d.await("all are up", 10*time.Second, func() bool { return d.up() == 2*n })

	d.served(l.sippClient(clientRun{network: client, rate: 200, calls: calls, ua: "TURNS"}), calls)
	l.balanced(servers, calls/n, calls/n)

	end := l.startClient(clientRun{network: client, rate: 200, calls: calls, hold: 4500 * time.Millisecond})
	var held []int
	d.await("all sessions are held at once", 8*time.Second, func() bool {
		held = l.each(d.metrics(), n, "mrcproxy_backend_sessions", `cluster="loads"`)
		return total(held) == calls
	})
	for _, h := range held {
		if h < calls/n-1 || h > calls/n+1 {
			t.Errorf("least-load holds %v sessions, want within 1 of %d", held, calls/n)
			break
		}
	}
	d.served(end(), calls)
	l.balanced(servers, 2*calls/n-1, 2*calls/n+1)

	d.await("the sessions' lines are in the log", 10*time.Second, func() bool { return d.lines(`"msg":"session"`) == 2*calls })
	if n := d.lines(`"ended_by":"bye_client"`); n != 2*calls {
		t.Errorf("%d sessions ended by the client's BYE, want %d", n, 2*calls)
	}
	m := d.metrics()
	if got := sum(m, "mrcproxy_invites_total", `code="200"`); got != 2*calls {
		t.Errorf("%v INVITEs answered 200, want %d", got, 2*calls)
	}
	for _, name := range []string{"mrcproxy_failovers_total", "mrcproxy_dropped_total", "mrcproxy_late_answers_total", "mrcproxy_backend_sessions", "mrcproxy_sessions"} {
		if got := sum(m, name); got != 0 {
			t.Errorf("%s is %v, want 0:%s", name, got, nonZero(m, name))
		}
	}
}

// nonZero lists the series of a metric that are not 0.
func nonZero(m map[string]float64, name string) string {
	var b strings.Builder
	for k, v := range m {
		if v != 0 && strings.HasPrefix(k, name) {
			fmt.Fprintf(&b, " %s %v", k, v)
		}
	}
	return b.String()
}

// balanced checks what the servers saw: each from low to high INVITEs, a BYE and an ACK in time for each, nothing twice.
func (l *lab) balanced(servers []*sippServer, low, high int) {
	l.t.Helper()
	var invites []int
	await(l.t, "SIPp has written its counters", 4*time.Second, func() bool {
		invites = counters(servers, 1)
		return total(invites) >= len(servers)*(low+high)/2 && total(counters(servers, 3)) == total(invites)
	})
	byes, acks := counters(servers, 3), counters(servers, 4)
	for i, s := range servers {
		if invites[i] < low || invites[i] > high || byes[i] != invites[i] || acks[i] != invites[i] {
			l.t.Errorf("INVITEs %v, BYEs %v, ACKs in time %v, want %d to %d of each", invites, byes, acks, low, high)
			break
		}
		if f := readFigures(l.t, s.stat); l.again(f) {
			l.t.Errorf("server %d: %s retransmissions", i, f["Retransmissions(C)"])
		}
	}
}
