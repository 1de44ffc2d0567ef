package store

import (
	"context"
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

// Admit asks for a place under limits, one for each of its pools, -1 for none, on behalf of the session of that key. Unless
// the answer is there at once it is Later, and done is called with it, by the goroutine of Run. The place is this session's
// until Release of the ticket, or for the time within and a few seconds when it is neither released nor established.
func (s *Store) Admit(key uint64, pl *Place, limits []int, within time.Duration, done func(Verdict)) (Verdict, Ticket) {
	var t tell
	s.mu.Lock()
	v, ticket := s.admit(key, pl, limits, within, done, &t)
	s.mu.Unlock()
	s.opts.tell(&t)
	return v, ticket
}

func (s *Store) admit(key uint64, pl *Place, limits []int, within time.Duration, done func(Verdict), t *tell) (Verdict, Ticket) {
	if l := s.leases[key]; l != nil { // a second INVITE of a dialog at the same server
		if l.ask != nil {
			return Full, Ticket{}
		}
		l.refs++
		return Admitted, Ticket{l}
	}
	for i, p := range pl.pools {
		p.limit = limits[i]
	}
	l := s.take(key, pl, waiting)
	if s.breaker.open {
		return s.alone(l, limits, t), Ticket{l}
	}
	l.ask = &ask{limits, within + margin, time.Now(), done}
	s.asks = append(s.asks, l)
	s.nudge()
	return Later, Ticket{l}
}

// margin is how much longer than its INVITE may take a lease is kept that nothing more is heard of.
const margin = 5 * time.Second

// Hold has the place of a session that is there already counted, whatever the limits, unless it is.
func (s *Store) Hold(key uint64, pl *Place) Ticket {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leases[key] != nil || s.left {
		return Ticket{}
	}
	l := s.take(key, pl, local)
	l.real, l.sent = true, true
	s.renew(l)
	s.nudge()
	return Ticket{l}
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

// Established tells that the session of a key has come to be: another instance may have it from now on, and hears of its end,
// however soon that is.
func (s *Store) Established(key uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.leases[key]; l != nil {
		l.real = true
	}
}

// Ticket is what a place is given back by, once: another session may have come to the key meanwhile. The zero one is for none.
type Ticket struct{ lease *lease }

// Release gives back a place. It is free when all have given it back who were given it.
func (s *Store) Release(t Ticket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := t.lease
	if l == nil || l.state == over {
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
