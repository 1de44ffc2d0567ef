package test

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

// fault is one way of a server to fail, and a row of the table in docs/health.md.
type fault struct {
	name string
	set  func(context.Context, *sim.Server) // until the context ends, or for good
	// state is what it must come to: the state of the server, and what else is so of it.
	state string
	deep  string        // the method of the deep probes that are needed to see it, with what the method needs
	lasts time.Duration // at least; 0: 5 s
}

func is(f sim.Fault) func(context.Context, *sim.Server) {
	return func(_ context.Context, s *sim.Server) { s.SetFault(f) }
}

var faults = []fault{
	{"the process is dead: the port is closed", func(_ context.Context, s *sim.Server) { s.Kill() }, "down, ejected", "", 0},
	{"the process hangs: nothing is answered", is(sim.Silent), "down, ejected", "", 0},
	{"OPTIONS is answered, INVITE is not", is(sim.Zombie), "down, ejected", "", 0},
	{"INVITE is answered with 100, and nothing more", is(sim.Slow), "down, ejected", "", 0},
	{"INVITE is answered after 5 s", is(sim.Late(5 * time.Second)), "down, ejected", "", 0},
	{"every INVITE is answered 500", is(sim.Refuse(500, 0)), "down, ejected", "", 0},
	{"every INVITE is answered 406, as when full, though it is not", is(sim.Refuse(406, 0)), "up, suspect", "", 0},
	{"it is set offline: 503 to OPTIONS and INVITE", is(sim.Offline), "draining", "", 0},
	{"it answers by TCP only, and is reached by UDP", is(sim.Only("tcp")), "down, ejected", "", 0},
	{"it flaps: hangs for 3 s, is well for 3 s, and so on", func(ctx context.Context, s *sim.Server) { go s.Flap(ctx, 3*time.Second, sim.Silent) }, "down, ejected", "", 20 * time.Second},
	{"the engine is dead: MRCP methods are refused", is(sim.EngineDead), "down, engine down", "get-params", 0},
	{"the engine hangs: MRCP methods are not answered", is(sim.EngineHangs), "down, engine down", "get-params", 0},
	{"the MRCP port is closed", is(sim.ChannelRefused), "down, engine down", "get-params", 0},
	{"it recognises what was not said", is(sim.Misrecognises), "down, engine down", "recognize, audio: AUDIO, expect: hello", 0},
	{"it does not hear RTP", is(sim.Deaf), "down, engine down", "recognize, audio: AUDIO, expect: hello", 0},
	{"it sends no RTP", is(sim.Mute), "down, engine down", "speak", 0},
}

// health is the state of server n, with the conditions that matter.
func (d *daemon) health(n int) string {
	m, at := d.metrics(), fmt.Sprintf("backend=%q", d.lab.uri(n, "udp"))
	var words []string
	for _, s := range []string{"unknown", "up", "down", "draining"} {
		if sum(m, "mrcproxy_backend_state", at, fmt.Sprintf("state=%q", s)) == 1 {
			words = append(words, s)
		}
	}
	for _, c := range []string{"ejected", "engine_down", "suspect"} {
		if sum(m, "mrcproxy_backend_condition", at, fmt.Sprintf("condition=%q", c)) == 1 {
			words = append(words, strings.ReplaceAll(c, "_", " "))
		}
	}
	return strings.Join(words, ", ")
}

// measured is what a fault did.
type measured struct {
	after         time.Duration // until the state
	calls, failed int
	slowest       time.Duration // setup
}

