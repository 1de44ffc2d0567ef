package proxy

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"mrcproxy/balancer"
	"mrcproxy/internal/session"
	"mrcproxy/proxy/transport"
)

// setup is what a test wants of its lab. Zero values: one UDP and one TCP listener, one UDP server, room for everything.
type setup struct {
	listen   []string // "udp 127.0.0.110:5060", with what it advertises behind it
	servers  []string // URIs, in the order they are picked
	capacity int      // of each; 0: unlimited
	down     bool     // all of them are believed to be, and tried for want of others
	secrets  []string
	limit    int // transactions
	kept     int // bytes that they keep
	longest  time.Duration
	routing  func(*Routing)
	admitter Admitter
}

// lab is a Proxy between fake peers.
type lab struct {
	testing.TB
	p     *Proxy
	net   *fakeNet
	bal   *reporting
	obs   *recorder
	table *session.Table
	ended []session.Reason
	start time.Time
	in    []*msg // what peers sent
	stop  context.CancelFunc
	fence *atomic.Int64 // orders what the test has read before what the timers write next, for the race detector
}

const (
	freeswitch = "127.0.0.131:5090"
	serverA    = "127.0.0.11:8060"
	serverB    = "127.0.0.12:8060"
	serverC    = "127.0.0.13:8060"
)

// inLab runs a test in virtual time, and checks at its end that every message was looked at and that nothing is left
// behind: no session, no lease, and after the longest of RFC 3261's timers no transaction.
func inLab(t *testing.T, s setup, test func(*lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, s)
		l.run()
		defer func() { l.stop() }() // restart has another
		test(l)
		if t.Failed() {
			return
		}
		l.nothingMore()
		for range 8 { // 64*T1 twice: a branch's, and then its BYE's
			if l.p.Transactions() == 0 {
				break
			}
			l.wait(10 * time.Second)
		}
		if n := l.p.Transactions(); n != 0 {
			t.Errorf("%d transactions are left", n)
		}
		l.noSessions()
		if n := l.obs.dropped[DropPanic]; n != 0 {
			t.Errorf("%d panics", n)
		}
	})
}

func newLab(t testing.TB, s setup) *lab {
	if s.listen == nil {
		s.listen = []string{"udp 127.0.0.110:5060", "tcp 127.0.0.110:5060"}
	}
	if s.servers == nil {
		s.servers = []string{"sip:" + serverA}
	}
	if s.secrets == nil {
		s.secrets = []string{"a secret"}
	}
	l := &lab{TB: t, start: time.Now(), fence: new(atomic.Int64)}
	l.net = &fakeNet{conns: map[uint64]transport.Flow{}, fail: map[netip.AddrPort]error{}, fence: l.fence}
	l.obs = &recorder{dropped: map[DropReason]int{}, fence: l.fence}
	l.bal = &reporting{Balancer: balancer.New(), fence: l.fence}
	group := balancer.GroupSpec{}
	for _, uri := range s.servers {
		group.Backends = append(group.Backends, backendSpec(uri, s.capacity))
	}
	if err := l.bal.Apply(balancer.Spec{Clusters: []balancer.ClusterSpec{{Name: "asr", Panic: s.down, Groups: []balancer.GroupSpec{group}}}}); err != nil {
		t.Fatal(err)
	}
	for _, b := range l.bal.Backends() {
		if s.down {
			l.bal.SetState(b, balancer.Down, time.Now())
		}
	}
	l.table = session.NewTable(session.Options{Longest: s.longest, OnEnd: l.onEnd, Adopt: l.adopt})
	r := &Routing{
		Routes: []Route{{Name: "all", Cluster: "asr"}},
		Failover: Failover{Reject: 480, ByeAnswer: 481, FirstResponse: 500 * time.Millisecond, Answer: time.Second, Deadline: 4 * time.Second, MaxAttempts: 5, T1: 100 * time.Millisecond,
			TryingAfter: 150 * time.Millisecond, RetryAfter: 5 * time.Second, Bye: 2 * time.Second},
		Drain: Drain{Timeout: time.Second},
	}
	if s.routing != nil {
		s.routing(r)
	}
	o := Options{Balancer: l.bal, Sessions: l.table, Observer: l.obs, Log: zap.NewNop(), Routing: r, MaxTransactions: s.limit, MaxKept: s.kept, Admitter: s.admitter}
	for _, secret := range s.secrets {
		o.Secrets = append(o.Secrets, []byte(secret))
	}
	for _, text := range s.listen {
		part := strings.Fields(text)
		ln := Listener{Proto: ProtoOf(part[0]), Bind: netip.MustParseAddrPort(part[1])}
		if len(part) == 3 {
			ln.Advertise = netip.MustParseAddr(part[2])
		}
		o.Listeners = append(o.Listeners, ln)
	}
	l.p = newProxy(o)
	l.net.listeners = o.Listeners
	l.p.attach(l.net, func(i int) netip.AddrPort { return o.Listeners[i].Bind })
	l.stop = func() {}
	return l
}

