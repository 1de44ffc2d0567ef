package test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

// What TestFlood promises. Some 5,500 bad datagrams a second come, see flood: what two cores carry that the senders share with
// the daemon.
const (
	floodGood  = 100         // good sessions a second
	floodRSS   = 128 << 10   // KiB that the daemon may take at most
	floodLimit = "30MiB"     // of which Go's memory management knows, to which 13 MiB come for the binary
	floodMore  = 1.2         // how much more than before it may take when it is over
	floodLong  = time.Minute // from this duration on, what the daemon takes is awaited to go back
)

// TestFlood: garbage and floods of every kind, over UDP from thousands of addresses and over TCP, while an allowed client has
// its ordinary sessions, none of which fails. Nothing is sent to third hosts, and the memory stays bounded. It lasts for
// MRCPROXY_FLOOD, such as 60s; from a minute on the memory is measured in a steady state before and has to go back to it.
func TestFlood(t *testing.T) {
	length := 10 * time.Second
	if v := os.Getenv("MRCPROXY_FLOOD"); v != "" {
		var err error
		if length, err = time.ParseDuration(v); err != nil {
			t.Fatal(err)
		}
	}
	l := newLab(t)
	l.plain()
	if length >= floodLong {
		t.Setenv("GOMEMLIMIT", floodLimit) // for the daemon: what Go has collected it keeps for later otherwise, in part for good
	}
	l.simServer(21, sim.ServerOptions{})
	d := l.start(l.head() + fmt.Sprintf(`
clients: {allow: [%s/32, %s/32, %s], rate: 400/s} # four times what the good client needs, lest a pause of the machine makes it ask for too much
routes:
  - {name: asr, match: {mrcp: true}, cluster: asr}
clusters:
  - {name: asr, groups: [{backends: [{uri: %q}]}]}
`, l.ip(5), l.ip(floodInsider), floodFriends(), l.uri(21, "udp")))
	d.await("the server is up", 10*time.Second, func() bool { return d.up() == 1 })
	third := l.bystander(200)
	good := l.load(l.simClient(sim.ClientOptions{}), floodGood, 500*time.Millisecond)
	good.runFor(2*floodGood, 10*time.Second)
	before, lines := d.rss(), d.lines("")-d.lines(`"msg":"session"`)
	if length >= floodLong {
		good.runFor(40*floodGood, 80*time.Second) // a transaction is kept for 32 s
		before = d.mostRSS(50 * time.Second)      // over some turns of the garbage collector
	}

	f := l.flood(d, third.addr)
	most := f.watch(length)
	sent := f.end()
	after, over := d.rss(), time.Now()
	if length >= floodLong {
		await(t, fmt.Sprintf("of %d KiB all but %d are given back", after, before), 2*time.Minute, func() bool {
			after = d.rss()
			return float64(after) <= floodMore*float64(before)
		})
	}
	back := time.Since(over).Round(time.Second)
	all := good.end()
	mustSucceed(t, all)
	t.Logf("%v: %s; %d good sessions, setup %v; RSS before %d, at most %d, %d KiB %v after it", length, sent, len(all), setups(all), before, most, after,
		back)
	if most > floodRSS {
		t.Errorf("the daemon took %d KiB, want %d at most", most, floodRSS)
	}
	if got := third.got(); len(got) > 0 {
		t.Errorf("%d messages and connections came to a third host, the first: %.300q", len(got), got[0])
	}
	m := d.metrics()
	for _, reason := range []string{"malformed", "forbidden", "no_dialog", "no_route", "stray_response", "rate"} {
		if sum(m, "mrcproxy_dropped_total", `reason="`+reason+`"`) == 0 {
			t.Errorf("nothing was dropped for %q", reason)
		}
	}
	t.Logf("dropped:%s; by the kernel: %v", nonZero(m, "mrcproxy_dropped_total"), sum(m, "mrcproxy_transport_receive_drops_total"))
	if sum(m, "mrcproxy_dropped_total", `reason="panic"`) != 0 || d.logged("panic") || d.logged("backend down") {
		t.Error("the daemon panicked, or took its server for dead")
	}
	// Of each kind of line a hundred in a second are logged, then each thousandth.
	if n, limit := d.lines("")-d.lines(`"msg":"session"`)-lines, 110*int(length.Seconds()+2); n > limit {
		t.Errorf("%d lines in the log that are not about sessions, want %d at most", n, limit)
	}
	d.await("no session is left", 5*time.Second, func() bool { return sum(d.metrics(), "mrcproxy_sessions") == 0 })
}

// mostRSS is the most that it takes over a time.
func (d *daemon) mostRSS(length time.Duration) (most int) {
	d.lab.t.Helper()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for end := time.Now().Add(length); time.Now().Before(end); <-tick.C {
		most = max(most, d.rss())
	}
	return most
}

// rss is what the daemon takes of the machine's memory, in KiB.
func (d *daemon) rss() int {
	d.lab.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	if err != nil {
		d.lab.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	n, _ := strconv.Atoi(strings.Fields(rest)[0])
	return n
}
