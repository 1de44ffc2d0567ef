package test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

// TestCutOffServers: between the proxy and one data centre's servers nothing gets through for some seconds, and nobody says so. New
// calls go to the other data centre, every client has an answer to its BYE, and the servers get theirs when the cut is mended, long
// before a session timer would end the sessions.
func TestCutOffServers(t *testing.T) {
	t.Parallel()
	const each = 10 // sessions at either server of the data centre
	l := newLab(t)
	l.hosts = newHosts(t, map[string][]int{"client": {5}, "proxy": {10}, "a": {21, 22}, "b": {31}})
	l.hosts.bridge()
	uris := []string{l.uri(21, "udp"), l.uri(22, "tcp")}
	d := l.start(l.cluster(l.group("a", uris...), l.group("b", l.uri(31, "udp"))))
	near := []*simProcess{l.simProcess(21, sim.ServerOptions{}), l.simProcess(22, sim.ServerOptions{})}
	far := l.simProcess(31, sim.ServerOptions{})
	d.await("the servers are up", 20*time.Second, func() bool { return d.up() == 3 })
	c := l.simClient(sim.ClientOptions{Proxy: netip.MustParseAddrPort(l.proxyAddr())})

	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	held := make(chan outcome, 2*each)
	for range cap(held) {
		go func() { held <- session(ctx, c, time.Hour) }()
	}
	sessions := func(want int, limit time.Duration) {
		t.Helper()
		await(t, fmt.Sprintf("%d sessions at each near server", want), limit, func() bool { return near[0].sessions() == want && near[1].sessions() == want })
	}
	sessions(each, 10*time.Second)

	l.hosts.cut("proxy", "a")
	g := l.load(c, 20, 100*time.Millisecond)
	hangUp()
	for range cap(held) {
		if o := <-held; !o.good() || o.ServerBye || o.ByeCode != 200 || o.Bye > byeLimit+l.clock.Longest() {
			t.Errorf("a session with a server that is cut off: %+v, its BYE took %v", o.Result, o.Bye)
		}
	}
	d.await("the cut is noticed", 10*time.Second, func() bool {
		m := d.metrics()
		return inState(m, uris[0], "down") && inState(m, uris[1], "down")
	})
	g.runFor(g.over()+60, 10*time.Second)
	all := g.end()
	mustSucceed(t, all)
	for _, o := range all {
		if want := hostIP(31) + ":8060"; o.Server != want {
			t.Fatalf("a call went to %s, want %s: %+v", o.Server, want, o.Result)
		}
	}
	t.Logf("setup beside the cut %v", setups(all))
	d.freed()
	sessions(each, 0) // they know nothing of it yet

	mended := time.Now()
	l.hosts.mend("proxy", "a")
	sessions(0, 20*time.Second)
	t.Logf("the servers had their BYEs %v after the cut was mended", time.Since(mended).Round(10*time.Millisecond))
	for i, s := range near {
		// Over TCP calls of the first moments get through as well, too late, and are ended.
		if st, err := s.stats(); err != nil || st.Byes != st.Answered || st.Byes < each {
			t.Errorf("server %d: %+v, %v", i, st, err)
		}
	}
	if n := far.sessions(); n != 0 {
		t.Errorf("%d sessions at the other data centre", n)
	}
	d.await("the servers are up", 20*time.Second, func() bool { return d.up() == 3 })
}
