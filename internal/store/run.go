package store

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"go.uber.org/zap"
)

const (
	// perScript is how many leases or pools one script handles, so that none keeps Redis for long; perRound how many leases
	// are renewed, and how many given back, before those that wait are asked for again.
	perScript = 100
	perRound  = 500
	// asksPerRound bounds one exchange.
	asksPerRound = 500
	// warmUp is what a first connection may take: names, TLS, Sentinel.
	warmUp = time.Second
	// soon is when a lease is looked at again that may not be established yet.
	soon = time.Second
	// forgetAfter is how long the end of a session is remembered at least, for an instance that takes itself to have it: also
	// one that was killed, and finds the session in its journal when it is started again.
	forgetAfter = 10 * time.Minute
	// noEnd is for how long a session without an end is put into Redis; it is renewed long before.
	noEnd = 24 * time.Hour
)

// Connect asks Redis once, so that a start finds out whether it is there. Run goes on trying.
func (s *Store) Connect() {
	if s.probe() {
		return
	}
	s.opts.Log.Warn("the store does not answer: on_store_loss holds until it does")
}

// round asks Redis for what there is to ask, once. It reports whether there is more.
func (s *Store) round() (more bool) {
	now := time.Now()
	s.mu.Lock()
	open, due := s.breaker.open, s.breaker.due(now)
	s.mu.Unlock()
	if open {
		return due && s.probe()
	}
	calls, more := s.gather(now)
	if len(calls) == 0 {
		return false
	}
	return s.exchange(calls) && more
}

