package journal

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"mrcproxy/balancer"
	"mrcproxy/internal/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// process is what one life of the daemon has: a balancer, a table, a journal in a file that outlives it.
type process struct {
	t    *testing.T
	bal  *balancer.Balancer
	tab  *session.Table
	j    *Journal
	log  *observer.ObservedLogs
	ends []string
}

func uri(n int) string { return fmt.Sprintf("sip:10.0.0.%d:8060", n) }

// startWith is a process whose configuration has these servers.
func startWith(t *testing.T, path string, servers ...int) *process {
	t.Helper()
	p := &process{t: t, bal: balancer.New()}
	p.configure(servers...)
	p.tab = session.NewTable(session.Options{Longest: time.Hour, Journaled: true, OnEnd: func(s *session.Session, why session.Reason) {
		p.ends = append(p.ends, s.CallID+" "+why.String())
	}})
	core, logs := observer.New(zap.InfoLevel)
	p.log = logs
	p.j = New(Options{Path: path, Table: p.tab, Servers: p.bal, Log: zap.New(core)})
	p.j.Open()
	p.tab.Tick()
	t.Cleanup(p.close)
	return p
}

// close gives the lock on the file back, as the end of a process does.
func (p *process) close() {
	for _, db := range []**bbolt.DB{&p.j.db, &p.j.old} {
		if *db != nil {
			_ = guard((*db).Close)
		}
		*db = nil
	}
}

func (p *process) configure(servers ...int) {
	p.t.Helper()
	g := balancer.GroupSpec{IDC: "a"}
	for _, n := range servers {
		g.Backends = append(g.Backends, balancer.BackendSpec{
			URI: uri(n), Network: "udp", Addr: netip.MustParseAddrPort(uri(n)[4:]), Capacity: 3, Weight: 1,
		})
	}
	if err := p.bal.Apply(balancer.Spec{Clusters: []balancer.ClusterSpec{{Name: "asr", Groups: []balancer.GroupSpec{g}}}}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) key(id string) uint64 { return session.Key([]byte(id), []byte("tag"), 1) }

// add establishes a session; expires 0: it has no timer.
func (p *process) add(id string, expires time.Duration) {
	p.t.Helper()
	l, why := p.bal.Pick(balancer.Request{Cluster: "asr", Now: time.Now()})
	if l == nil {
		p.t.Fatal(why)
	}
	s := &session.Session{
		Kind: p.tab.Kind(session.Kind{Route: "all", Cluster: "asr", Resource: "speechrecog"}), CallID: id, Client: netip.MustParseAddrPort("[2001:db8::1]:5090"),
		Attempts: []session.Attempt{{Backend: l.Backend(), Outcome: "200", Took: 3 * time.Millisecond}}, Start: time.Now(), Setup: 5 * time.Millisecond,
		Lease: l, Dialog: "cookie\nfrom\nto",
	}
	if !p.tab.Add(p.key(id), s, expires) || !p.tab.Confirm(p.key(id)) {
		p.t.Fatalf("%s is not taken", id)
	}
}

// held lists the sessions, and the counts of the servers.
func (p *process) held() string {
	all, _ := p.tab.List(nil, 0, 1e6)
	var l []string
	for _, s := range all {
		l = append(l, s.CallID)
	}
	slices.Sort(l)
	for _, v := range p.bal.View() {
		if v.Sessions > 0 {
			l = append(l, fmt.Sprintf("%s=%d", strings.TrimPrefix(v.URI, "sip:10.0.0."), v.Sessions))
		}
		if v.Removed {
			l = append(l, "removed")
		}
	}
	return strings.Join(l, " ")
}

func (p *process) want(held string) {
	p.t.Helper()
	if got := p.held(); got != held {
		p.t.Errorf("held: %s\nwant: %s\nlog: %v", got, held, p.log.All())
	}
}

func (p *process) said(message string) bool { return p.log.FilterMessage(message).Len() > 0 }

const (
	unusable = "the journal cannot be used, it is tried again: a restart would not find the sessions"
	ruined   = "the journal is damaged: a new one is begun, sessions that were only in it are not counted"
)

// TestRestart: what was flushed is back after a kill, with all that it had; what has ended, or was not flushed, is not.
func TestRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sessions.db")
	p := startWith(t, path, 1, 2)
	for _, id := range []string{"a", "b", "c", "d"} {
		p.add(id, 10*time.Minute)
	}
	p.add("e", 0)
	p.tab.End(p.key("d"), session.ByeClient) // never written
	p.j.flush()
	p.tab.Refresh(p.key("b"), 20*time.Minute)
	p.tab.End(p.key("c"), session.ByeServer)
	p.j.flush()
	p.add("late", time.Minute)
	p.close()

	next := startWith(t, path, 1, 2)
	next.want("a b e 1:8060=2 2:8060=1")
	all, _ := p.tab.List(nil, 0, 10)
	now, _ := next.tab.List(nil, 0, 10)
	for _, is := range now {
		was := all[slices.IndexFunc(all, func(s *session.Session) bool { return s.CallID == is.CallID })]
		if *was.Kind != *is.Kind || was.Client != is.Client || was.Setup != is.Setup || was.Dialog != is.Dialog || was.Key() != is.Key() || was.Backend().URI() != is.Backend().URI() ||
			was.Start.UnixMilli() != is.Start.UnixMilli() || len(is.Attempts) != 1 || is.Attempts[0].Outcome != "200" || is.Attempts[0].Took != 3*time.Millisecond || !is.Confirmed() {
			t.Errorf("was %+v\nis %+v", was, is)
		}
		if d := was.Expires().Sub(is.Expires()); d > 2*time.Second || d < -2*time.Second {
			t.Errorf("%s expires %v, was to %v", is.CallID, is.Expires(), was.Expires())
		}
	}
	for _, id := range []string{"a", "b", "e"} {
		next.tab.End(next.key(id), session.ByeClient)
	}
	next.want("")
	next.j.flush()
	next.close()
	startWith(t, path, 1, 2).want("")
}

