package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"mrcproxy/internal/wheel"
)

// Verdict is the answer to an Admit.
type Verdict uint8

// The verdicts.
const (
	Later     Verdict = iota // it is not known yet
	Admitted                 // the place is taken
	Full                     // a limit is reached
	Unchecked                // limits cannot be checked, and OnLoss is Reject
)

// OnLoss is what holds while Redis cannot be asked.
type OnLoss uint8

// The rules.
const (
	Share  OnLoss = iota // each instance keeps to its part of every limit
	Open                 // each instance keeps to every limit by itself
	Reject               // nothing is admitted
)

// Rule is what holds while Redis cannot be asked, and for how many instances.
type Rule struct {
	OnLoss    OnLoss
	Instances int // at least 1
}

// Options make a Store; all must be given.
type Options struct {
	Redis   Redis
	Timeout time.Duration // that an answer of Redis may take
	Renew   time.Duration // within which each lease is renewed
	Rule    Rule
	// Until tells when the session of a key ends unless it is refreshed, the zero time for never. false: it is not
	// established.
	Until func(key uint64) (time.Time, bool)
	// Ended is told that another instance has ended the session of a key.
	Ended func(key uint64)
	// Counted is told how many sessions other instances have in a pool.
	Counted func(cluster, pool string, elsewhere int)
	// Parted is told how many sessions this instance may have in a pool while limits cannot be checked, -1 for any number.
	Parted func(cluster, pool string, most int)
	// Waited is told how long a verdict took that was not there at once.
	Waited func(time.Duration)
	Log    *zap.Logger
}

// Place is the pools that a session takes a place in.
type Place struct {
	cluster *cluster
	pools   []*pool
}

// cluster is the names of a cluster's keys, and whether its data is whole.
type cluster struct {
	name   string
	since  string // keys
	ended  string
	begun  int64     // when its counts began, as last seen
	whole  time.Time // when all instances have put their leases there
	counts []*pool   // to be counted
}

// pool is a set of sessions that a limit is for.
type pool struct {
	cluster   *cluster
	name      string
	key       string
	leases    [over]int // of this instance, by their state
	held      int       // that Redis has, some of which may be released
	elsewhere int       // that others have, as last counted
	counted   bool      // it was
	part      Part      // that holds while limits cannot be checked
	limit     int       // as last asked for; -1: none, or not known yet
	most      int       // as last told to Options.Parted
}

// lease is a session's place in its pools. It is in Store.leases until it is released.
type lease struct {
	key    uint64
	place  *Place
	ask    *ask // while it is not decided
	refs   int32
	state  leaseState
	real   bool // its session was established, as far as is known
	firm   bool // it was when it was last looked at
	sent   bool // Redis may have it, whatever the state is
	queued bool // in Store.due
	timer  wheel.Timer[*lease]
}

type leaseState uint8

const (
	waiting leaseState = iota // to be asked for
	asked                     // Redis is being asked
	held                      // in Redis
	local                     // admitted without Redis, or taken before this process began
	over                      // released
)

// ask is a wish for a lease.
type ask struct {
	limits []int
	ttl    time.Duration
	since  time.Time
	done   func(Verdict)
}

// gone is a lease to be taken out of Redis.
type gone struct {
	key     uint64
	place   *Place
	held    bool // it counts in pool.held
	session bool // it was established: another instance may have it, too
}

// Store counts this instance's sessions together with those of the others. All its methods are safe for concurrent use,
// and but for Run and Connect none blocks.
type Store struct {
	opts    Options
	scripts scripts
	rule    atomic.Pointer[Rule]
	wake    chan struct{}
	base    time.Time

	mu       sync.Mutex
	clusters map[string]*cluster
	pools    map[string]*pool // by key
	leases   map[uint64]*lease
	wheel    *wheel.Wheel[*lease]
	asks     []*lease
	due      []*lease // to be renewed
	left     bool     // sessions are a successor's
	gone     []gone
	breaker  breaker
	offset   time.Duration // of the server's clock, from base
	whole    time.Time     // when the other instances have noticed that Redis is back, too
	counted  time.Time     // when the pools were last counted
	stats    Stats
}

