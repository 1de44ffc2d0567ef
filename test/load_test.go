package test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mrcproxy/internal/clocktest"
	"mrcproxy/internal/sim"
)

// simServer starts host n of the lab as a simulated MRCP server at port 8060.
func (l *lab) simServer(n int, o sim.ServerOptions) *sim.Server {
	l.t.Helper()
	o.Addr = netip.AddrPortFrom(netip.MustParseAddr(l.ip(n)), 8060)
	s, err := sim.StartServer(o)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(s.Stop)
	return s
}

// simClient is a FreeSWITCH at host 5 of the lab, or the host that o.Bind names, which sends to the daemon or o.Proxy.
func (l *lab) simClient(o sim.ClientOptions) *sim.Client {
	l.t.Helper()
	if !o.Proxy.IsValid() {
		o.Proxy = netip.MustParseAddrPort(l.proxyAddr())
	}
	if !o.Bind.IsValid() {
		o.Bind = netip.AddrPortFrom(netip.MustParseAddr(l.ip(5)), 0)
	}
	var c *sim.Client
	if err := l.on(5, func() (err error) {
		c, err = sim.NewClient(o)
		return err
	}); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = c.Close() })
	return c
}

// uri is host n's URI as a backend.
func (l *lab) uri(n int, network string) string {
	if network == "tcp" {
		return "sip:" + l.ip(n) + ":8060;transport=tcp"
	}
	return "sip:" + l.ip(n) + ":8060"
}

// group is the YAML of a group with those backends.
func (l *lab) group(idc string, uris ...string) string {
	s := "      - idc: " + idc + "\n        backends:\n"
	for _, u := range uris {
		s += fmt.Sprintf("          - {uri: %q}\n", u)
	}
	return s
}

// cluster is the YAML of a configuration with one cluster, asr, which takes everything.
func (l *lab) cluster(groups ...string) string {
	s := l.head() + "otherwise: {cluster: asr}\nclusters:\n  - name: asr\n    groups:\n"
	for _, g := range groups {
		s += g
	}
	return s
}

// patient makes a configuration wait for servers longer than it would, for tests that are not about how long that is: a busy
// machine must not change where sessions go.
func patient(yaml string) string {
	return strings.Replace(yaml, "clusters:", "failover: {first_response_timeout: 3s, answer_timeout: 3s}\nclusters:", 1)
}

// frank has a proxy say 481 of a BYE that the other side has not answered, to tell it from one that it has.
func frank(yaml string) string { return "sessions: {bye_answer: 481}\n" + yaml }

// outcome is what became of one session of a load.
type outcome struct {
	sim.Result
	Began time.Time
	Bye   time.Duration // from the end of its holding to the end of it all; 0 when it was not established
}

// good says whether the session was answered 200 and ended in order: whoever ended it, by a final response to a BYE.
func (o outcome) good() bool {
	return o.Code == 200 && o.Err == nil && (o.ServerBye || o.ByeCode != 0)
}

// load places sessions from a client at a steady rate until it is ended.
type load struct {
	t    *testing.T
	stop context.CancelFunc
	done chan struct{}

	clock *clocktest.Watch

	mu  sync.Mutex
	all []outcome
}

// load starts a load of rate sessions a second, each held for hold.
func (l *lab) load(c *sim.Client, rate int, hold time.Duration) *load {
	ctx, stop := context.WithCancel(l.t.Context())
	g := &load{t: l.t, stop: stop, done: make(chan struct{}), clock: clocktest.Start(l.t)}
	go g.run(ctx, c, rate, hold)
	return g
}

func (g *load) run(ctx context.Context, c *sim.Client, rate int, hold time.Duration) {
	defer close(g.done)
	var active sync.WaitGroup
	defer active.Wait()
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	start, placed := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
		}
		for due := int(time.Since(start).Seconds() * float64(rate)); placed < due; placed++ {
			active.Go(func() { g.add(session(context.Background(), c, hold)) })
		}
	}
}

func session(ctx context.Context, c *sim.Client, hold time.Duration) outcome {
	o := outcome{Began: time.Now()}
	o.Result = c.Session(ctx, hold)
	if o.Code == 200 && !o.ServerBye {
		o.Bye = time.Since(o.Began) - o.Setup - hold
	}
	return o
}

func (g *load) add(o outcome) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all = append(g.all, o)
}

// over is the number of sessions that have ended.
func (g *load) over() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.all)
}

// soFar are the sessions that have ended.
func (g *load) soFar() []outcome {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.all)
}

// end places no more, waits for the sessions that are under way, and gives them all.
func (g *load) end() []outcome {
	g.t.Helper()
	g.stop()
	select {
	case <-g.done:
	case <-time.After(40 * time.Second):
		g.t.Fatalf("sessions hang: %d have ended", g.over())
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if stall := g.clock.Longest(); stall > 100*time.Millisecond {
		g.t.Logf("the machine is busy: the load itself was held up for %v", stall.Round(time.Millisecond))
	}
	return g.all
}

// runFor has the load run until n sessions have ended.
func (g *load) runFor(n int, limit time.Duration) {
	g.t.Helper()
	await(g.t, fmt.Sprintf("%d sessions", n), limit, func() bool { return g.over() >= n })
}

// mustSucceed fails the test for every session that was not good.
func mustSucceed(t *testing.T, all []outcome) {
	t.Helper()
	bad := 0
	for _, o := range all {
		if !o.good() {
			if bad++; bad <= 5 {
				t.Errorf("session at %s failed: %+v", o.Began.Format("15:04:05.000"), o.Result)
			}
		}
	}
	if bad > 0 {
		t.Errorf("%d of %d sessions failed", bad, len(all))
	}
}

// spread is the distribution of a time over sessions.
type spread []time.Duration

func setups(all []outcome) spread {
	return spreadOf(all, func(o outcome) time.Duration { return o.Setup })
}

func spreadOf(all []outcome, of func(outcome) time.Duration) spread {
	s := make(spread, len(all))
	for i, o := range all {
		s[i] = of(o)
	}
	slices.Sort(s)
	return s
}

// p is the percentile: the least time that so many percent of the sessions did not exceed.
func (s spread) p(percent int) time.Duration {
	if len(s) == 0 {
		return 0
	}
	return s[max(0, (len(s)*percent+99)/100-1)]
}

// String gives count, median, 99th percentile and maximum.
func (s spread) String() string {
	return fmt.Sprintf("n=%d p50=%v p99=%v max=%v", len(s), s.p(50).Round(100*time.Microsecond), s.p(99).Round(100*time.Microsecond),
		s.p(100).Round(100*time.Microsecond))
}
