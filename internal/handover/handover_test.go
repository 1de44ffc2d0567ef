package handover

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"mrcproxy/proxy"
	"mrcproxy/proxy/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// engine is an Engine over a real transport.Set that nobody reads.
type engine struct {
	*transport.Set
	generations []proxy.Generation
	mu          sync.Mutex
	send        func(transport.Flow, []byte) error
	got         chan string
	did         chan string
}

func newEngine(t *testing.T) *engine {
	t.Helper()
	e := &engine{got: make(chan string, 10), did: make(chan string, 10)}
	loopback := netip.MustParseAddrPort("127.0.0.1:0")
	var err error
	e.Set, err = transport.Listen(transport.Options{Handler: e, Listeners: []transport.Listener{{Proto: transport.UDP, Addr: loopback}, {Proto: transport.TCP, Addr: loopback}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func (e *engine) Receive(msg []byte, from transport.Flow) {
	e.got <- "message " + string(msg) + " " + from.Remote.String() + " at " + string('0'+rune(from.Local))
}

func (e *engine) Unreachable(head []byte, to netip.AddrPort, err error) {
	e.got <- "unreachable " + string(head) + " " + to.String() + " " + err.Error()
}

func (e *engine) Closed(_ uint64, remote netip.AddrPort, err error) {
	e.got <- "closed " + remote.String() + " " + err.Error()
}

func (e *engine) Malformed(transport.Flow, string) {}

func (e *engine) Halt(_ []bool, send func(transport.Flow, []byte) error) []transport.Stream {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.send = send
	e.did <- "halt"
	return nil
}

func (e *engine) Generations() []proxy.Generation   { return e.generations }
func (e *engine) Resume([]bool, []transport.Stream) { e.did <- "resume" }
func (e *engine) Leave([]transport.Stream)          { e.did <- "leave" }
func await[T any](t *testing.T, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came")
	}
	return v
}

// serve runs a Server for e at a path that it returns.
func serve(t *testing.T, e *engine) (path string, left chan int, logged *observer.ObservedLogs) {
	t.Helper()
	core, logged := observer.New(zap.InfoLevel)
	path, left = filepath.Join(t.TempDir(), "s"), make(chan int, 1)
	s, err := Listen(Options{Path: path, Engine: e, Kept: true, Log: zap.New(core), Left: func(pid int) { left <- pid },
		Halted: func() { e.did <- "halted" }, Resumed: func() { e.did <- "resumed" }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(path, zap.NewNop()); !errors.Is(err, ErrNobody) {
		t.Errorf("before Appear: %v", err)
	}
	if err := s.Appear(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := await(t, done); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return path, left, logged
}

// TestConversation is a hand-over from hello to the end of the old process, with the listeners in another order at the new.
func TestConversation(t *testing.T) {
	e := newEngine(t)
	many := proxy.Generation{Epoch: 7, Seed: 8}
	for k := range uint64(3*keysInPacket + 5) {
		many.Keys = append(many.Keys, k*k)
	}
	e.generations = []proxy.Generation{many, {Epoch: 9, Seed: 10}}
	path, left, _ := serve(t, e)
	p, err := Dial(path, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if len(p.Listeners) != 2 || p.Listeners[0].Proto != transport.UDP || p.Listeners[1].Proto != transport.TCP || p.Listeners[1].Addr != e.Addr(1) || p.PID != os.Getpid() || !p.Kept {
		t.Fatalf("offered %+v by %d", p.Listeners, p.PID)
	}
	pc, err := net.FilePacketConn(p.Listeners[0].Files[0])
	if err != nil || pc.LocalAddr().String() != e.Addr(0).String() {
		t.Fatalf("%v, %v", pc, err)
	}
	_ = pc.Close()
	got, err := p.Take([]int{1, -1, 0})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Generations) != 2 || len(got.Generations[0].Keys) != len(many.Keys) || got.Generations[0].Keys[20000] != many.Keys[20000] ||
		got.Generations[1].Epoch != 9 || got.Generations[1].Seed != 10 {
		t.Errorf("generations %d", len(got.Generations))
	}
	for _, want := range []string{"halt", "halted"} {
		if did := await(t, e.did); did != want {
			t.Errorf("%s, want %s", did, want)
		}
	}
	if err := p.Serving(); err != nil {
		t.Fatal(err)
	}
	if did := await(t, e.did); did != "leave" {
		t.Error(did)
	}
	if pid := await(t, left); pid != os.Getpid() {
		t.Errorf("pid %d", pid)
	}
	sent := make(chan string, 10)
	over := make(chan struct{})
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		p.Run(ctx, func(f transport.Flow, b []byte) { sent <- string(b) + " at " + string('0'+rune(f.Local)) })
		close(over)
	}()
	remote := netip.MustParseAddrPort("[fe80::1%eth0]:5060")
	p.Receive([]byte("INVITE"), transport.Flow{Proto: transport.UDP, Local: 2, Remote: remote})
	p.Receive([]byte("at a new listener"), transport.Flow{Proto: transport.UDP, Local: 1, Remote: remote})
	p.Unreachable([]byte("head"), remote, syscall.ECONNREFUSED)
	p.Closed(3, remote, errors.New("gone"))
	for _, want := range []string{"message INVITE " + remote.String() + " at 0", "unreachable head " + remote.String() + " connection refused", "closed " + remote.String() + " gone"} {
		if m := await(t, e.got); m != want {
			t.Errorf("%q, want %q", m, want)
		}
	}
	if err := e.send(transport.Flow{Proto: transport.TCP, Local: 1, Conn: 5}, []byte("200 OK")); err != nil {
		t.Error(err)
	}
	if m := await(t, sent); m != "200 OK at 0" {
		t.Error(m)
	}
	stop()
	await(t, over)
	if _, err := Dial(path, zap.NewNop()); !errors.Is(err, ErrNobody) {
		t.Errorf("after the hand-over: %v", err)
	}
}

// TestChangeOfMind: the old process goes on, whenever the new one gives up, and can be asked again.
func TestChangeOfMind(t *testing.T) {
	e := newEngine(t)
	path, left, logged := serve(t, e)
	for _, halted := range []bool{false, true} {
		p, err := Dial(path, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		if halted {
			if _, err := p.Take([]int{0, 1}); err != nil {
				t.Fatal(err)
			}
		}
		p.Close()
		for _, want := range []string{"halt", "halted", "resumed", "resume"} {
			if !halted {
				break
			}
			if did := await(t, e.did); did != want {
				t.Errorf("%s, want %s", did, want)
			}
		}
	}
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Net: "unixpacket", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l := newLink(c)
	if err := l.writeJSON(kindHello, greeting{version + 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.expect(kindListener, time.Second*10); err == nil || !strings.Contains(err.Error(), "version") {
		t.Errorf("another version: %v", err)
	}
	if len(left) != 0 || len(e.did) != 0 {
		t.Error("it has left")
	}
	for begun := time.Now(); logged.FilterMessage("hand-over failed, this process goes on").Len() < 3; time.Sleep(time.Millisecond) {
		if time.Since(begun) > 10*time.Second {
			t.Fatalf("logged %v", logged.All())
		}
	}
}

// TestWhoMay: the socket is its user's alone.
func TestWhoMay(t *testing.T) {
	path, _, _ := serve(t, newEngine(t))
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	_, err = Listen(Options{Path: filepath.Join("/proc", "nowhere", "s")})
	if err == nil {
		t.Error("a folder that cannot be made")
	}
}

// FuzzFlow: what does not decode is an error, and what does, decodes as it was.
func FuzzFlow(f *testing.F) {
	for _, remote := range []string{"127.0.0.1:5060", "[2001:db8::1]:1", "[fe80::1%eth0]:65535"} {
		f.Add(append(appendFlow(nil, transport.Flow{Proto: transport.TCP, Local: 3, Conn: 1 << 60, Remote: netip.MustParseAddrPort(remote)}), "INVITE"...))
	}
	f.Add([]byte{2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		flow, rest, err := cutFlow(b)
		if err != nil {
			return
		}
		again, rest2, err := cutFlow(append(appendFlow(nil, flow), rest...))
		if err != nil || again != flow || string(rest2) != string(rest) {
			t.Errorf("%v %q, then %v %q, %v", flow, rest, again, rest2, err)
		}
	})
}
