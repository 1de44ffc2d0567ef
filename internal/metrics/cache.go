package metrics

import (
	"maps"
	"sync"
	"sync/atomic"
)

// cache finds what was made for a key before, without a lock and without allocating. It is for many reads of keys that
// change little: what is new waits under the lock until it was looked for as often as a copy of all is worth, so that n
// keys do not cost n copies. (sync.Map, which does so too, would put a key made of several fields on the heap for every read.)
type cache[K comparable, V any] struct {
	all atomic.Pointer[map[K]V]

	mu     sync.Mutex
	fresh  map[K]V     // not yet in all
	some   atomic.Bool // fresh has any
	misses int         // look-ups under the lock since all was made
}

func (c *cache[K, V]) get(k K) (v V, ok bool) {
	if v, ok = c.copied()[k]; !ok && c.some.Load() {
		c.mu.Lock()
		defer c.mu.Unlock()
		v, ok = c.find(k)
		if c.misses++; c.misses > len(c.copied()) {
			c.merge()
		}
	}
	return v, ok
}

// copied is what needs no lock.
func (c *cache[K, V]) copied() map[K]V {
	if all := c.all.Load(); all != nil {
		return *all
	}
	return nil
}

// find is get under the lock.
func (c *cache[K, V]) find(k K) (v V, ok bool) {
	if v, ok = c.fresh[k]; !ok {
		v, ok = c.copied()[k]
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
	c.some.Store(true)
	return v
}

// merge puts all in one map.
func (c *cache[K, V]) merge() {
	next := make(map[K]V, len(c.copied())+len(c.fresh))
	maps.Copy(next, c.copied())
	maps.Copy(next, c.fresh)
	c.all.Store(&next)
	clear(c.fresh)
	c.some.Store(false)
	c.misses = 0
}

// remove takes out what is there for the keys that match.
func (c *cache[K, V]) remove(match func(K) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	gone := func(k K, _ V) bool { return match(k) }
	next := maps.Clone(c.copied())
	maps.DeleteFunc(next, gone)
	c.all.Store(&next)
	maps.DeleteFunc(c.fresh, gone)
}
