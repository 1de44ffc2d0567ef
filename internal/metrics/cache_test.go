package metrics

import (
	"sync"
	"testing"
)

// TestCache: what was put there is found at once, the first for its key counts, and what is removed is gone: whether it was
// copied already or not.
func TestCache(t *testing.T) {
	var c cache[int, int]
	const n = 3000
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for k := range n {
				if v, ok := c.get(k); ok && v != k {
					t.Errorf("%d has %d", k, v)
				}
				if v := c.add(k, k); v != k {
					t.Errorf("%d for %d", v, k)
				}
				if v, ok := c.get(k); !ok || v != k {
					t.Errorf("%d has %d, %v", k, v, ok)
				}
			}
		})
	}
	wg.Wait()
	if v := c.add(n/2, -1); v != n/2 {
		t.Errorf("the second value %d replaces the first", v)
	}
	c.remove(func(k int) bool { return k%2 == 1 })
	for k := range n {
		if _, ok := c.get(k); ok == (k%2 == 1) {
			t.Fatalf("%d is there: %v", k, ok)
		}
	}
}

// TestCacheCopies: keys that come one by one do not cost a copy of all each.
func TestCacheCopies(t *testing.T) {
	var c cache[int, int]
	copies, last := 0, c.all.Load()
	for k := range 10000 {
		c.add(k, k)
		if all := c.all.Load(); all != last {
			copies, last = copies+1, all
		}
	}
	if copies > 100 {
		t.Errorf("%d copies for 10,000 keys", copies)
	}
}
