package test

import (
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

// TestCapacity: 300 sessions are wanted of four servers with room for 50 each. 200 are served, exactly; no server ever has
// more than 50; the others are told why, and when to come again. When the sessions end, all the room is there again.
func TestCapacity(t *testing.T) {
	const n, room = 4, 50
	l := newLab(t)
	servers := l.sippServers(n, "udp")
	d := l.start(l.head() + `
failover: {t1: 500ms, first_response_timeout: 2s, answer_timeout: 2s}
sessions: {bye_timeout: 8s}
otherwise: {cluster: asr}
clusters:
  - name: asr
    groups:
      - backends:
` + l.backendList(n, "udp", fmt.Sprintf(", capacity: %d", room)))
	d.await("all are up", 10*time.Second, func() bool { return d.up() == n })

	watch := l.watchSessions(d, n)
	end := l.startClient(clientRun{network: "udp", rate: 150, calls: 300, hold: 6 * time.Second})
	d.await("all INVITEs are answered", 8*time.Second, func() bool { return sum(d.metrics(), "mrcproxy_invite_duration_seconds_count") == 300 })
	m := d.metrics()
	if held := l.each(m, n, "mrcproxy_backend_sessions"); !slices.Equal(held, []int{room, room, room, room}) {
		t.Errorf("%v sessions are held, want %d each", held, room)
	}
	if ok, refused := sum(m, "mrcproxy_invites_total", `code="200"`), sum(m, "mrcproxy_invites_total", `code="480"`, `backend=""`); ok != 200 || refused != 100 {
		t.Errorf("%v INVITEs answered 200 and %v 480 at once, want 200 and 100", ok, refused)
	}
	refusedWith(t, l.dial("udp", 6).ask(rawRequest{}), `^SIP;cause=480;text="cluster 'asr': 4 full"$`)
	refusedWith(t, l.dial("tcp", 6).ask(rawRequest{}), `^SIP;cause=480;text="cluster 'asr': 4 full"$`)

	f := end()
	if f.int("SuccessfulCall(C)") != 200 || f.int("FailedCall(C)") != 100 || l.again(f) {
		t.Errorf("client: %s succeeded, %s failed, %s retransmissions; want 200, 100, 0", f["SuccessfulCall(C)"], f["FailedCall(C)"], f["Retransmissions(C)"])
	}
	l.balanced(servers, room, room)
	d.await("no session is held", 2*time.Second, func() bool { return sum(d.metrics(), "mrcproxy_backend_sessions") == 0 })
	d.served(l.sippClient(clientRun{network: "udp", rate: 150, calls: 200, hold: 3 * time.Second}), 200)
	l.balanced(servers, 2*room, 2*room)
	if most := watch(); !slices.Equal(most, []int{room, room, room, room}) {
		t.Errorf("at most %v sessions were held, want %d each", most, room)
	}
}

// watchSessions scrapes without pause until the function is called, which gives the most sessions that each server had.
func (l *lab) watchSessions(d *daemon, n int) func() []int {
	stop, done := make(chan struct{}), make(chan struct{})
	most := make([]int, n)
	go func() {
		defer close(done)
		tick := time.NewTicker(30 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			for i, v := range l.each(d.metrics(), n, "mrcproxy_backend_sessions") {
				most[i] = max(most[i], v)
			}
		}
	}()
	return func() []int {
		close(stop)
		<-done
		return most
	}
}

// refusedWith checks a 480 of the daemon's own.
func refusedWith(t *testing.T, a answer, reason string) {
	t.Helper()
	if a.code != 480 || a.value("Retry-After") != "5" || !regexp.MustCompile(reason).MatchString(a.value("Reason")) {
		t.Errorf("want 480 with Retry-After: 5 and a Reason like %s, got\n%s", reason, a.head)
	}
}

// TestOrderOfGroups: sessions fill the group of the daemon's own data centre, then the other groups by priority, then the
// fallback clusters in their order, and return to the first as soon as there is room.
func TestOrderOfGroups(t *testing.T) {
	l := newLab(t)
	for i := range 6 {
		l.simServer(21+i, sim.ServerOptions{})
	}
	group := func(idc string, priority, host, capacity int) string {
		return fmt.Sprintf("      - {idc: %s, priority: %d, backends: [{uri: \"sip:%s:8060\", capacity: %d}]}\n", idc, priority, l.ip(host), capacity)
	}
	d := l.start(l.head() + `
otherwise: {cluster: first}
clusters:
  - name: third
    groups:
` + group("a", 0, 26, 1) + `
  - name: first
    fallback: [second, third]
    groups:
` + group("b", 20, 23, 2) + group("a", 30, 21, 3) + group("c", 10, 22, 2) + `
  - name: second
    groups:
` + group("b", 0, 25, 1) + group("a", 0, 24, 2))
	d.await("all are up", 10*time.Second, func() bool { return d.up() == 6 })

	p := l.dial("udp", 5)
	var held []*dialog
	for _, host := range []int{21, 21, 21, 22, 22, 23, 23, 24, 24, 25, 26} {
		held = append(held, l.placedAt(p, host, len(held)))
	}
	refusedWith(t, p.ask(rawRequest{}), `^SIP;cause=480;text="cluster 'first': 3 full; cluster 'second': 2 full; cluster 'third': 1 full"$`)
	for _, i := range []int{8, 3, 1} { // the later in the order, the sooner it is given up
		held[i].bye()
	}
	for i, host := range []int{21, 22, 24} {
		l.placedAt(p, host, 100+i)
	}
	if a := p.ask(rawRequest{}); a.code != 480 {
		t.Errorf("want 480 again, got\n%s", a.head)
	}
	// The line in the log names the cluster of the server, and the route that led there.
	d.await("the log tells of the session in the fallback cluster", 10*time.Second, func() bool {
		return d.logged(`"call_id":"`+held[8].callID+`"`, `"cluster":"second"`, `"backend":"sip:`+l.ip(24)+`:8060"`, `"ended_by":"bye_client"`)
	})
}

// placedAt places the nth session, which the server on that host has to get.
func (l *lab) placedAt(p *rawPeer, host, nth int) *dialog {
	l.t.Helper()
	s := p.establish(rawRequest{})
	if want := l.ip(host) + ":8060"; s.server != want {
		l.t.Fatalf("session %d is at %s, want %s", nth, s.server, want)
	}
	return s
}
