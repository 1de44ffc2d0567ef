package test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

// soakTime is how long TestSoak runs: MRCPROXY_SOAK, for example 10m.
func soakTime(t *testing.T) (d time.Duration, seed uint64) {
	t.Helper()
	text := os.Getenv("MRCPROXY_SOAK")
	if text == "" {
		return 10 * time.Second, 1
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("MRCPROXY_SOAK: %v", err)
	}
	return d, uint64(time.Now().UnixNano())
}

// Servers of two data centres go wrong and recover at random, up to three of eight at a time, under a steady load from a UDP
// and a TCP client: no session fails, nothing is left behind, and the daemon does not grow.
func TestSoak(t *testing.T) {
	lasts, seed := soakTime(t)
	t.Logf("%v, seed %d", lasts, seed)
	l := newLab(t)
	p := &plague{t: t, dice: rand.New(rand.NewPCG(seed, 0))}
	var groups [2][]string
	for i := range 8 {
		p.servers = append(p.servers, l.simServer(21+i, sim.ServerOptions{}))
		groups[i/4] = append(groups[i/4], l.uri(21+i, []string{"udp", "tcp"}[i%2]))
	}
	d := l.start(l.cluster(l.group("a", groups[0]...), l.group("b", groups[1]...)))
	d.await("the servers are up", 5*time.Second, func() bool { return d.up() == 8 })

	var loads []*load
	for _, network := range []string{"udp", "tcp"} {
		c := l.simClient(sim.ClientOptions{Network: network})
		loads = append(loads, l.load(c, 20, 100*time.Millisecond), l.load(c, 20, 1200*time.Millisecond))
	}
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	w := watchGrowth(d, lasts)
	p.rage(ctx, w.look)
	var all []outcome
	for _, g := range loads {
		all = append(all, g.end()...)
	}
	mustSucceed(t, all)
	t.Logf("setup %v", setups(all))
	bye := spreadOf(all, func(o outcome) time.Duration { return o.Bye })
	t.Logf("BYE   %v", bye)
	if bye.p(100) > byeLimit+loads[0].clock.Longest() {
		t.Errorf("a BYE was answered after %v", bye.p(100))
	}
	t.Logf("%d faults; %v failovers, %v late answers", p.faults, sum(d.metrics(), "mrcproxy_failovers_total"), sum(d.metrics(), "mrcproxy_late_answers_total"))
	d.freed()
	await(t, "no session is left at the servers", 5*time.Second, func() bool {
		n := 0
		for _, s := range p.servers {
			n += s.Sessions()
		}
		return n == 0
	})
	w.judge()
	if n := sum(d.metrics(), "mrcproxy_dropped_total", `reason="panic"`); n != 0 || d.logged("DATA RACE") {
		t.Errorf("%v panics, or a data race: see the log", n)
	}
}

// plague has servers go wrong and recover.
type plague struct {
	t       *testing.T
	dice    *rand.Rand
	servers []*sim.Server
	ill     []illness // one a server that is ill
	faults  int
}

type illness struct {
	server int
	killed bool // dead, or to be killed for its cure: what it has forgotten nobody can end
}

var illnesses = []sim.Fault{sim.Silent, sim.Zombie, sim.Slow, sim.Offline, sim.Refuse(406, 0), sim.Refuse(503, 2*time.Second), sim.Refuse(500, 0)}

// rage goes on until ctx ends, with a change every 600 ms on average; then all recover. look is called after each.
func (p *plague) rage(ctx context.Context, look func()) {
	p.t.Helper()
	for {
		select {
		case <-ctx.Done():
			for len(p.ill) > 0 {
				p.cureOne(0)
			}
			return
		case <-time.After(time.Duration(300+p.dice.IntN(600)) * time.Millisecond):
		}
		if n := len(p.ill); n == 3 || n > 0 && p.dice.IntN(3) == 0 {
			p.cureOne(p.dice.IntN(n))
		} else {
			p.infect()
		}
		look()
	}
}

func (p *plague) infect() {
	i := p.dice.IntN(len(p.servers))
	for _, ill := range p.ill {
		if ill.server == i {
			return
		}
	}
	p.faults++
	ill := illness{server: i, killed: true}
	if n := p.dice.IntN(len(illnesses) + 2); n < len(illnesses) {
		p.servers[i].SetFault(illnesses[n])
		ill.killed = illnesses[n] == sim.Silent
	} else {
		p.servers[i].Kill()
	}
	p.ill = append(p.ill, ill)
}

// cureOne cures one of the ill.
func (p *plague) cureOne(n int) {
	p.t.Helper()
	ill := p.ill[n]
	p.ill = append(p.ill[:n], p.ill[n+1:]...)
	s := p.servers[ill.server]
	if ill.killed {
		s.Kill()
	}
	s.SetFault(sim.None)
	if ill.killed {
		if err := s.Revive(); err != nil {
			p.t.Fatal(err)
		}
	}
}

// growth is the daemon's size over time.
type growth struct {
	d              *daemon
	start          time.Time
	settled        time.Duration // from then on it may not grow by much
	goroutines     float64       // before any load
	memory         float64       // when settled
	most, last     float64
	mostGoroutines float64
}

func watchGrowth(d *daemon, lasts time.Duration) *growth {
	return &growth{d: d, start: time.Now(), settled: max(lasts/4, min(lasts/2, 40*time.Second)), goroutines: d.metrics()["go_goroutines"]}
}

func (g *growth) look() {
	m := g.d.metrics()
	g.last = m["process_resident_memory_bytes"]
	g.most = max(g.most, g.last)
	g.mostGoroutines = max(g.mostGoroutines, m["go_goroutines"])
	if g.memory == 0 && time.Since(g.start) > g.settled {
		g.memory = g.last
	}
}

func (g *growth) judge() {
	t := g.d.lab.t
	t.Helper()
	g.look()
	mb := func(b float64) string { return fmt.Sprintf("%.0f MB", b/(1<<20)) }
	now := g.d.metrics()["go_goroutines"]
	t.Logf("memory %s when settled, %s at most, %s at the end; goroutines %v before, %v at most, %v at the end",
		mb(g.memory), mb(g.most), mb(g.last), g.goroutines, g.mostGoroutines, now)
	if g.last > 1.5*g.memory+64<<20 {
		t.Errorf("memory grew from %s to %s", mb(g.memory), mb(g.last))
	}
	// A connection has a goroutine: eight to servers, twice as many from and to those who hang up, and the scrapes.
	if now > g.goroutines+30 || g.mostGoroutines > g.goroutines+100 {
		t.Errorf("goroutines grew from %v to %v, with %v in between", g.goroutines, now, g.mostGoroutines)
	}
}
