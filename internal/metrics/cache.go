package metrics

import (
	"maps"
	"sync"
	"sync/atomic"
)

// cache finds what was made for a key before, without a lock and without allocating. A change copies it: it is for
// many reads of few keys. (sync.Map would put a key made of several fields on the heap for every read.)
type cache[K comparable, V any] struct {
	all atomic.Pointer[map[K]V]

	mu sync.Mutex // serialises changes
}

func (c *cache[K, V]) get(k K) (v V, ok bool) {
	if all := c.all.Load(); all != nil {
		v, ok = (*all)[k]
	}
	return v, ok
}

// add returns what is there for k, or puts v there.
func (c *cache[K, V]) add(k K, v V) V {
	c.mu.Lock()
	defer c.mu.Unlock()
	if there, ok := c.get(k); ok {
		return there
	}
	next := make(map[K]V)
	if all := c.all.Load(); all != nil {
		maps.Copy(next, *all)
	}
	next[k] = v
	c.all.Store(&next)
	return v
}

// remove takes out what is there for the keys that match.
func (c *cache[K, V]) remove(match func(K) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.all.Load()
	if all == nil {
		return
	}
	next := maps.Clone(*all)
	maps.DeleteFunc(next, func(k K, _ V) bool { return match(k) })
	c.all.Store(&next)
}