// run serves the timers until stop.
func (l *lab) run() {
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	go func(p *Proxy) { _ = p.timers(ctx) }(l.p)
}

func backendSpec(uri string, capacity int) balancer.BackendSpec {
	if capacity == 0 {
		capacity = balancer.Unlimited
	}
	b := balancer.BackendSpec{URI: uri, Network: "udp", Capacity: capacity, Weight: 1}
	rest, network, named := strings.Cut(strings.TrimPrefix(uri, "sip:"), ";transport=")
	if named {
		b.Network = network
	}
	if user, host, ok := strings.Cut(rest, "@"); ok {
		b.User, rest = user, host
	}
	b.Addr = netip.MustParseAddrPort(rest)
	return b
}

// restart puts a new Proxy with the same options, which knows nothing of what went before, in the place of the old.
func (l *lab) restart() {
	l.Helper()
	l.stop()
	o := l.p.opts
	l.table = session.NewTable(session.Options{OnEnd: l.onEnd, Adopt: l.adopt})
	o.Sessions = l.table
	l.p = newProxy(o)
	l.p.attach(l.net, func(i int) netip.AddrPort { return o.Listeners[i].Bind })
	l.run()
}

func (l *lab) adopt(server uint32, resource string) *balancer.Lease {
	if b := l.bal.Lookup(server); b != nil {
		return l.bal.Adopt(b, resource)
	}
	return nil
}

func (l *lab) onEnd(_ *session.Session, why session.Reason) {
	l.fence.Load()
	l.ended = append(l.ended, why)
}

// wait lets virtual time pass and everything that is due then happen.
func (l *lab) wait(d time.Duration) {
	l.fence.Add(1)
	time.Sleep(d)
	synctest.Wait()
}

// until is wait up to a point in time since the lab's start.
func (l *lab) until(at time.Duration) { l.wait(at - time.Since(l.start)) }

func (l *lab) leases() int {
	n := 0
	for _, b := range l.bal.Backends() {
		n += b.Sessions()
	}
	return n
}

func (l *lab) noSessions() {
	l.Helper()
	if l.leases() != 0 || l.table.Len() != 0 {
		l.Errorf("%d leases and %d sessions are left", l.leases(), l.table.Len())
	}
}

func (l *lab) wantSessions(n int) {
	l.Helper()
	if l.leases() != n || l.table.Len() != n {
		l.Errorf("%d leases and %d sessions, want %d", l.leases(), l.table.Len(), n)
	}
}

func (l *lab) wantEnded(want ...session.Reason) {
	l.Helper()
	if len(want) != len(l.ended) {
		l.Errorf("ended %v, want %v", l.ended, want)
		return
	}
	for i := range want {
		if l.ended[i] != want[i] {
			l.Errorf("ended %v, want %v", l.ended, want)
		}
	}
}

func (l *lab) wantDropped(why DropReason, n int) {
	l.Helper()
	if got := l.obs.dropped[why]; got != n {
		l.Errorf("%d dropped as %v, want %d (%v)", got, why, n, l.obs.dropped)
	}
}

// nothingMore fails when a message was sent that no peer has looked at.
func (l *lab) nothingMore() {
	l.Helper()
	for _, m := range l.net.sent {
		if !m.taken {
			l.Errorf("unexpected at %v, to %v %v:\n%s", m.at, m.flow.Proto, m.to, m.raw)
		}
	}
}