// New makes a Store that has not asked Redis for anything yet.
func New(o Options) *Store {
	s := &Store{
		opts: o, scripts: newScripts(), wake: make(chan struct{}, 1), base: time.Now(),
		clusters: map[string]*cluster{}, pools: map[string]*pool{}, leases: map[uint64]*lease{}, wheel: wheel.New[*lease](1024, slot, 0),
		breaker: breaker{open: true, quiet: 2 * o.Timeout},
	}
	s.stats.Changed = s.base
	s.SetRule(o.Rule)
	return s
}

// slot is the resolution of renewals, milliseconds.
const slot = 50

// SetRule changes what holds while Redis cannot be asked.
func (s *Store) SetRule(r Rule) {
	s.rule.Store(&r)
	var t tell
	s.mu.Lock()
	if s.breaker.open {
		s.forget(&t)
	}
	s.allParts(&t, time.Now())
	s.mu.Unlock()
	s.opts.tell(&t)
}

// Place is a place in pools of a cluster. One can serve for any number of sessions.
func (s *Store) Place(cluster string, pools ...string) *Place {
	s.mu.Lock()
	defer s.mu.Unlock()
	pl := &Place{cluster: s.cluster(cluster)}
	for _, name := range pools {
		pl.pools = append(pl.pools, s.pool(pl.cluster, name))
	}
	return pl
}

func (s *Store) cluster(name string) *cluster {
	c := s.clusters[name]
	if c == nil {
		c = &cluster{name: name, since: s.key(name, "since"), ended: s.key(name, "ended")}
		s.clusters[name] = c
	}
	return c
}

func (s *Store) pool(c *cluster, name string) *pool {
	key := s.key(c.name, name)
	p := s.pools[key]
	if p == nil {
		p = &pool{cluster: c, name: name, key: key, limit: -1, most: -1}
		s.pools[key] = p
	}
	return p
}

func (s *Store) key(cluster, name string) string {
	return fmt.Sprintf("%s:{%s}:%s", s.opts.Redis.Prefix, cluster, name)
}

// Count has these places counted, about ten times while a lease is renewed once, and no others.
func (s *Store) Count(places []*Place) {
	var t tell
	s.mu.Lock()
	s.count(places)
	s.allParts(&t, time.Now())
	s.mu.Unlock()
	s.opts.tell(&t)
}

func (s *Store) count(places []*Place) {
	for _, c := range s.clusters {
		c.counts = nil
	}
	wanted := map[*pool]bool{}
	for _, pl := range places {
		for _, p := range pl.pools {
			if !wanted[p] {
				wanted[p] = true
				p.limit = -1 // it may be another from here on
				p.cluster.counts = append(p.cluster.counts, p)
				s.pools[p.key] = p
			}
		}
	}
	for key, p := range s.pools {
		if p.leases == [over]int{} && !wanted[p] {
			delete(s.pools, key)
		}
	}
}

// Admit asks for a place under limits, one for each of its pools, -1 for none, on behalf of the session of that key. Unless
// the answer is there at once it is Later, and done is called with it, by the goroutine of Run. The place is this session's
// until Release, or for the time within and a few seconds when it is neither released nor established.
func (s *Store) Admit(key uint64, pl *Place, limits []int, within time.Duration, done func(Verdict)) Verdict {
	var t tell
	s.mu.Lock()
	v := s.admit(key, pl, limits, within, done, &t)
	s.mu.Unlock()
	s.opts.tell(&t)
	return v
}

func (s *Store) admit(key uint64, pl *Place, limits []int, within time.Duration, done func(Verdict), t *tell) Verdict {
	if l := s.leases[key]; l != nil { // a second INVITE of a dialog at the same server
		if l.ask != nil {
			return Full
		}
		l.refs++
		return Admitted
	}
	for i, p := range pl.pools {
		p.limit = limits[i]
	}
	l := s.take(key, pl, waiting)
	if s.breaker.open {
		return s.alone(l, limits, t)
	}
	l.ask = &ask{limits, within + margin, time.Now(), done}
	s.asks = append(s.asks, l)
	s.nudge()
	return Later
}

// margin is how much longer than its INVITE may take a lease is kept that nothing more is heard of.
const margin = 5 * time.Second

// Hold has the place of a session that is there already counted, whatever the limits.
func (s *Store) Hold(key uint64, pl *Place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leases[key] != nil || s.left {
		return
	}
	l := s.take(key, pl, local)
	l.real, l.sent = true, true
	s.renew(l)
	s.nudge()
}

