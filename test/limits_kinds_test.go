package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

// mustGet has a client place a session of no length, and checks its final code.
func mustGet(t *testing.T, what string, c *sim.Client, code int) outcome {
	t.Helper()
	o := session(t.Context(), c, 0)
	if o.Code != code {
		t.Errorf("%s: %d, want %d", what, o.Code, code)
	}
	return o
}

// TestLimitsOfAllKinds: a resource's, the licences', what a route leaves free, what may spill; and who waits gets the first
// place. The servers themselves would take anything.
func TestLimitsOfAllKinds(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	yaml := l.head() + fmt.Sprintf(`
routes:
  - {name: batch, match: {user_agent: BATCH}, cluster: asr, reserve: 1}
  - {name: live, match: {mrcp: true}, cluster: asr}
clusters:
  - name: asr
    licences: 5
    spill: 50%%
    slow_start: {window: 0s}
    groups:
      - {idc: a, backends: [{uri: %q, capacity: {speechrecog: 2, speechsynth: 1}}]}
      - {idc: b, backends: [{uri: %q, capacity: 4}]}
`, l.uri(21, "udp"), l.uri(22, "udp"))
	d := l.start(yaml)
	here, there := l.simServer(21, sim.ServerOptions{}), l.simServer(22, sim.ServerOptions{})
	d.await("both are up", 5*time.Second, func() bool { return d.up() == 2 })
	client := func(resource, agent string) *sim.Client {
		return l.simClient(sim.ClientOptions{Resource: resource, UserAgent: agent})
	}
	recog, synth, batch := client("speechrecog", ""), client("speechsynth", ""), client("speechrecog", "BATCH")

	two := l.hold(recog, 2, here)
	if here.Stats().Sessions != 2 {
		t.Fatalf("%+v", here.Stats())
	}
	one := l.hold(synth, 1, here) // recognition is full there, synthesis is not
	spilled := l.hold(recog, 1, there)
	more := l.hold(synth, 1, there)
	refused := func(what string, c *sim.Client, why string) {
		t.Helper()
		mustGet(t, what, c, 480)
		d.await(what+": "+why, 3*time.Second, func() bool { return d.logged(`"code":480`, why) }) // the log is written every second
	}
	refused("five licences are used", recog, "2 without a licence")
	one.end()
	refused("one licence is to be left free", batch, "2 without a licence")
	refused("two places here, and half of those in the other IDC", recog, "1 full, 1 beyond the spill limit")
	more.end()
	mustGet(t, "half of the other IDC's places are not used", recog, 200)
	spilled.end()

	// With a queue, the next waits for the place that comes free.
	d.write(strings.Replace(yaml, "licences: 5", "licences: 2\n    queue: 3s", 1))
	d.reloaded("file", "clusters[asr].queue: 0s -> 3s")
	waiting := make(chan outcome)
	go func() { waiting <- session(t.Context(), recog, 0) }()
	d.await("it waits", 2*time.Second, func() bool { return sum(d.metrics(), "mrcproxy_queue_waiting") == 1 })
	two.end()
	if o := <-waiting; o.Code != 200 || o.Setup > 2500*time.Millisecond {
		t.Errorf("who waited: %+v", o.Result)
	}
	if m := d.metrics(); sum(m, "mrcproxy_queue_duration_seconds_count") != 1 || sum(m, "mrcproxy_cluster_licences") != 2 {
		t.Errorf("%v waited, %v licences", sum(m, "mrcproxy_queue_duration_seconds_count"), sum(m, "mrcproxy_cluster_licences"))
	}
}

// TestFewSessionsASecond: with max_cps a burst is cut to it, and the next second brings as many.
func TestFewSessionsASecond(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.start(strings.Replace(l.cluster(l.group("a", l.uri(21, "udp"))), `:8060"}`, `:8060", max_cps: 10}`, 1))
	s := l.simServer(21, sim.ServerOptions{})
	d.await("it is up", 5*time.Second, func() bool { return d.up() == 1 })
	g := l.load(l.simClient(sim.ClientOptions{}), 100, 0)
	g.runFor(300, 20*time.Second)
	all := g.end()
	n, first, last := 0, all[0].Began, all[0].Began
	for _, o := range all {
		if o.Code == 200 {
			n++
		}
		if o.Began.Before(first) {
			first = o.Began
		}
		if end := o.Began.Add(o.Setup); end.After(last) {
			last = end
		}
	}
	lasted := last.Sub(first)
	least, most := 10*int((lasted-g.clock.Lost())/time.Second), 10*(int(lasted/time.Second)+1)
	if n < least || n > most || lasted < 2*time.Second || s.Stats().Answered != n {
		t.Errorf("%d of %d sessions in %v, want %d to %d, %d at the server", n, len(all), lasted, least, most, s.Stats().Answered)
	}
}
