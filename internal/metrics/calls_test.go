package metrics

import (
	"io"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"mrcproxy/balancer"
	"mrcproxy/internal/session"
	"mrcproxy/proxy"
)

// TestNoAllocation guards the call path.
func TestNoAllocations(t *testing.T) {
	b := farm(t, first)
	m := over(b)
	backend := b.Backends()[0]
	i := &proxy.Invite{Cluster: "ali", Backend: backend, Code: 200, Took: 3 * time.Millisecond, CallID: "call"}
	s := &session.Session{Kind: &session.Kind{Cluster: "ali"}, Start: time.Now(), Lease: take(t, b)}
	for name, f := range map[string]func(){
		"InviteDone":   func() { m.InviteDone(i) },
		"FailedOver":   func() { m.FailedOver("ali", "no_response") },
		"Dropped":      func() { m.Dropped(proxy.DropStray) },
		"Late":         func() { m.Late(backend) },
		"SessionEnded": func() { m.SessionEnded(s, session.ByeClient) },
	} {
		f()
		if n := testing.AllocsPerRun(1000, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

// TestConcurrent: calls, new series and scrapes at once lose no count.
func TestConcurrent(t *testing.T) {
	const workers, rounds = 8, 300
	b := farm(t, first, second)
	m := over(b)
	handler := m.Handler()
	leases := make([]*session.Session, workers)
	for w := range leases {
		leases[w] = &session.Session{Kind: &session.Kind{Cluster: "ali"}, Start: time.Now(), Lease: take(t, b)}
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for n := range rounds {
				m.InviteDone(&proxy.Invite{Cluster: "ali", Backend: b.Backends()[n%2], Code: 200 + n%100})
				m.FailedOver("ali", strconv.Itoa(400+n%100))
				m.Late(b.Backends()[0])
				m.Dropped(proxy.DropStray)
				m.Probed("ali", "sh-a", first.URI, n%2 == 0, time.Millisecond)
				m.SessionEnded(leases[w], session.ByeClient)
				m.Reloaded(n%2 == 0, epoch)
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			for range 20 {
				rec := httptest.NewRecorder()
				handler.ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
				if body, err := io.ReadAll(rec.Body); rec.Code != 200 || err != nil {
					t.Errorf("%d %v %s", rec.Code, err, body)
				}
			}
		})
	}
	wg.Wait()
	sum := 0.0
	for n := range 100 {
		for _, s := range []string{first.URI, second.URI} {
			sum += testutil.ToFloat64(m.invites.WithLabelValues("ali", s, strconv.Itoa(200+n)))
		}
		if got := testutil.ToFloat64(m.failovers.WithLabelValues("ali", strconv.Itoa(400+n))); got != workers*rounds/100 {
			t.Errorf("%d failovers: %v, want %d", 400+n, got, workers*rounds/100)
		}
	}
	if sum != workers*rounds {
		t.Errorf("%v INVITEs, want %d", sum, workers*rounds)
	}
}

func BenchmarkInviteDone(b *testing.B) {
	f := farm(b, first)
	m := over(f)
	i := &proxy.Invite{Cluster: "ali", Backend: f.Backends()[0], Code: 200, Took: 3 * time.Millisecond}
	b.ReportAllocs()
	for b.Loop() {
		m.InviteDone(i)
	}
}

func BenchmarkInviteDoneParallel(b *testing.B) {
	f := farm(b, first)
	m := over(f)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		i := &proxy.Invite{Cluster: "ali", Backend: f.Backends()[0], Code: 200, Took: 3 * time.Millisecond}
		for pb.Next() {
			m.InviteDone(i)
		}
	})
}

func BenchmarkSessionEnded(b *testing.B) {
	f := farm(b, first)
	m := over(f)
	s := &session.Session{Kind: &session.Kind{Cluster: "ali"}, Start: time.Now(), Lease: take(b, f)}
	b.ReportAllocs()
	for b.Loop() {
		m.SessionEnded(s, session.ByeClient)
	}
}

// BenchmarkScrape is a scrape of 40 backends.
func BenchmarkScrape(b *testing.B) {
	var servers []balancer.BackendSpec
	for n := range byte(40) {
		servers = append(servers, server(n+1, 50, 1))
	}
	f := farm(b, servers...)
	m := over(f)
	everything(b, m, f)
	b.ReportAllocs()
	for b.Loop() {
		scrape(b, m)
	}
}

// TestRefusedFromZero: that no server was found is counted from 0 on, so that an alert by increase sees the first refusals, too.
func TestRefusedFromZero(t *testing.T) {
	series(t, over(farm(t, first)), `mrcproxy_invites_total{backend="",cluster="ali",code="480"} 0
		mrcproxy_invites_total{backend="",cluster="ali",code="503"} 0`, "mrcproxy_invites_total")
}
