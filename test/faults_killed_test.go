package test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

// round is the most time from one probe of a server to the next, by the defaults: 2 s and a fifth.
const round = 2400 * time.Millisecond

// Servers die and return under 100 sessions a second: the sessions go elsewhere, none fails, and they come back.
func TestServersKilledUnderLoad(t *testing.T) {
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			newKilling(t, network).test(network)
		})
	}
}

// killing is two servers at home, 0 and 1, and one in another data centre, 2.
type killing struct {
	*lab
	d       *daemon
	servers [3]*sim.Server
	uris    [3]string
}

func newKilling(t *testing.T, network string) *killing {
	k := &killing{lab: newLab(t)}
	for i := range k.servers {
		k.servers[i] = k.simServer(21+i, sim.ServerOptions{})
		k.uris[i] = k.uri(21+i, network)
	}
	k.d = k.start(k.cluster(k.group("a", k.uris[0], k.uris[1]), k.group("b", k.uris[2])))
	t.Cleanup(k.history)
	k.d.await("the servers are up", 5*time.Second, func() bool { return k.d.up() == 3 })
	return k
}

// history shows how the servers' states went, of a test that failed.
func (k *killing) history() {
	log, err := os.ReadFile(k.d.log)
	if !k.t.Failed() || err != nil {
		return
	}
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, `"msg":"backend `) {
			k.t.Log(strings.TrimSpace(line))
		}
	}
}

func (k *killing) test(network string) {
	k.t.Helper()
	g := k.load(k.simClient(sim.ClientOptions{Network: network}), 100, 200*time.Millisecond)
	k.t.Cleanup(g.stop)
	k.killSome(g)
	all := g.end()
	mustSucceed(k.t, all)
	k.t.Logf("setup %v", setups(all))
	bye := spreadOf(all, func(o outcome) time.Duration { return o.Bye })
	k.t.Logf("BYE   %v", bye)
	if longest := bye.p(100); longest > byeLimit+g.clock.Longest() {
		k.t.Errorf("a BYE was answered after %v", longest)
	}
	k.allDead()
}

// killSome is what happens to the servers under load.
func (k *killing) killSome(g *load) {
	k.t.Helper()
	g.runFor(50, 5*time.Second)

	k.kill(0)
	k.quiet(g, 0, 2)
	k.revive(0)
	k.busy(g, 0, 1)

	k.kill(0, 1)
	k.quiet(g, 0, 1)
	k.busy(g, 2)

	k.revive(0, 1)
	k.quiet(g, 2)
	k.busy(g, 0, 1)
}

// kill kills servers, and has 2 s for them to be out of rotation.
func (k *killing) kill(which ...int) {
	k.t.Helper()
	start := time.Now()
	for _, i := range which {
		k.servers[i].Kill()
	}
	k.await("out of rotation", which, "down", 2*time.Second)
	k.t.Logf("servers %v out of rotation after %v", which, time.Since(start).Round(time.Millisecond))
}

// revive has servers return, and has two rounds of probes for them to be back in rotation.
func (k *killing) revive(which ...int) {
	k.t.Helper()
	for _, i := range which {
		if err := k.servers[i].Revive(); err != nil {
			k.t.Fatal(err)
		}
	}
	start := time.Now()
	k.await("back in rotation", which, "up", 2*round+300*time.Millisecond)
	k.t.Logf("servers %v back after %v", which, time.Since(start).Round(time.Millisecond))
}

func (k *killing) await(what string, which []int, state string, limit time.Duration) {
	k.t.Helper()
	k.d.await(fmt.Sprintf("servers %v %s", which, what), limit, func() bool {
		m := k.d.metrics()
		for _, i := range which {
			if !inState(m, k.uris[i], state) {
				return false
			}
		}
		return true
	})
}

// quiet checks that these servers are not chosen while 60 sessions end.
func (k *killing) quiet(g *load, which ...int) {
	k.t.Helper()
	before := k.d.metrics()
	g.runFor(g.over()+60, 10*time.Second)
	after := k.d.metrics()
	for _, i := range which {
		if n := picked(after, k.uris[i]) - picked(before, k.uris[i]); n != 0 {
			k.t.Errorf("server %d was chosen %d times", i, n)
		}
	}
}

// busy checks that these servers get sessions, and have answered them.
func (k *killing) busy(g *load, which ...int) {
	k.t.Helper()
	for _, i := range which {
		n := k.servers[i].Stats().Answered
		await(k.t, fmt.Sprintf("sessions at server %d", i), 3*time.Second, func() bool { return k.servers[i].Stats().Answered >= n+10 })
	}
}

// allDead goes on without load: with every server dead the client is told.
func (k *killing) allDead() {
	k.t.Helper()
	for i := range k.servers {
		k.servers[i].Kill()
	}
	k.mustBeTold(5) // by what the calls find
	k.await("out of rotation", []int{0, 1, 2}, "down", 2*round+4*time.Second)
	k.mustBeTold(5) // by what is known
	k.d.freed()
}