// tone is a file of half a second that is loud enough to be speech.
func (l *lab) tone() string {
	l.t.Helper()
	name := filepath.Join(l.dir, "tone.ulaw")
	if err := os.WriteFile(name, bytes.Repeat([]byte{0x10, 0x90}, 2000), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return name
}

// suffer has one server of three fail under 50 sessions a second.
func (l *lab) suffer(f fault) (r measured) {
	l.t.Helper()
	var uris []string
	for n := 21; n <= 23; n++ {
		uris = append(uris, l.uri(n, "udp"))
	}
	yaml := strings.ReplaceAll(l.cluster(l.group("a", uris...)), `:8060"}`, `:8060", capacity: 200}`)
	if f.deep != "" {
		yaml += "health: {deep: {interval: 2s, timeout: 2s, method: " + strings.ReplaceAll(f.deep, "AUDIO", l.tone()) + "}}\n"
	}
	d := l.start(yaml)
	o := sim.ServerOptions{MRCP: f.deep != ""}
	sick := l.simServer(21, o)
	l.simServer(22, o)
	l.simServer(23, o)
	d.await("all are up", 5*time.Second, func() bool { return d.up() == 3 })
	g := l.load(l.simClient(sim.ClientOptions{}), 50, 500*time.Millisecond)
	g.runFor(50, 10*time.Second)
	ctx, stop := context.WithCancel(l.t.Context())
	defer stop()
	f.set(ctx, sick)
	began := time.Now()
	d.await(f.name+": "+f.state, 20*time.Second, func() bool { return d.health(21) == f.state })
	r.after = time.Since(began)
	time.Sleep(max(0, cmp.Or(f.lasts, 5*time.Second)-r.after)) // how the calls fare with it, not only until it is known
	all := g.end()
	for _, o := range all {
		if !o.good() {
			r.failed++
			l.t.Logf("%s: %+v", f.name, o.Result)
		}
	}
	r.calls, r.slowest = len(all), setups(all).p(100)
	d.await("no lease is left", 10*time.Second, func() bool { return sum(d.metrics(), "mrcproxy_backend_sessions") == 0 })
	return r
}

const (
	healthDocs = "../docs/health.md"
	faultHead  = "| the server | state | within | sessions failed | slowest answer |\n|---|---|---|---|---|\n"
)

var update = flag.Bool("update", false, "write the documented table anew")

var faultRow = regexp.MustCompile(`(?m)^\| ([^|]+) \| ([a-z, ]+) \| ([0-9.]+) s \| (\d+) of (\d+) \| ([0-9.]+) s \|$`)

// TestFaultTable holds the table in the documentation to what a daemon does: the state reached is the same, it is reached
// within three times as long and an interval of probes, and no more sessions fail. With -update it writes the rows anew.
func TestFaultTable(t *testing.T) {
	if !*update { // what is documented is measured on a machine that does nothing else
		t.Parallel()
	}
	docs, err := os.ReadFile(healthDocs)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][]string{}
	for _, m := range faultRow.FindAllStringSubmatch(string(docs), -1) {
		rows[m[1]] = m[2:]
	}
	if len(rows) != len(faults) && !*update {
		t.Errorf("%s has %d faults, there are %d", healthDocs, len(rows), len(faults))
	}
	var table strings.Builder
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			if !*update {
				t.Parallel()
			}
			r := newLab(t).suffer(f)
			row := fmt.Sprintf("| %s | %s | %.1f s | %d of %d | %.1f s |", f.name, f.state, r.after.Seconds(), r.failed, r.calls, r.slowest.Seconds())
			t.Log(row)
			if *update {
				table.WriteString(row + "\n")
				return
			}
			doc := rows[f.name]
			if doc == nil {
				t.Fatalf("%s does not have it", healthDocs)
			}
			after, _ := strconv.ParseFloat(doc[1], 64)
			failed, _ := strconv.Atoi(doc[2])
			if doc[0] != f.state || r.failed > failed || r.after.Seconds() > 3*after+3 {
				t.Errorf("documented as %q", doc)
			}
		})
	}
	if *update && !t.Failed() {
		head, rest, _ := strings.Cut(string(docs), faultHead)
		rest = strings.TrimLeft(faultRow.ReplaceAllString(rest, ""), "\n")
		if err := os.WriteFile(healthDocs, []byte(head+faultHead+table.String()+"\n"+rest), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFlapping: a server that dies and comes back every three seconds costs no call, and the metrics say that it flaps.
func TestFlapping(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.start(l.cluster(l.group("a", l.uri(21, "udp"), l.uri(22, "udp"), l.uri(23, "udp"))))
	sick := l.simServer(21, sim.ServerOptions{})
	l.simServer(22, sim.ServerOptions{})
	l.simServer(23, sim.ServerOptions{})
	d.await("all are up", 5*time.Second, func() bool { return d.up() == 3 })
	g := l.load(l.simClient(sim.ClientOptions{}), 50, 200*time.Millisecond)
	for range 3 {
		sick.Kill()
		d.await("it is down", 3*time.Second, func() bool { return d.up() == 2 })
		time.Sleep(time.Second)
		if err := sick.Revive(); err != nil {
			t.Fatal(err)
		}
		d.await("it is up", 10*time.Second, func() bool { return d.up() == 3 })
		time.Sleep(time.Second)
	}
	lost := 0
	for _, o := range g.end() {
		if o.Code != 200 {
			lost++
			t.Errorf("%+v", o.Result)
		}
	}
	if n := sum(d.metrics(), "mrcproxy_backend_state_changes_total", `state="down"`); n != 3 {
		t.Errorf("%v changes to down", n)
	}
	t.Logf("%d failed", lost)
}