// Leave has sessions that are established not renewed any more: a successor has them, and may have ended them since. Those
// that are being set up are renewed until they are established.
func (s *Store) Leave() {
	s.mu.Lock()
	s.left = true
	all := slices.Collect(maps.Values(s.leases))
	s.mu.Unlock()
	theirs := map[*lease]bool{}
	for _, l := range all {
		_, theirs[l] = s.opts.Until(l.key)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range all {
		l.firm = l.firm || theirs[l]
	}
	s.due = slices.DeleteFunc(s.due, func(l *lease) bool {
		l.queued = !l.firm
		return l.firm
	})
}

// Has reports whether the session of a key is counted.
func (s *Store) Has(key uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leases[key] != nil
}

// Release gives back the place of a key, as many times as it was given.
func (s *Store) Release(key uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.leases[key]
	if l == nil {
		return
	}
	if l.refs--; l.refs == 0 {
		s.drop(l)
	}
}

// Ended gives back the place of a session that this instance never had.
func (s *Store) Ended(key uint64, pl *Place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leases[key] == nil && len(s.gone) < mostGone {
		s.gone = append(s.gone, gone{key: key, place: pl, session: true})
		s.nudge()
	}
}

// mostGone bounds what is remembered for a Redis that is away; what is more, expires.
const mostGone = 1 << 16

// take adds a lease. mu is held, here and below.
func (s *Store) take(key uint64, pl *Place, st leaseState) *lease {
	l := &lease{key: key, place: pl, refs: 1, state: st}
	l.timer.Value = l
	s.leases[key] = l
	for _, p := range pl.pools {
		p.leases[st]++
	}
	return l
}

// become has a lease that is not over be in another state.
func (l *lease) become(st leaseState) {
	for _, p := range l.place.pools {
		p.leases[l.state]--
		if st != over {
			p.leases[st]++
		}
	}
	l.state = st
}

// drop takes a lease out, here and, where it may be there, in Redis.
func (s *Store) drop(l *lease) {
	if l.state == held || l.state == local && l.sent {
		s.gone = append(s.gone, gone{l.key, l.place, l.state == held, l.real})
		s.nudge()
	}
	s.remove(l)
}

// renew has a lease put into Redis with the next exchange, if it is ours to renew.
func (s *Store) renew(l *lease) {
	if !l.queued && !(s.left && l.firm) {
		s.wheel.Disarm(&l.timer)
		l.queued = true
		s.due = append(s.due, l)
	}
}

func (s *Store) remove(l *lease) {
	delete(s.leases, l.key)
	s.wheel.Disarm(&l.timer)
	l.become(over)
}

// alone decides without Redis.
func (s *Store) alone(l *lease, limits []int, t *tell) Verdict {
	s.parts(t, l.place.pools, time.Now())
	l.become(local)
	v := s.rule.Load().admit(l.place.pools, limits)
	if v != Admitted {
		s.remove(l)
		s.stats.AloneRefused++
		return v
	}
	s.stats.AloneAdmitted++
	return v
}

func (s *Store) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Stats is what the Store has done, and its state.
type Stats struct {
	Up       bool // Redis answers
	Exact    bool // limits hold over all instances together
	Changed  time.Time
	Admitted uint64 // by Redis
	Refused  uint64
	// Decided without Redis.
	AloneAdmitted, AloneRefused uint64
	Losses                      uint64 // times that Redis stopped answering
	Resets                      uint64 // times that Redis came back without its data, once for each cluster
	Leases                      int    // of this instance
}

// Stats gives them.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	now := time.Now()
	st.Up, st.Leases = !s.breaker.open, len(s.leases)
	st.Exact = st.Up && !now.Before(s.whole)
	for _, c := range s.clusters {
		st.Exact = st.Exact && !now.Before(c.whole) && (c.begun != 0 || len(c.counts) == 0) &&
			!slices.ContainsFunc(c.counts, func(p *pool) bool { return p.most >= 0 }) // who picks still keeps to its part
	}
	return st
}

// Run serves until ctx ends. Sessions go on without it: their leases stay in Redis until they expire or another instance
// ends them.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(slot * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			s.end()
			return nil
		case <-s.wake:
		case <-tick.C:
		}
		for s.round() {
		}
	}
}
