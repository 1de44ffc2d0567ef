package session

import (
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"mrcproxy/balancer"
)

// TestMemory bounds what one session holds, its lease and all its strings included: a proxy has tens of thousands for minutes.
// The table writes down its changes, and each session can be ended on its behalf.
func TestMemory(t *testing.T) {
	const n, most = 20000, 600
	b := backends(t, balancer.Unlimited)
	tb := NewTable(Options{Longest: time.Hour, OnEnd: func(*Session, Reason) {}, Journaled: true})
	client := netip.MustParseAddrPort("10.1.2.3:5090")
	before := heap()
	for i := range n {
		l := lease(t, b)
		id := fmt.Sprintf("e5fc2843-608f-1240-a785-%012x", i)
		s := &Session{
			Kind:   tb.Kind(Kind{Route: strings.Clone("asr"), Cluster: strings.Clone("asr"), Resource: "speechrecog"}),
			CallID: id, Client: client, Start: time.Now(), Lease: l,
			Dialog: fmt.Sprintf("%047d\n<sip:10.1.2.3:5090>;tag=3cKUNm0ZeKmrD\n<sip:10.1.0.5:5060>;tag=fa2f23d04aba4d19", i),
		}
		s.Tried([]Attempt{{l.Backend(), "200", time.Millisecond}})
		key := Key([]byte(id), []byte("tag"), 1)
		if !tb.Add(key, s, 10*time.Minute) || !tb.Confirm(key) {
			t.Fatal("duplicate")
		}
		if i%1000 == 0 {
			tb.Changes(false)
		}
	}
	each := int64(heap()-before) / n
	t.Logf("%d bytes a session", each)
	if each > most {
		t.Errorf("%d bytes a session, want at most %d", each, most)
	}
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
	tb := NewTable(Options{Longest: time.Hour, OnEnd: func(*Session, Reason) {}})
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