// gather makes the calls of one exchange: what gives room first.
func (s *Store) gather(now time.Time) (calls []*call, more bool) {
	due := s.toRenew(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	calls = s.releases(calls)
	calls = s.admissions(calls)
	calls = s.renewals(calls, due)
	if now.Sub(s.counted) >= s.countEvery() {
		s.counted = now
		calls = s.counts(calls)
	}
	late := s.late(now)
	for _, c := range calls {
		c.args[0] = late
	}
	return calls, len(s.gone) > 0 || len(s.asks) > 0 || len(s.due) > 0
}

func (s *Store) countEvery() time.Duration { return s.opts.Renew / 10 }

// settling is how long it takes until all instances have noticed that Redis is back, or has lost its data, and have put
// their leases there.
func (s *Store) settling() time.Duration { return lastProbe + 2*s.countEvery() }

func (s *Store) ms(t time.Time) int64 { return t.Sub(s.base).Milliseconds() }

// late is when what is sent now comes too late, in the server's time.
func (s *Store) late(now time.Time) int64 {
	return (now.Sub(s.base) + s.offset + s.breaker.quiet).Milliseconds()
}

func (s *Store) releases(calls []*call) []*call {
	n := min(len(s.gone), perRound)
	open := map[*cluster]*batch{}
	for _, g := range s.gone[:n] {
		b := open[g.place.cluster]
		if b == nil || len(b.gone) == perScript {
			b = s.newBatch(s.scripts.release, g.place.cluster)
			open[g.place.cluster] = b
			calls = append(calls, &b.call)
		}
		remember := int64(0)
		if g.session {
			remember = millis(max(3*s.opts.Renew, forgetAfter))
		}
		b.add(g.key, remember, g.place.pools)
		b.gone = append(b.gone, g)
	}
	s.gone = rest(s.gone, n)
	return calls
}

func (s *Store) admissions(calls []*call) []*call {
	n := min(len(s.asks), asksPerRound)
	for _, l := range s.asks[:n] {
		if l.state == over {
			continue
		}
		l.become(asked)
		b := s.newBatch(s.scripts.admit, l.place.cluster)
		b.args = append(b.args, member(l.key), millis(l.ask.ttl))
		for i, p := range l.place.pools {
			b.keys = append(b.keys, p.key)
			b.args = append(b.args, l.ask.limits[i])
		}
		b.leases = []*lease{l}
		calls = append(calls, &b.call)
	}
	s.asks = rest(s.asks, n)
	return calls
}

// renewal is a lease and for how long it is to last.
type renewal struct {
	lease *lease
	ttl   time.Duration
	firm  bool
}

// toRenew takes the leases whose time has come. Their sessions are looked at without the lock.
func (s *Store) toRenew(now time.Time) []renewal {
	s.mu.Lock()
	s.wheel.Advance(s.ms(now), s.renew)
	n := min(len(s.due), perRound)
	l := make([]renewal, 0, n)
	for _, one := range s.due[:n] {
		one.queued = false
		l = append(l, renewal{lease: one})
	}
	s.due = rest(s.due, n)
	s.mu.Unlock()
	for i := range l {
		l[i].ttl, l[i].firm = s.ttl(l[i].lease.key, now)
	}
	return l
}

// ttl is how long a lease lasts unless it is renewed: for its session's own time, so that the sessions of an instance that
// is killed count for as long as they live. false: there is no session yet.
func (s *Store) ttl(key uint64, now time.Time) (time.Duration, bool) {
	until, ok := s.opts.Until(key)
	switch {
	case !ok:
		return 2 * margin, false
	case until.IsZero():
		return noEnd, true
	}
	return max(until.Sub(now), time.Second), true
}

func (s *Store) renewals(calls []*call, due []renewal) []*call {
	open := map[*cluster]*batch{}
	for _, r := range due {
		l := r.lease
		if l.state == over || s.left && l.firm {
			continue
		}
		b := open[l.place.cluster]
		if b == nil || len(b.leases) == perScript {
			b = s.newBatch(s.scripts.renew, l.place.cluster)
			open[l.place.cluster] = b
			calls = append(calls, &b.call)
		}
		l.sent, l.firm = true, r.firm
		l.real = l.real || r.firm
		b.add(l.key, millis(r.ttl), l.place.pools)
		b.leases = append(b.leases, l)
	}
	return calls
}

func (s *Store) counts(calls []*call) []*call {
	for _, c := range s.clusters {
		for pools := c.counts; len(pools) > 0; {
			n := min(len(pools), perScript)
			b := s.newBatch(s.scripts.count, c)
			for _, p := range pools[:n] {
				b.keys = append(b.keys, p.key)
			}
			b.pools = pools[:n]
			calls = append(calls, &b.call)
			pools = pools[n:]
		}
	}
	return calls
}

// rest is what is left behind the first n, in memory of its own when that was a lot.
func rest[T any](l []T, n int) []T {
	if n == len(l) {
		if cap(l) > 4*perRound {
			return nil
		}
		clear(l)
		return l[:0]
	}
	return append([]T(nil), l[n:]...)
}

// exchange makes the calls and acts on the replies. It reports whether Redis answered.
func (s *Store) exchange(calls []*call) bool {
	err := s.do(calls, s.opts.Timeout)
	now := time.Now()
	var t tell
	s.mu.Lock()
	for _, c := range calls {
		if c.reply.ok {
			s.answered(c, now, &t)
		}
	}
	if err != nil {
		s.lost(err, now, calls, &t)
	}
	s.mu.Unlock()
	s.opts.tell(&t)
	return err == nil
}

// do runs the scripts, for as long as that may take.
func (s *Store) do(calls []*call, timeout time.Duration) error {
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	err := s.opts.Redis.Link.Do(ctx, calls)
	took := time.Since(start)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range calls {
		if c.reply.ok {
			s.offset = time.Duration(c.reply.now)*time.Millisecond - start.Add(took/2).Sub(s.base)
		}
	}
	return err
}

// probe asks whether Redis is back: first with patience, since it takes a new connection, then as ever.
func (s *Store) probe() bool {
	s.mu.Lock()
	c := &cluster{since: s.key("", "since"), ended: s.key("", "ended")}
	for _, known := range s.clusters {
		c = known
		break
	}
	s.mu.Unlock()
	var err error
	for _, timeout := range []time.Duration{warmUp, s.opts.Timeout} {
		b := s.newBatch(s.scripts.count, c)
		b.args[0] = int64(math.MaxInt64 >> 10) // nothing that comes too late
		if err = s.do([]*call{&b.call}, timeout); err != nil {
			break
		}
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.breaker.fail(now, isTimeout(err))
		s.opts.Log.Debug("the store does not answer", zap.Error(err))
		return false
	}
	s.found(now)
	return true
}

// found is the return of Redis: what it may have missed is put there.
func (s *Store) found(now time.Time) {
	s.breaker.close()
	s.counted = time.Time{}
	if s.stats.Losses > 0 {
		s.whole = now.Add(s.settling())
	}
	s.opts.Log.Info("the store answers", zap.Duration("after", now.Sub(s.stats.Changed)), zap.Int("leases", len(s.leases)))
	s.stats.Changed = now
	s.reassert(nil)
}

// reassert has all leases of a cluster, or all, put into Redis.
func (s *Store) reassert(c *cluster) {
	for _, l := range s.leases {
		if (c == nil || l.place.cluster == c) && (l.state == held || l.state == local) {
			s.renew(l)
		}
	}
}

// lost is the end of Redis for now: who waits is told by the rule. Some of the calls may have been answered before.
func (s *Store) lost(err error, now time.Time, calls []*call, t *tell) {
	s.fix(nil, now)
	if s.breaker.fail(now, isTimeout(err)) {
		s.stats.Losses++
		s.stats.Changed = now
		s.opts.Log.Warn("the store is lost", zap.Error(err), zap.Int("leases", len(s.leases)))
		s.forget(t)
		s.allParts(t, now)
	}
	for _, c := range calls {
		if !c.reply.ok {
			s.unanswered(c, t)
		}
	}
	for _, l := range s.asks {
		if l.state == waiting {
			s.decideAlone(l, t)
		}
	}
	s.asks = nil
}

func (s *Store) decideAlone(l *lease, t *tell) {
	a := l.ask
	l.ask = nil
	v := s.alone(l, a.limits, t)
	t.verdicts = append(t.verdicts, verdict{a, v})
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}

// end is for the calls that still wait when Run ends, and for what has ended by then.
func (s *Store) end() {
	for s.round() {
	}
	var t tell
	s.mu.Lock()
	s.fix(nil, time.Now())
	s.breaker.open, s.breaker.next = true, time.Now().Add(noEnd)
	for _, l := range s.asks {
		if l.state == waiting {
			s.decideAlone(l, &t)
		}
	}
	s.asks = nil
	s.mu.Unlock()
	s.opts.tell(&t)
	if err := s.opts.Redis.Link.Close(); err != nil {
		s.opts.Log.Debug("close the store", zap.Error(err))
	}
}

// jitter spreads renewals: between half the period and the whole.
func (s *Store) jitter() int64 {
	half := s.opts.Renew.Milliseconds() / 2
	return half + rand.Int64N(half+1)
}
