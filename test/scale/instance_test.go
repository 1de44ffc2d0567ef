package scale

import (
	"fmt"
	"net/netip"
	"time"

	"mrcproxy/balancer"
	"mrcproxy/internal/store"
)

// call is a call, and later its session.
type call struct {
	at      *instance
	lease   *balancer.Lease
	server  int
	index   int // in instance.sessions
	arrived time.Duration
	tried   []netip.AddrPort // servers that were refused

	member bool // of its server's set in Redis
	held   bool // the instance knows that it is
	sent   bool // it may be
	over   bool
}

// again is the call that goes on when its place in Redis is given back: under another name, since it may be asked for again.
func (c *call) again() *call {
	next := *c
	next.member, next.held, next.sent = false, false, false
	return &next
}

// instance is one mrcproxy: its balancer, and the model of its side of the store.
type instance struct {
	w     *world
	n     int
	idc   int
	rtt   time.Duration // to Redis
	bal   *balancer.Balancer
	byNum []*balancer.Backend
	own   []int // sessions, by server
	held  []int // of them those that Redis has, by server

	sessions []*call
	asks     []*call
	gone     []*call
	renewals []*call
	counting bool // wanted with the next exchange
	under    *exchange

	lost  bool // it has noticed that Redis cannot be asked
	alone alone
	whole time.Duration // until then Redis may not have heard of all sessions
}

// address is a server's, which tells its number.
func address(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 5060)
}

func number(a netip.AddrPort) int {
	b := a.Addr().As4()
	return int(b[1])<<16 | int(b[2])<<8 | int(b[3])
}

func idcName(n int) string { return fmt.Sprintf("idc-%02d", n) }

// newInstance has the groups in the order of the distance: its own IDC, then the others round the circle.
func newInstance(w *world, n int) (*instance, error) {
	s := w.sc
	idc := n / s.instances
	cl := balancer.ClusterSpec{Name: "asr", Policy: balancer.LeastLoad, SlowStart: 30 * time.Second, Panic: true}
	for g := range s.idcs {
		spec := balancer.GroupSpec{IDC: idcName(g), Priority: 100 + (g-idc+s.idcs)%s.idcs}
		for b := range s.servers {
			num := g*s.servers + b
			spec.Backends = append(spec.Backends, balancer.BackendSpec{
				URI: "sip:" + address(num).String(), Network: "udp", Addr: address(num), Capacity: s.capacity, Weight: 1,
			})
		}
		cl.Groups = append(cl.Groups, spec)
	}
	i := &instance{w: w, n: n, idc: idc, rtt: s.rtt, bal: balancer.New()}
	if idc == 0 {
		i.rtt = s.rttHome
	}
	if err := i.bal.Apply(balancer.Spec{IDC: idcName(idc), Clusters: []balancer.ClusterSpec{cl}, Now: w.clock()}); err != nil {
		return nil, err
	}
	i.byNum = i.bal.Backends()
	i.own, i.held = make([]int, len(i.byNum)), make([]int, len(i.byNum))
	return i, nil
}

// invite is the arrival of a call.
func (i *instance) invite() {
	c := &call{at: i, arrived: i.w.now}
	i.w.m.calls++
	i.place(c)
}

// place picks a server for a call, and another as long as it is refused here; where Redis is to be asked, it waits.
func (i *instance) place(c *call) {
	for {
		l, _ := i.bal.Pick(balancer.Request{Cluster: "asr", Tried: c.tried, Now: i.w.clock()})
		if l == nil {
			i.w.m.refused++
			return
		}
		c.lease, c.server = l, number(l.Backend().Addr())
		if !i.lost {
			i.w.m.asked++
			i.asks = append(i.asks, c)
			i.exchange()
			return
		}
		if i.decide(c) {
			return
		}
	}
}

// decide is the verdict without Redis: false is for another pick.
func (i *instance) decide(c *call) bool {
	switch i.alone.verdict(i, c.lease.Backend()) {
	case store.Admitted:
		i.establish(c)
	case store.Unchecked:
		c.lease.Release()
		i.w.m.refused++
	default:
		i.passOver(c)
		return false
	}
	return true
}

