package store

import (
	"context"
	"slices"
	"testing"
	"time"

	"mrcproxy/internal/store/redistest"
)

// BenchmarkAdmit is one admission at a time, and its release, over the loopback.
func BenchmarkAdmit(b *testing.B) {
	s := redistest.Start(b)
	i := patient(b, redisAt(s), three)
	exact(b, i)
	pl := i.place()
	var took []time.Duration
	got := make(chan Verdict, 1)
	key := uint64(0)
	for b.Loop() {
		key++
		began := time.Now()
		v, ticket := i.Admit(key, pl, []int{50, 50}, time.Second, func(v Verdict) { got <- v })
		if v != Later {
			b.Fatal("without Redis")
		}
		if v := <-got; v != Admitted {
			b.Fatal(v)
		}
		took = append(took, time.Since(began))
		i.Release(ticket)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
	b.ReportMetric(float64(s.Busy("evalsha").Microseconds())/float64(b.N), "redis-us/op")
}

// BenchmarkReassert puts 10,000 leases into Redis, each into two pools, and says what one costs there.
func BenchmarkReassert(b *testing.B) {
	const n = 10000
	s := redistest.Start(b)
	i := patient(b, redisAt(s), three)
	exact(b, i)
	pl := i.place()
	key, busy := uint64(0), s.Busy("evalsha")
	for b.Loop() {
		for range n {
			key++
			i.establish(key)
			i.Hold(key, pl)
		}
		for s.Size(server) < int(key) {
			time.Sleep(time.Millisecond)
		}
	}
	b.ReportMetric(float64((s.Busy("evalsha")-busy).Microseconds())/float64(key), "redis-us/lease")
	b.ReportMetric(float64(s.Client.MemoryUsage(context.Background(), server).Val())/float64(key), "B/member")
}
