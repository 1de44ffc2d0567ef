package test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mrcproxy/internal/api"
	"mrcproxy/internal/sim"
	"mrcproxy/internal/store/redistest"
)

// period is within which the daemons of these tests renew their sessions in Redis.
const period = 2 * time.Second

// How long Redis may take: as by default, or, where the test is not about that, as long as a busy machine needs.
const (
	usual     = 50 * time.Millisecond
	unhurried = 2 * time.Second
)

// several is daemons that count together, and the servers of cluster asr.
type several struct {
	*lab
	redis   *redistest.Server
	timeout time.Duration // that Redis may take
	daemons []*daemon
	servers []*sim.Server
}

// newSeveral starts n daemons and servers with that capacity, and waits until limits are exact.
func newSeveral(t *testing.T, n, servers, capacity int, timeout time.Duration, keys string) *several {
	t.Helper()
	x := &several{lab: newLab(t), redis: redistest.Start(t), timeout: timeout}
	groups := "      - backends:\n"
	for i := range servers {
		x.servers = append(x.servers, x.simServer(21+i, sim.ServerOptions{Capacity: capacity}))
		groups += fmt.Sprintf("          - {uri: %q, capacity: %d}\n", x.uri(21+i, "udp"), capacity)
	}
	for i := range n {
		l := *x.lab
		l.self, l.dir = 10+i, filepath.Join(x.dir, fmt.Sprint(i))
		if err := os.Mkdir(l.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		together := fmt.Sprintf("secret: the-same-at-all-of-them\nstore: %s\ninstances: %d\n%s", x.store(), n, keys)
		x.daemons = append(x.daemons, l.start(together+patient(l.cluster(groups))))
	}
	x.exact()
	for _, d := range x.daemons {
		d.await("the servers are up", 5*time.Second, func() bool { return d.up() == servers })
	}
	return x
}

// store is the daemons' store.
func (x *several) store() string {
	return fmt.Sprintf("redis://%s?renew=%v&timeout=%v", x.redis.Addr(), period, x.timeout)
}

// exact waits until limits hold over all daemons.
func (x *several) exact() {
	x.t.Helper()
	for _, d := range x.daemons {
		d.await("limits are exact", 10*time.Second, func() bool { return d.metrics()["mrcproxy_store_exact"] == 1 })
	}
}

// counted is how many sessions Redis has at all servers together.
func (x *several) counted() (n int) {
	for i := range x.servers {
		n += x.redis.Size("mrcproxy:{asr}:" + x.uri(21+i, "udp"))
	}
	return n
}

// there is how many sessions the servers have.
func (x *several) there() (n int) {
	for _, s := range x.servers {
		n += s.Sessions()
	}
	return n
}

// agreed waits until Redis, and every daemon that is asked, has the servers' own view of how many sessions there are.
func (x *several) agreed(want int, limit time.Duration, ds ...*daemon) {
	x.t.Helper()
	await(x.t, fmt.Sprintf("%d sessions are counted by all", want), limit, func() bool {
		if x.there() != want || x.counted() != want {
			return false
		}
		return !slices.ContainsFunc(ds, func(d *daemon) bool { return int(sum(d.metrics(), "mrcproxy_backend_sessions_all")) != want })
	})
}

// TestTogetherExact: 1,000 sessions are wanted at once, of three daemons, at four servers with room for 50 each. No server is
// ever asked for more, all their room is used, and when all is over every count is 0.
func TestTogetherExact(t *testing.T) {
	x := newSeveral(t, 3, 4, 50, unhurried, "")
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	all := make(chan outcome, 1000)
	var clients []*sim.Client
	for _, d := range x.daemons {
		clients = append(clients, d.lab.simClient(sim.ClientOptions{}))
	}
	for n := range cap(all) {
		go func() { all <- session(ctx, clients[n%3], time.Hour) }()
	}
	for range 800 {
		select {
		case o := <-all:
			if o.Code != 480 {
				t.Fatalf("before the end a session ended with %+v", o.Result)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%d sessions at the servers, and not 800 were refused", x.there())
		}
	}
	x.agreed(200, 2*period, x.daemons...)
	for i, s := range x.servers {
		if st := s.Stats(); st.Refused != 0 || st.Sessions != 50 || st.Answered != 50 {
			t.Errorf("server %d: %+v", i, st)
		}
	}
	own := 0.0
	for _, d := range x.daemons {
		own += sum(d.metrics(), "mrcproxy_backend_sessions")
	}
	if own != 200 {
		t.Errorf("the daemons have %v sessions between them", own)
	}
	var st api.Status
	if _, text := x.daemons[0].get("/api/v1/status"); json.Unmarshal([]byte(text), &st) != nil || st.Store == nil || !st.Store.Exact || len(st.Backends) != 4 {
		t.Errorf("status: %s", text)
	}
	for _, b := range st.Backends {
		if b.Sessions+b.Elsewhere != 50 || b.Sessions == 50 {
			t.Errorf("status of a backend: %+v", b)
		}
	}
	hangUp()
	for range 200 {
		if o := <-all; !o.good() {
			t.Errorf("session ended with %+v", o.Result)
		}
	}
	x.agreed(0, 2*period, x.daemons...)
	for _, d := range x.daemons {
		d.freed()
	}
}

// TestTogetherKilled: a daemon with 60 sessions is killed. They count for as long as they live, and no longer than until
// their BYEs, which the others serve. One that was ended there does not count again when the daemon is back with its journal.
func TestTogetherKilled(t *testing.T) {
	t.Parallel()
	x := newSeveral(t, 3, 2, 40, unhurried, "")
	var sessions []*dialog
	p := x.daemons[0].lab.dial("udp", 5)
	for range 60 {
		sessions = append(sessions, p.establish(rawRequest{}))
	}
	x.agreed(60, period, x.daemons...)
	<-time.After(1500 * time.Millisecond) // what was set up in the last second may not be known to last
	x.daemons[0].kill(syscall.SIGKILL)
	x.agreed(60, period, x.daemons[1:]...)

	// There is room for 20 more, to the last.
	q := x.daemons[1].lab.dial("udp", 6)
	var more []*dialog
	for range 20 {
		more = append(more, q.establish(rawRequest{}))
	}
	if a := x.daemons[2].lab.dial("udp", 7).ask(rawRequest{}); a.code != 480 {
		t.Errorf("the 81st session: %s", a.head)
	}
	for _, s := range more {
		s.bye()
	}

	for i, half := range [][]*dialog{sessions[:30], sessions[30:]} {
		other := x.daemons[1+i].lab.dial("udp", 5)
		for _, s := range half {
			s.p = other
			s.bye()
		}
		x.agreed(30-30*i, period, x.daemons[1:]...)
	}
	x.daemons[0].run()
	x.exact()
	x.agreed(0, 2*period, x.daemons...)
	x.daemons[0].freed()
}

// TestTogetherUpgrade: the old process of an upgrade lives on for 32 s with its transactions, and has had all sessions. It puts
// none back that the new one has ended, though Redis is flushed and forgets that, and tells of none a second time.
func TestTogetherUpgrade(t *testing.T) {
	t.Parallel()
	x := newSeveral(t, 1, 2, 50, unhurried, "")
	d := x.daemons[0]
	p := d.lab.dial("udp", 5)
	var all []*dialog
	for range 20 {
		all = append(all, p.establish(rawRequest{}))
	}
	x.agreed(20, 2*period, d)
	old := d.upgrade()
	x.exact()
	x.agreed(20, 2*period, d)
	for _, s := range all {
		s.bye()
	}
	x.agreed(0, 2*period, d)
	x.redis.Flush()
	d.await("both processes have noticed that Redis is empty", 2*period, func() bool { return d.lines("the store has lost its data") == 2 })
	x.exact()
	x.agreed(0, 2*period, d)
	d.freed()
	select {
	case <-old.done:
		t.Error("the old process did not live until here: nothing was tested")
	default:
	}
	if n, elsewhere := d.lines(`"msg":"session"`), d.lines(`"ended_by":"elsewhere"`); n != len(all) || elsewhere != 0 {
		t.Errorf("%d lines for %d sessions, %d of them ended elsewhere", n, len(all), elsewhere)
	}
}

// TestTogetherLatency measures what the store adds to the setup of a session: an exchange over the loopback.
func TestTogetherLatency(t *testing.T) {
	x := newSeveral(t, 1, 2, 1000, unhurried, "")
	d := x.daemons[0]
	setup := func() spread {
		g := x.load(d.lab.simClient(sim.ClientOptions{}), 100, 100*time.Millisecond)
		g.runFor(500, 30*time.Second)
		all := g.end()
		mustSucceed(t, all)
		return setups(all)
	}
	together := d.config()
	least := time.Hour
	for range 3 { // what else the machine does may be more in one half of a round than in the other, but not each time
		with := setup()
		d.kill(syscall.SIGTERM)
		d.write(strings.Replace(together, x.store(), "memory", 1))
		d.run()
		d.await("the servers are up", 5*time.Second, func() bool { return d.up() == 2 })
		without := setup()
		t.Logf("INVITE to 200 with the store %v, without %v", with, without)
		if least = min(least, with.p(50)-without.p(50)); least <= 10*time.Millisecond {
			return
		}
		d.kill(syscall.SIGTERM)
		d.write(together)
		d.run()
		x.exact()
		d.await("the servers are up", 5*time.Second, func() bool { return d.up() == 2 })
	}
	t.Errorf("the store costs %v", least)
}
