package transaction

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// TestTableConcurrent has goroutines open, find, arm and close while the owner ticks and visits: each pair is closed once.
func TestTableConcurrent(t *testing.T) {
	tb := NewTable[int](500, 1<<20, 0)
	var now, opened, closed atomic.Int64
	fire := func(s *Shard[int], p *Pair[int]) {
		if p.Data == 0 {
			t.Error("the timer of a closed pair")
		}
		closed.Add(1)
		s.Close(p)
	}
	var workers, owner sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for i := range 5000 {
				key := rand.Uint64() | 1
				s := tb.Shard(key)
				s.Lock()
				if p := s.Open(key, true); p != nil {
					opened.Add(1)
					p.Data = i + 1
					s.Arm(p, now.Load()+rand.Int64N(200))
					buf := s.Keep([]byte("message"))
					if rand.IntN(2) == 0 {
						closed.Add(1)
						s.Close(p)
					}
					s.Drop(&buf)
				}
				s.Unlock()
				id := ID(rand.Uint64N(1 << 36))
				o := tb.ShardOf(id)
				o.Lock()
				if p := o.Get(id); p != nil && (p.ID != id || p.Data == 0) {
					t.Errorf("%x found %x", id, p.ID)
				}
				o.Unlock()
			}
		})
	}
	stop := make(chan struct{})
	owner.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				tb.Tick(now.Add(7), fire)
				tb.Each(func(*Shard[int], *Pair[int]) {})
				_ = tb.Len()
			}
		}
	})
	workers.Wait()
	close(stop)
	owner.Wait()
	tb.Tick(now.Load()+1000, fire)
	if tb.Len() != 0 || opened.Load() != closed.Load() || opened.Load() == 0 {
		t.Errorf("%d pairs left; %d opened, %d closed", tb.Len(), opened.Load(), closed.Load())
	}
}

// BenchmarkTable is the life of a transaction in a table that has warmed up.
func BenchmarkTable(b *testing.B) {
	tb := NewTable[[64]byte](1<<20, 1<<20, 0)
	msg := make([]byte, 400)
	b.ReportAllocs()
	i := uint64(0)
	for b.Loop() {
		i++
		s := tb.Shard(i << 32)
		s.Lock()
		p := s.Open(i<<32|1, true)
		buf := s.Keep(msg)
		s.Arm(p, Time(i>>8)+Lifetime)
		s.Drop(&buf)
		s.Close(p)
		s.Unlock()
	}
}

// TestNoAllocations holds the steady state to what the benchmark shows.
func TestNoAllocations(t *testing.T) {
	tb := NewTable[[64]byte](100, 1<<20, 0)
	s := tb.Shard(0)
	msg, due := make([]byte, 1500), Time(0)
	if n := testing.AllocsPerRun(1000, func() {
		p := s.Open(77, true)
		buf := s.Keep(msg)
		due += 3
		s.Arm(p, due)
		s.Drop(&buf)
		s.Close(p)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
