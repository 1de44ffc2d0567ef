package test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"mrcproxy/internal/sim"
	"mrcproxy/internal/store/redistest"
)

// How long things take in TestChaos. A server ends a session 10 s after its last refresh, the proxies count it for 20 s at most:
// refreshes come every 7.5 s, and get through by the second proxy when the first is away.
const (
	chaosExpires  = 15 * time.Second
	chaosPatience = 1200 * time.Millisecond // of a client with a proxy
	chaosServerT1 = 125 * time.Millisecond  // an INVITE that is not ACKed is given up after 8 s
	chaosClientT1 = 50 * time.Millisecond   // one that is not answered at all after 3.2 s
	chaosHeals    = 40 * time.Second        // chaosExpires and its grace, and time for a busy machine
)

// chaosTime is how long TestChaos goes on: MRCPROXY_CHAOS, for example 3m; and what it begins with: MRCPROXY_CHAOS_SEED. Without
// either it is short and always the same, so that a change is judged by what it does; new ground is for longer runs.
func chaosTime(t *testing.T) (lasts time.Duration, seed uint64) {
	t.Helper()
	lasts, seed = 25*time.Second, 1
	var err error
	if text := os.Getenv("MRCPROXY_CHAOS"); text != "" {
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatalf("MRCPROXY_CHAOS: %v", err)
		}
		seed = uint64(time.Now().UnixNano())
	}
	if text := os.Getenv("MRCPROXY_CHAOS_SEED"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("MRCPROXY_CHAOS_SEED: %v", err)
		}
	}
	return lasts, seed
}

// TestChaos: three proxies that count together in a Redis, with servers in two data centres, each on a machine of its own. At
// random they are killed, stand still, or are cut off from each other, under 50 sessions a second and some that last. What must
// hold: no session is lost whose server lives; a call fails only where its proxy was broken, or a share of a limit was used up
// while Redis was; and in the end the clients, the servers, the proxies and Redis have the same number of sessions.
func TestChaos(t *testing.T) {
	lasts, seed := chaosTime(t)
	t.Logf("%v; MRCPROXY_CHAOS_SEED=%d makes the same again", lasts, seed)
	c := newChaos(t)
	outages := c.plan(rand.New(rand.NewPCG(seed, 0)), lasts)
	awake := c.stalls()
	calls := c.callers(rand.New(rand.NewPCG(seed, 1)), lasts)
	c.rage(outages, lasts)
	all := calls()
	awake()
	c.judge(all)
	c.agreed(0, chaosHeals)

	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	held := make(chan outcome, 30)
	for i := range cap(held) {
		go func() { held <- session(ctx, c.clients[i%len(c.clients)], time.Hour) }()
	}
	c.agreed(30, 15*time.Second)
	hangUp()
	for range cap(held) {
		if o := <-held; !o.good() || o.ServerBye {
			t.Errorf("a session after all was over: %+v", o.Result)
		}
	}
	c.agreed(0, 15*time.Second)
	for i, d := range c.proxies {
		if n := sum(d.metrics(), "mrcproxy_dropped_total", `reason="panic"`); n != 0 || d.logged("DATA RACE") {
			t.Errorf("proxy %d: %v panics, or a data race: see its log", i, n)
		}
	}
}

// chaos is the machines: clients at 5, proxies at 10 to 12, servers at 21 and 22 in data centre a and 31 and 32 in b, Redis at 40.
type chaos struct {
	*lab
	redis   *redistest.Server
	proxies []*daemon
	servers []*simProcess
	clients []*sim.Client // one for each proxy to begin with

	mu     sync.Mutex
	broken []window
}

// window is when something was broken.
type window struct {
	what     string // "proxy10", "server21", "redis"; "machine", which runs it all and was held up
	from, to time.Time
}

func proxyName(n int) string  { return fmt.Sprintf("proxy%d", n) }
func serverName(n int) string { return fmt.Sprintf("server%d", n) }

// chaosHosts are the servers', with the transport to each.
var chaosHosts = []struct {
	n            int
	idc, network string
}{{21, "a", "udp"}, {22, "a", "tcp"}, {31, "b", "udp"}, {32, "b", "tcp"}}

