package test

import (
	"bytes"
	"fmt"
	"syscall"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

// upgrade has a new process take over from the one that runs, and gives the old one, which still ends what it has.
func (d *daemon) upgrade() *process {
	t, old := d.lab.t, d.process
	t.Helper()
	t.Cleanup(func() { old.kill(syscall.SIGKILL) })
	before := bytes.Count(d.logText(), []byte(`"handed over"`))
	d.run("--takeover")
	d.await("the old process has handed over", 15*time.Second, func() bool {
		return bytes.Count(d.logText(), []byte(`"handed over"`)) > before
	})
	return old
}

// mustEnd waits for old processes, each of which may have transactions for 32 s (RFC 3261 17.1.1.2, RFC 6026 7.1): beside other
// tests, which begin now. It may be called once in a test.
func mustEnd(t *testing.T, all []*process) {
	t.Helper()
	t.Parallel()
	limit := time.After(60 * time.Second)
	for i, p := range all {
		select {
		case <-p.done:
			if p.err != nil {
				t.Errorf("old process %d ended with %v", i, p.err)
			}
		case <-limit:
			t.Fatalf("old process %d does not end", i)
		}
	}
}

// Upgrades in a row under load lose nothing: no INVITE and no BYE fails, and over UDP no INVITE is sent twice, over TCP no
// connection ends.
func TestUpgradeUnderLoad(t *testing.T) {
	const upgrades = 6
	l := newLab(t)
	slow := sim.ServerOptions{AnswerAfter: 120 * time.Millisecond} // so that each upgrade has some 15 INVITEs to get through
	udp, tcp := l.simServer(21, slow), l.simServer(22, slow)
	d := l.start(frank(patient(l.cluster(l.group("a", l.uri(21, "udp"), l.uri(22, "tcp"))))))
	d.await("the servers are up", 5*time.Second, func() bool { return d.up() == 2 })
	scrape := make(chan int, 1)
	stop := make(chan struct{})
	go func() { // as Prometheus, but hard
		failed := 0
		for {
			select {
			case <-stop:
				scrape <- failed
				return
			default:
			}
			if code, _ := d.get("/metrics"); code != 200 {
				failed++
			}
		}
	}()
	held := [2]*held{}
	loads := [2]*load{}
	for i, network := range []string{"udp", "tcp"} {
		c := l.simClient(sim.ClientOptions{Network: network})
		held[i] = l.hold(c, 20, udp, tcp)
		loads[i] = l.load(l.simClient(sim.ClientOptions{Network: network}), 60, 300*time.Millisecond)
	}
	var old []*process
	for n := range upgrades {
		loads[0].runFor(60*(n+1), 60*time.Second)
		old = append(old, d.upgrade())
	}
	loads[0].runFor(60*(upgrades+1), 60*time.Second)
	close(stop)
	if n := <-scrape; n > 0 {
		t.Errorf("%d scrapes failed", n)
	}
	total := 0
	for i, g := range loads {
		all := g.end()
		total += len(all)
		mustSucceed(t, all)
		again := 0
		for _, o := range all {
			again += o.Retransmits
			if o.ByeCode != 200 {
				t.Errorf("BYE answered %d", o.ByeCode)
			}
		}
		t.Logf("client %d: %d requests sent again; setup %v; BYE %v", i, again, setups(all), spreadOf(all, func(o outcome) time.Duration { return o.Bye }))
		if again > 0 && g.clock.Longest() < 300*time.Millisecond {
			t.Errorf("client %d sent %d requests again", i, again)
		}
	}
	for i := range held {
		mustSucceed(t, held[i].end())
	}
	if a, b := udp.Sessions(), tcp.Sessions(); a+b != 0 {
		t.Errorf("%d and %d sessions are left at the servers", a, b)
	}
	d.freed() // the last process has counted those of all others
	t.Logf("%d sessions through %d upgrades; paused %s ms", total, upgrades, paused(d))
	mustEnd(t, old)
	for _, bad := range []string{"DATA RACE", "panic", `"level":"error"`, "were lost"} {
		if d.logged(bad) {
			t.Errorf("the log says %s", bad)
		}
	}
}

// paused is how long each hand-over left the sockets unread, in milliseconds.
func paused(d *daemon) string {
	s := ""
	for line := range bytes.Lines(d.logText()) {
		if _, rest, ok := bytes.Cut(line, []byte(`"paused_ms":`)); ok {
			s += fmt.Sprintf(" %s", bytes.TrimRight(rest, "}\n"))
		}
	}
	return s
}
