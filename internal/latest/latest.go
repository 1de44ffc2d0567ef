// Package latest hands a setting that may change at any time to the one goroutine that works by it.
package latest

import "sync"

// Value is such a setting. Set may be called by anybody, Changed and Get by who works by it.
type Value[T comparable] struct {
	mu      sync.Mutex
	value   T
	changed chan struct{}
}

// New makes one with the zero value of T.
func New[T comparable]() *Value[T] { return &Value[T]{changed: make(chan struct{}, 1)} }

// Set changes the value.
func (v *Value[T]) Set(to T) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if to == v.value {
		return
	}
	v.value = to
	select {
	case v.changed <- struct{}{}:
	default:
	}
}

// Changed has something to receive when Get may give another value than it last did.
func (v *Value[T]) Changed() <-chan struct{} { return v.changed }

// Get is the value that was set last.
func (v *Value[T]) Get() T {
	v.mu.Lock()
	defer v.mu.Unlock()
	select {
	case <-v.changed: // it is seen now
	default:
	}
	return v.value
}
