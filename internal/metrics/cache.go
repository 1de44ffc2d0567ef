package metrics

import (
	"maps"
	"sync"
	"sync/atomic"
)

// cache finds what was made for a key before, without a lock and without allocating. It is for many reads of keys that
// change little: what is new waits under the lock until it is worth a copy of all, so that n keys cost n log n at most.
// (sync.Map would put a key made of several fields on the heap for every read.)
type cache[K comparable, V any] struct {
	all atomic.Pointer[map[K]V]

	mu    sync.Mutex
	fresh map[K]V     // not yet in all
	some  atomic.Bool // fresh has any
}

func (c *cache[K, V]) get(k K) (v V, ok bool) {
	if all := c.all.Load(); all != nil {
		v, ok = (*all)[k]
	}
	if !ok && c.some.Load() {
		c.mu.Lock()
		defer c.mu.Unlock()
		v, ok = c.find(k)
	}
	return v, ok
}

// find is get under the lock.
func (c *cache[K, V]) find(k K) (v V, ok bool) {
	if v, ok = c.fresh[k]; ok {
		return v, ok
	}
	if all := c.all.Load(); all != nil {
		v, ok = (*all)[k]
	}
	return v, ok
}

// add returns what is there for k, or puts v there.
func (c *cache[K, V]) add(k K, v V) V {
	c.mu.Lock()
	defer c.mu.Unlock()
	if there, ok := c.find(k); ok {
		return there
	}
	if c.fresh == nil {
		c.fresh = make(map[K]V)
	}
	c.fresh[k] = v
	if all := c.all.Load(); all == nil || len(c.fresh) > len(*all)/8 {
		c.merge(func(K) bool { return false })
	}
	c.some.Store(len(c.fresh) > 0)
	return v
}

// merge puts all in one map, but for what is to go.
func (c *cache[K, V]) merge(gone func(K) bool) {
	next := make(map[K]V)
	if all := c.all.Load(); all != nil {
		maps.Copy(next, *all)
	}
	maps.Copy(next, c.fresh)
	maps.DeleteFunc(next, func(k K, _ V) bool { return gone(k) })
	c.all.Store(&next)
	clear(c.fresh)
}

// remove takes out what is there for the keys that match.
func (c *cache[K, V]) remove(match func(K) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.merge(match)
	c.some.Store(false)
}