func newChaos(t *testing.T) *chaos {
	t.Helper()
	machines := map[string][]int{"client": {5}, "redis": {40}}
	var all []netip.AddrPort
	for n := 10; n < 13; n++ {
		machines[proxyName(n)] = []int{n}
		all = append(all, netip.MustParseAddrPort(hostIP(n)+":5060"))
	}
	groups := ""
	for i, s := range chaosHosts {
		if machines[s.idc] == nil {
			groups += "      - idc: " + s.idc + "\n        backends:\n"
		}
		machines[s.idc] = append(machines[s.idc], s.n)
		uri := "sip:" + hostIP(s.n) + ":8060"
		if s.network == "tcp" {
			uri += ";transport=tcp"
		}
		groups += fmt.Sprintf("          - {uri: %q, capacity: %d}\n", uri, 80+i)
	}
	c := &chaos{lab: newLab(t)}
	c.hosts = newHosts(t, machines)
	c.hosts.bridge()
	c.redis = redistest.StartOn(t, redistest.Machine{Addr: netip.MustParseAddrPort(hostIP(40) + ":6379"), Dial: c.hosts.dialer("redis"),
		Command: func(args ...string) []string { return c.command(40, args...) }})
	for _, s := range chaosHosts {
		c.servers = append(c.servers, c.simProcess(s.n, sim.ServerOptions{T1: chaosServerT1, SessionExpires: chaosExpires, Expire: true}))
	}
	for i, a := range all {
		l := *c.lab
		l.self, l.dir = 10+i, filepath.Join(c.dir, fmt.Sprint(i))
		if err := os.Mkdir(l.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		together := fmt.Sprintf("secret: the-same-at-all-of-them\nstore: redis://%s?renew=%v&timeout=100ms\non_store_loss: share\ninstances: %d\nhealth: {interval: 1s}\n",
			c.redis.Addr(), period, len(all))
		c.proxies = append(c.proxies, l.start(together+frank(l.cluster(groups))))
		c.clients = append(c.clients, c.simClient(sim.ClientOptions{Proxy: a, Others: all, Patience: chaosPatience, T1: chaosClientT1}))
	}
	for _, d := range c.proxies {
		d.await("limits are exact and the servers up", 15*time.Second, func() bool {
			m := d.metrics()
			return m["mrcproxy_store_exact"] == 1 && int(sum(m, "mrcproxy_backend_up")) == len(c.servers)
		})
	}
	return c
}

// attempt is a client's INVITE to a proxy, and the session that came of it.
type attempt struct {
	outcome
	proxy string
	until time.Time
}

// callers places 50 calls a second, and some at the beginning that last, until the time is up, and then gives every attempt.
func (c *chaos) callers(dice *rand.Rand, lasts time.Duration) (wait func() []attempt) {
	var mu sync.Mutex
	var all []attempt
	var calls sync.WaitGroup
	away := make([]time.Time, len(c.clients)) // until when a proxy is left alone, which gave no answer
	choose := func(n int, tried map[int]bool) (best int) {
		mu.Lock()
		defer mu.Unlock()
		best = -1
		for k := range c.clients {
			i := (n + k) % len(c.clients)
			if !tried[i] && (best < 0 || time.Now().Before(away[best]) && time.Now().After(away[i])) {
				best = i
			}
		}
		return best
	}
	call := func(n int, hold time.Duration) { // as a distributor does: where there is no answer, or a 5xx, to the next
		tried := map[int]bool{}
		for len(tried) < len(c.clients) {
			i := choose(n, tried)
			tried[i] = true
			ctx, cancel := context.WithTimeout(context.Background(), hold+8*time.Second)
			a := attempt{outcome: session(ctx, c.clients[i], hold), proxy: proxyName(10 + i), until: time.Now()}
			cancel()
			mu.Lock()
			all = append(all, a)
			next := a.Code == 0 || a.Code >= 500
			if next {
				away[i] = time.Now().Add(time.Second)
			}
			mu.Unlock()
			if !next {
				return
			}
		}
	}
	for n := range 12 {
		calls.Go(func() { call(n, lasts) })
	}
	calls.Go(func() {
		pace := time.NewTicker(20 * time.Millisecond)
		defer pace.Stop()
		for n, start := 0, time.Now(); time.Since(start) < lasts; n++ {
			hold := time.Duration(dice.ExpFloat64() * float64(time.Second))
			calls.Go(func() { call(n, min(hold, 8*time.Second)) })
			<-pace.C
		}
	})
	return func() []attempt {
		calls.Wait()
		return all
	}
}

// rage has the outages come and go.
func (c *chaos) rage(outages []outage, lasts time.Duration) {
	c.t.Helper()
	start := time.Now()
	for len(outages) > 0 {
		next := 0
		for i, o := range outages {
			if o.due() < outages[next].due() {
				next = i
			}
		}
		o := &outages[next]
		<-time.After(time.Until(start.Add(o.due())))
		if !o.began {
			c.t.Logf("%6.2f s: %s for %v", time.Since(start).Seconds(), o.name, o.until-o.at)
			o.began, o.from = true, time.Now()
			o.begin()
			continue
		}
		o.end()
		for _, what := range o.breaks {
			c.note(what, o.from, time.Now())
		}
		outages = append(outages[:next], outages[next+1:]...)
	}
}

// agreed waits until the servers, each proxy and Redis have that many sessions, and says who has how many where they do not.
func (c *chaos) agreed(want int, limit time.Duration) {
	c.t.Helper()
	start := time.Now()
	view, right := c.count(want)
	for ; !right && time.Since(start) < limit; view, right = c.count(want) {
		<-time.After(100 * time.Millisecond)
	}
	if !right {
		c.t.Fatalf("not within %v: %d sessions everywhere: %s", limit, want, view)
	}
	c.t.Logf("after %v: %s", time.Since(start).Round(10*time.Millisecond), view)
}

// count says how many sessions each has.
func (c *chaos) count(want int) (view string, right bool) {
	there, counted, own := 0, 0, 0
	right = true
	for i, s := range c.servers {
		there += s.sessions()
		uri := "sip:" + hostIP(s.n) + ":8060"
		if chaosHosts[i].network == "tcp" {
			uri += ";transport=tcp"
		}
		counted += c.redis.Size("mrcproxy:{asr}:" + uri)
	}
	view = fmt.Sprintf("servers %d, Redis %d, proxies", there, counted)
	for _, d := range c.proxies {
		m := d.metrics()
		mine, all := int(sum(m, "mrcproxy_backend_sessions")), int(sum(m, "mrcproxy_backend_sessions_all"))
		own += mine
		right = right && all == want
		view += fmt.Sprintf(" %d of %d", mine, all)
	}
	return view, right && there == want && counted == want && own == want
}

// signal sends a signal to a process that goes on.
func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}