// TestExpiredMeanwhile: a session whose time passed while nobody was there ends at the start, with a line of its own.
func TestExpiredMeanwhile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sessions.db")
	p := startWith(t, path, 1)
	p.add("short", 30*time.Millisecond)
	p.add("long", time.Minute)
	p.j.flush()
	p.close()
	time.Sleep(100 * time.Millisecond) // the wall clock is what counts
	next := startWith(t, path, 1)
	next.want("long 1:8060=1")
	if got := strings.Join(next.ends, ", "); got != "short expired" {
		t.Errorf("ended: %s", got)
	}
}

// TestRemovedBackend: sessions at a server that is not configured any more are counted there, and count again when it is.
func TestRemovedBackend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sessions.db")
	p := startWith(t, path, 1)
	p.add("a", 0)
	p.add("b", 0)
	p.j.flush()
	p.close()
	next := startWith(t, path, 2)
	next.want("a b 1:8060=2 removed")
	next.tab.End(next.key("a"), session.ByeClient)
	next.want("b 1:8060=1 removed")
	next.configure(1, 2)
	next.want("b 1:8060=1")
	next.configure(2)
	next.tab.End(next.key("b"), session.ByeClient)
	next.want("")
	next.j.flush()
	next.close()
	if got := startWith(t, path, 2).held(); got != "" {
		t.Errorf("held: %s", got)
	}
}

// TestLockedFile: while another process has the file, this one serves without; what it finds then joins what it has, and
// what has ended here meanwhile does not come back.
func TestLockedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sessions.db")
	p := startWith(t, path, 1, 2)
	p.add("a", 0)
	p.add("b", 0)
	p.j.flush()
	next := startWith(t, path, 1, 2)
	next.want("")
	if !next.said(unusable) || next.j.Stats().Up {
		t.Errorf("log: %v", next.log.All())
	}
	next.add("new", 0)
	next.tab.Restore(next.key("b"), &session.Session{CallID: "b", Start: time.Now(), Lease: next.bal.Adopt(next.bal.Backends()[0])}, time.Time{}) // learned
	next.tab.End(next.key("b"), session.ByeClient)
	next.j.flush()
	p.close()
	next.j.flush()
	next.want("a new 1:8060=2")
	if !next.j.Stats().Up {
		t.Error("not up")
	}
	next.close()
	startWith(t, path, 1, 2).want("a new 1:8060=2")
}

