package session

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"mrcproxy/balancer"
)

// TestMemory bounds what one session holds beyond its lease: a proxy has tens of thousands for minutes.
func TestMemory(t *testing.T) {
	const n, most = 20000, 600
	b := backends(t, balancer.Unlimited)
	tb := NewTable(time.Hour, func(*Session, Reason) {})
	leases := make([]*balancer.Lease, n)
	for i := range leases {
		leases[i] = lease(t, b)
	}
	backend := leases[0].Backend()
	before := heap()
	for i, l := range leases {
		id := fmt.Sprintf("e5fc2843-608f-1240-a785-%012x", i)
		s := &Session{CallID: id, Route: "asr", Cluster: "asr", Attempts: []Attempt{{backend, "200", time.Millisecond}}, Start: time.Now(), Lease: l}
		if !tb.Add(Key([]byte(id), []byte("tag"), 1), s, 10*time.Minute) {
			t.Fatal("duplicate")
		}
	}
	each := int64(heap()-before) / n
	t.Logf("%d bytes a session", each)
	if each > most {
		t.Errorf("%d bytes a session, want at most %d", each, most)
	}
	runtime.KeepAlive(leases)
	runtime.KeepAlive(tb)
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkSession is the life of a session: Add, a refresh, End.
func BenchmarkSession(b *testing.B) {
	bal := backends(b, balancer.Unlimited)
	tb := NewTable(time.Hour, func(*Session, Reason) {})
	b.ReportAllocs()
	i := uint64(0)
	for b.Loop() {
		i++
		key := i<<32 | 1
		tb.Add(key, &Session{Lease: lease(b, bal)}, 10*time.Minute)
		tb.Refresh(key, 10*time.Minute)
		tb.End(key, ByeClient)
	}
}

func BenchmarkKey(b *testing.B) {
	b.ReportAllocs()
	id, tag := []byte("24d8ae0e-2f4e-123c-3e9f-0242ac110003"), []byte("3cKUNm0ZeKmrD")
	for b.Loop() {
		Key(id, tag, 1)
	}
}