// passOver gives the place of a refused call back.
func (i *instance) passOver(c *call) {
	c.lease.Release()
	if len(c.tried) == 0 {
		i.w.m.repicked++
	}
	c.tried = append(c.tried, address(c.server))
	if i.lost {
		i.w.m.tried = max(i.w.m.tried, len(c.tried))
	}
}

func (i *instance) establish(c *call) {
	c.index = len(i.sessions)
	i.own[c.server]++
	i.sessions = append(i.sessions, c)
	i.w.established(c)
}

// bye is the end of a session.
func (i *instance) bye(c *call) {
	c.lease.Release()
	i.own[c.server]--
	c.over = true
	last := len(i.sessions) - 1
	i.sessions[c.index] = i.sessions[last]
	i.sessions[c.index].index = c.index
	i.sessions[last] = nil
	i.sessions = i.sessions[:last]
	i.release(c)
}

func (i *instance) release(c *call) {
	if c.held || c.sent {
		i.gone = append(i.gone, c)
		i.exchange()
	}
}

// exchange asks Redis for all there is to ask, unless it is being asked.
func (i *instance) exchange() {
	if i.lost || i.under != nil || len(i.asks)+len(i.gone)+len(i.renewals) == 0 && !i.counting {
		return
	}
	n := min(perRound, len(i.renewals))
	x := &exchange{gone: i.gone, asks: i.asks, renewals: i.renewals[:n], counts: i.counting, lost: i.w.cutOff(i)}
	i.gone, i.asks, i.renewals, i.counting, i.under = nil, nil, i.renewals[n:], false, x
	for _, c := range x.gone {
		x.held = append(x.held, c.held)
	}
	for _, c := range x.asks {
		c.sent = true
	}
	for _, c := range x.renewals {
		c.sent = true
	}
	i.w.after(i.rtt/2, event{kind: execute, n: i.n, ex: x})
}

// answered acts on the answers of Redis: the counts first, since who is refused picks again.
func (i *instance) answered(x *exchange) {
	i.under = nil
	for k, c := range x.gone {
		if x.held[k] {
			c.held = false
			i.held[c.server]--
		}
	}
	for _, c := range x.renewals {
		switch {
		case c.over: // released meanwhile
			i.gone = append(i.gone, c)
		case !c.held:
			c.held = true
			i.held[c.server]++
		}
	}
	if x.all != nil && i.alone.parts != nil && i.w.now >= i.whole {
		i.alone.over(i)
	}
	for s, n := range x.all {
		i.bal.SetElsewhere(i.byNum[s], max(n-i.held[s], 0))
	}
	for k, c := range x.asks {
		if x.admitted[k] {
			c.held = true
			i.held[c.server]++
		}
		i.bal.SetElsewhere(i.byNum[c.server], max(x.sizes[k]-i.held[c.server], 0))
	}
	for k, c := range x.asks {
		ok := x.admitted[k]
		if ok && i.w.now < i.whole && i.alone.rule == store.Share && i.alone.verdict(i, c.lease.Backend()) != store.Admitted {
			i.release(c)
			c, ok = c.again(), false
		}
		if ok {
			i.w.m.waits = append(i.w.m.waits, i.w.now-c.arrived)
			i.establish(c)
			continue
		}
		if !c.held {
			c.sent = false
		}
		i.passOver(c)
		i.place(c)
	}
	i.exchange()
}

// lose is when the instance notices that Redis does not answer. Of what was under way nobody knows whether it was done.
func (i *instance) lose() {
	i.lost = true
	i.alone.lose(i)
	asks := i.asks
	if x := i.under; x != nil {
		i.gone = append(append([]*call(nil), x.gone...), i.gone...)
		asks = append(append([]*call(nil), x.asks...), asks...)
		i.under = nil
	}
	i.asks = nil
	for _, c := range asks {
		if i.alone.verdict(i, c.lease.Backend()) == store.Admitted {
			i.establish(c)
			continue
		}
		i.release(c)
		if next := c.again(); !i.decide(next) {
			i.place(next)
		}
	}
}

// find is when it notices that Redis is there again: what that may have missed is put there.
func (i *instance) find() {
	i.lost = false
	i.whole = i.w.now + lastProbe + 2*i.w.sc.countEvery
	i.renewals = append([]*call(nil), i.sessions...)
	i.counting = true
	i.exchange()
}
