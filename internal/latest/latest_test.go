package latest

import (
	"testing"
	"time"
)

func changed(v *Value[int]) bool {
	select {
	case <-v.Changed():
		return true
	default:
		return false
	}
}

// TestValue: a change is said once, the same value is none, and what Get has seen is not said any more.
func TestValue(t *testing.T) {
	v := New[int]()
	if v.Set(0); v.Get() != 0 || changed(v) {
		t.Error("changed from the beginning")
	}
	v.Set(1)
	v.Set(2)
	if !changed(v) || changed(v) || v.Get() != 2 {
		t.Errorf("not changed once to 2: %d", v.Get())
	}
	if v.Set(2); changed(v) {
		t.Error("changed by the same value")
	}
	if v.Set(3); v.Get() != 3 || changed(v) {
		t.Error("changed after it was seen")
	}
}

// TestLast: whoever waits for changes ends with the last value.
func TestLast(t *testing.T) {
	v := New[int]()
	go func() {
		for n := range 1000 {
			v.Set(n + 1)
		}
	}()
	for end := time.After(10 * time.Second); v.Get() != 1000; {
		select {
		case <-v.Changed():
		case <-end:
			t.Fatalf("still %d", v.Get())
		}
	}
}
