package proxy

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Rate bounds what starts something: INVITEs and OPTIONS outside of dialogs, in requests a second. 0 is no bound. What
// belongs to a dialog of ours is never refused for its rate: a BYE frees a server.
type Rate struct {
	PerSource float64 // for each source address
	Total     float64 // all sources together
}

// maxSources bounds the memory for source addresses (about 200 bytes each), whoever forges them.
const maxSources = 1 << 16

// limiter holds the token buckets of a Rate. A bucket holds what a second fills, at least 1.
type limiter struct {
	rate  Rate
	total *rate.Limiter // nil: no bound

	mu      sync.Mutex
	sources map[netip.Addr]*rate.Limiter
	swept   time.Time
}

func newLimiter(r Rate) *limiter {
	l := &limiter{rate: r, sources: map[netip.Addr]*rate.Limiter{}}
	if r.Total > 0 {
		l.total = bucket(r.Total)
	}
	return l
}

func bucket(perSecond float64) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond)))
}

// admit takes a token for a request from src at now; false: it is over a bound.
func (l *limiter) admit(src netip.Addr, now time.Time) bool {
	if l.rate.PerSource > 0 {
		if s := l.source(src, now); s == nil || !s.AllowN(now, 1) {
			return false // one source over its own bound takes nothing from the others
		}
	}
	return l.total == nil || l.total.AllowN(now, 1)
}

// source is the bucket of src; nil when there are too many sources to tell it from the others.
func (l *limiter) source(src netip.Addr, now time.Time) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.sources[src]
	if b != nil {
		return b
	}
	if len(l.sources) >= maxSources {
		l.sweep(now)
		if len(l.sources) >= maxSources {
			return nil
		}
	}
	b = bucket(l.rate.PerSource)
	l.sources[src] = b
	return b
}

// sweep forgets the sources whose buckets are full again: nothing is lost with them. It looks at most once a second.
func (l *limiter) sweep(now time.Time) {
	if now.Sub(l.swept) < time.Second {
		return
	}
	l.swept = now
	for a, b := range l.sources {
		if b.TokensAt(now) >= float64(b.Burst()) {
			delete(l.sources, a)
		}
	}
}