// fakeNet is a network without a network. Like package transport it reuses open connections, dials where there is none,
// and never calls back from within Send.
type fakeNet struct {
	mu        sync.Mutex
	listeners []Listener
	sent      []*sent
	conns     map[uint64]transport.Flow
	last      uint64
	fail      map[netip.AddrPort]error // Send's error
	fence     *atomic.Int64
}

type sent struct {
	at    time.Time
	flow  transport.Flow
	to    netip.AddrPort // the end of the connection used
	raw   []byte
	taken bool
}

var errFlow = errors.New("no such listener")

func (n *fakeNet) Send(f transport.Flow, b []byte) (uint64, error) {
	n.fence.Load()
	n.mu.Lock()
	defer n.mu.Unlock()
	if int(f.Local) >= len(n.listeners) || n.listeners[f.Local].Proto != f.Proto || !f.Remote.IsValid() {
		return 0, errFlow
	}
	if err := n.fail[f.Remote]; err != nil {
		return 0, err
	}
	to := f.Remote
	var conn uint64
	if f.Proto.Reliable() {
		if c, ok := n.conns[f.Conn]; ok {
			conn, to = f.Conn, c.Remote
		} else if conn = n.find(f.Remote); conn == 0 {
			conn = n.open(f)
		}
	}
	n.sent = append(n.sent, &sent{at: time.Now(), flow: f, to: to, raw: append([]byte(nil), b...)})
	return conn, nil
}

func (n *fakeNet) Find(proto transport.Proto, remote netip.AddrPort) (uint64, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !proto.Reliable() {
		return 0, false
	}
	c := n.find(remote)
	return c, c != 0
}

func (n *fakeNet) find(remote netip.AddrPort) uint64 {
	for id, f := range n.conns {
		if f.Remote == remote {
			return id
		}
	}
	return 0
}

func (n *fakeNet) open(f transport.Flow) uint64 {
	n.last++
	f.Conn = n.last
	n.conns[n.last] = f
	return n.last
}

// close ends the connection with that remote end, and says so.
func (l *lab) close(remote string) {
	l.Helper()
	a := netip.MustParseAddrPort(remote)
	id := l.net.find(a)
	if id == 0 {
		l.Fatalf("no connection with %v", a)
	}
	delete(l.net.conns, id)
	l.p.Closed(id, a, errors.New("reset"))
}

// reporting is a balancer that notes what calls report.
type reporting struct {
	*balancer.Balancer
	reports []string // "127.0.0.11:8060 refused 486"
	fence   *atomic.Int64
}

func (r *reporting) Report(b *balancer.Backend, o Outcome) {
	r.fence.Load()
	kind := [...]string{"answered", "failed", "refused", "errored"}[o.Kind]
	r.reports = append(r.reports, strings.TrimSpace(b.Addr().String()+" "+kind+" "+o.Reason))
}

// recorder is an Observer that notes everything.
type recorder struct {
	fence      *atomic.Int64
	invites    []Invite
	failedOver []string
	dropped    map[DropReason]int
	late       []string
	unroutable []string
}

func (r *recorder) InviteDone(i *Invite) {
	r.fence.Load()
	r.invites = append(r.invites, *i)
}

func (r *recorder) FailedOver(_, why string) {
	r.fence.Load()
	r.failedOver = append(r.failedOver, why)
}

func (r *recorder) Dropped(why DropReason) {
	r.fence.Load()
	r.dropped[why]++
}

func (r *recorder) Late(b *balancer.Backend) {
	r.fence.Load()
	r.late = append(r.late, b.Addr().String())
}

func (r *recorder) Unroutable(_ *Invite, userAgent string) {
	r.fence.Load()
	r.unroutable = append(r.unroutable, userAgent)
}

// wantPlaced counts the INVITEs that wait for a server's answer.
func (l *lab) wantPlaced(n int) {
	l.Helper()
	if l.leases()-l.table.Len() != n {
		l.Errorf("%d leases and %d sessions, want %d INVITEs waiting", l.leases(), l.table.Len(), n)
	}
}
