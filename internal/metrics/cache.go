package metrics

import (
	"maps"
	"sync"
	"sync/atomic"
)

// cache finds what was made for a key before, without a lock and without allocating. An addition copies it: it is for
// many reads of few keys. (sync.Map would put a key made of several fields on the heap for every read.)
type cache[K comparable, V any] struct {
	all atomic.Pointer[map[K]V]

	mu sync.Mutex // serialises additions
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