// restoreNew adds a session beyond the capacity.
func (p *process) restoreNew(id string) {
	p.t.Helper()
	b := p.bal.Backends()[0]
	if !p.tab.Add(p.key(id), &session.Session{Kind: &session.Kind{}, CallID: id, Start: time.Now(), Lease: p.bal.Adopt(b)}, time.Hour) {
		p.t.Fatal(id)
	}
}

// TestNoDirectory: a folder that cannot be made costs the journal and nothing else; when it can be, everything
// is written.
func TestNoDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	path := filepath.Join(dir, "sessions.db")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := startWith(t, path, 1)
	p.add("a", 0)
	for range 3 {
		p.j.pause = time.Time{}
		p.j.flush()
		p.j.flush() // paused
	}
	if n := p.log.FilterMessage(unusable).Len(); n != 1 || p.j.Stats().Up || p.j.Stats().Failures != 4 {
		t.Errorf("said %d times, %+v", n, p.j.Stats())
	}
	p.j.pause = time.Time{}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	p.j.flush()
	p.close()
	startWith(t, path, 1).want("a 1:8060=1")
}

// TestWriteFails: what could not be written is written later, and not tried all the time.
func TestWriteFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sessions.db")
	p := startWith(t, path, 1)
	p.add("gone", 0)
	p.j.flush()
	if err := p.j.db.Close(); err != nil {
		t.Fatal(err)
	}
	p.add("a", 0)
	p.tab.End(p.key("gone"), session.ByeClient)
	for range 3 {
		p.j.flush()
	}
	if s := p.j.Stats(); s.Failures != 1 || s.Up || p.log.FilterMessage(unusable).Len() != 1 {
		t.Errorf("%+v, log: %v", s, p.log.All())
	}
	var err error
	if p.j.db, err = open(path); err != nil {
		t.Fatal(err)
	}
	p.j.pause = time.Time{} // it is over
	p.add("b", 0)
	p.j.flush()
	if !p.j.Stats().Up {
		t.Error("not up")
	}
	p.close()
	startWith(t, path, 1).want("a b 1:8060=2")
}

// TestRun writes by itself, and once more at its end.
func TestRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sessions.db")
	p := startWith(t, path, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.j.Run(ctx) }()
	p.add("a", 0)
	before := p.j.Stats().Bytes
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if put, _ := p.tab.Changes(false); len(put) == 0 {
			break
		}
		p.tab.Refresh(p.key("a"), 0)
		if time.Now().After(end) {
			t.Fatal("not written")
		}
	}
	p.add("b", 0)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	p.j.db = nil
	t.Logf("%d bytes, then %d", before, p.j.Stats().Bytes)
	startWith(t, path, 1).want("a b 1:8060=2")
}

// BenchmarkOpen is a start with 100,000 sessions in the file.
func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "sessions.db")
	bal := balancer.New()
	open := func() *Journal {
		tab := session.NewTable(session.Options{Longest: time.Hour, Journaled: true, OnEnd: func(*session.Session, session.Reason) {}})
		j := New(Options{Path: path, Table: tab, Servers: bal, Log: zap.NewNop()})
		j.Open()
		return j
	}
	j := open()
	server := balancer.BackendSpec{URI: uri(1), Network: "udp", Addr: netip.MustParseAddrPort(uri(1)[4:]), Weight: 1}
	for i := range 100000 {
		id := fmt.Sprintf("e5fc2843-608f-1240-a785-%012x", i)
		s := &session.Session{Kind: j.o.Table.Kind(session.Kind{Route: "asr"}), CallID: id, Start: time.Now(), Lease: bal.Recall("asr", "a", server),
			Client: netip.MustParseAddrPort("10.1.2.3:5090"), Dialog: strings.Repeat("x", 150)}
		j.o.Table.Add(session.Key([]byte(id), nil, 1), s, time.Hour)
	}
	j.flush()
	for b.Loop() {
		_ = j.db.Close()
		j = open()
		j.flush()
		if j.o.Table.Len() != 100000 {
			b.Fatal(j.o.Table.Len())
		}
	}
	b.ReportMetric(float64(j.Stats().Bytes)/1e6, "MB")
	_ = j.db.Close()
}
