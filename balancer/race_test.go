package balancer

import (
	"fmt"
	"math/rand"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func clusters(capacity int) Spec {
	s := Spec{IDC: "a"}
	for i, name := range []string{"c", "d"} {
		s.Clusters = append(s.Clusters, ClusterSpec{
			Name: name, Policy: Policy(i), Fallback: []string{"d", "c"},
			Groups: []GroupSpec{{IDC: "a", Backends: servers(3, capacity, 1)}, {IDC: "b", Backends: []BackendSpec{server(4, capacity, 1)}}},
		})
	}
	return s
}

func TestCapacityHoldsUnderConcurrency(t *testing.T) {
	const capacity, workers = 7, 16
	b := with(t, clusters(capacity))
	live := make(map[*Backend]*atomic.Int64)
	for _, be := range b.Backends() {
		live[be] = new(atomic.Int64)
	}
	var given, released atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			rnd := rand.New(rand.NewSource(int64(w)))
			var mine []*Lease
			end := func(l *Lease) {
				live[l.Backend()].Add(-1) // before the place is given back
				var both sync.WaitGroup
				for range 2 {
					both.Go(func() {
						if l.Release() {
							released.Add(1)
						}
					})
				}
				both.Wait()
			}
			for range 2000 {
				if l, _ := b.Pick(Request{Cluster: []string{"c", "d"}[rnd.Intn(2)], Now: t0}); l != nil {
					given.Add(1)
					if n := live[l.Backend()].Add(1); n > capacity {
						t.Errorf("%s has %d sessions", l.Backend().URI(), n)
					}
					mine = append(mine, l)
				}
				if len(mine) > rnd.Intn(10) {
					end(mine[0])
					mine = mine[1:]
				}
			}
			for _, l := range mine {
				end(l)
			}
		})
	}
	wg.Wait()
	if given.Load() != released.Load() {
		t.Errorf("%d leases, %d releases", given.Load(), released.Load())
	}
	for _, v := range b.View() {
		if v.Sessions != 0 {
			t.Errorf("%s has %d sessions left", v.URI, v.Sessions)
		}
	}
}

// While the configuration changes all the time, a cluster with room never refuses, and no session is lost or left.
func TestApplyUnderConcurrency(t *testing.T) {
	b := New()
	half := func(even bool) Spec {
		s := clusters(Unlimited)
		for i := range s.Clusters {
			if even { // no server in common
				s.Clusters[i].Groups = s.Clusters[i].Groups[:1]
				s.Clusters[i].Groups[0].Backends = servers(8, Unlimited, 2)[4:]
			}
		}
		return s
	}
	apply(t, b, half(false))
	var pickers, others sync.WaitGroup
	stop := make(chan struct{})
	others.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				apply(t, b, half(i%2 == 0))
			}
		}
	})
	others.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = b.View(), b.Available("", t0)
			}
		}
	})
	for range 8 {
		pickers.Go(func() {
			var mine []*Lease
			for i := range 3000 {
				l, r := b.Pick(Request{Cluster: "c", Now: t0})
				if l == nil {
					t.Errorf("refused: %v", r)
					return
				}
				if mine = append(mine, l); i%3 == 0 {
					mine[0].Release()
					mine = mine[1:]
				}
			}
			for _, l := range mine {
				l.Release()
			}
		})
	}
	pickers.Wait()
	close(stop)
	others.Wait()
	apply(t, b, Spec{})
	if len(b.View()) != 0 || len(b.clusters) != 0 {
		t.Errorf("left over: %+v", b.View())
	}
}

// BenchmarkPickRelease has half of the places taken: an idle cluster would be cheaper.
func BenchmarkPickRelease(b *testing.B) {
	for p := range policies {
		for _, n := range []int{8, 64, 1000} {
			b.Run(fmt.Sprintf("%v/%d", Policy(p), n), func(b *testing.B) {
				bal := with(b, single(Policy(p), servers(n, 50, 1)...))
				for i := range 25 * n {
					mustPick(b, bal, "c")
					bal.Observe(bal.Backends()[i%n], time.Duration(1+i%7)*time.Millisecond)
				}
				b.ReportAllocs()
				h := uint64(0)
				for b.Loop() {
					h++
					l, _ := bal.Pick(Request{Cluster: "c", Now: t0, Hash: h})
					l.Release()
				}
			})
		}
	}
}

// BenchmarkPickReleaseParallel has every processor in one cluster, and each in one of its own.
func BenchmarkPickReleaseParallel(b *testing.B) {
	for _, own := range []bool{false, true} {
		b.Run(map[bool]string{false: "one cluster", true: "own cluster"}[own], func(b *testing.B) {
			var s Spec
			for i := range 64 {
				s.Clusters = append(s.Clusters, ClusterSpec{Name: fmt.Sprint("c", i), Groups: []GroupSpec{{Backends: servers(64, 50, 1)}}})
			}
			bal := with(b, s)
			var next atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				name := "c0"
				if own {
					name = fmt.Sprint("c", next.Add(1)%64)
				}
				for pb.Next() {
					if l, _ := bal.Pick(Request{Cluster: name, Now: t0}); l != nil {
						l.Release()
					}
				}
			})
		})
	}
}

func BenchmarkPickRefused(b *testing.B) {
	bal := with(b, single(LeastLoad, servers(8, 0, 1)...))
	b.ReportAllocs()
	for b.Loop() {
		_, _ = bal.Pick(Request{Cluster: "c", Now: t0})
	}
}
