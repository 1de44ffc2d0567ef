package transport

import (
	"net"
	"net/netip"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"
)

// Several connections may have one remote address: a peer that uses its own
// port to connect to two of our listeners.
func TestTableSameRemote(t *testing.T) {
	s := &Set{}
	s.table.init()
	remote := netip.MustParseAddrPort("10.0.0.1:5060")
	var conns []*conn
	for i := range 3 {
		c := s.newConn(Flow{Proto: TCP, Local: uint8(i), Remote: remote}, true)
		if s.table.add(c, 3, 3) != entered {
			t.Fatal("not added")
		}
		conns = append(conns, c)
	}
	if got := s.table.add(s.newConn(Flow{Remote: remote}, true), 3, 4); got != full {
		t.Errorf("one over the limit: %d", got)
	}
	if got := s.table.add(s.newConn(Flow{Remote: remote}, true), 4, 3); got != fullSource {
		t.Errorf("one over the source's limit: %d", got)
	}
	p := peer{TCP, remote}
	if s.table.find(p, 1, false) != nil {
		t.Error("what is accepted but not open is found")
	}
	dialled := s.newConn(Flow{Proto: TCP, Local: 3, Remote: remote}, false)
	if s.table.addOr(dialled, 1) != dialled {
		t.Error("not added")
	}
	if s.table.find(p, 1, true) != nil || s.table.find(p, 1, false) != dialled {
		t.Error("one being dialled is not open, but may be waited for")
	}
	if s.table.find(peer{TLS, remote}, 3, false) != nil {
		t.Error("TCP found for TLS")
	}
	conns[0].up.Store(true)
	conns[1].up.Store(true)
	for local, want := range []*conn{conns[0], conns[1]} {
		if s.table.find(p, uint8(local), false) != want {
			t.Errorf("listener %d: not its own connection", local)
		}
	}
	if c := s.table.find(p, 2, false); c == nil || !c.up.Load() {
		t.Error("an open one is better than one being dialled")
	}
	for _, i := range []int{1, 2, 0, 0} { // the middle, the first, the last, again
		s.table.remove(conns[i])
		if s.table.get(conns[i].id()) != nil {
			t.Errorf("connection %d is still there", i)
		}
	}
	s.table.remove(dialled)
	if len(s.table.sources) != 0 {
		t.Errorf("left over: %v", s.table.sources)
	}
	if s.table.find(p, 0, false) != nil || s.table.open() != 0 || s.table.inbound != 0 || len(s.table.byPeer) != 0 {
		t.Errorf("left over: %+v", s.table.byPeer)
	}
}

func TestDialFromWildcardAndIPv6(t *testing.T) {
	s, _ := start(t, Options{Listeners: []Listener{{Proto: TCP, Addr: netip.AddrPortFrom(netip.IPv4Unspecified(), 0)}}})
	addrs := []netip.AddrPort{loopback(3)}
	if c, err := net.Listen("tcp6", "[::1]:0"); err == nil {
		_ = c.Close()
		addrs = append(addrs, netip.MustParseAddrPort("[::1]:0"))
	}
	for i, a := range addrs {
		peer, got := start(t, Options{Listeners: []Listener{{Proto: TCP, Addr: a}}})
		if _, err := s.Send(Flow{Proto: TCP, Remote: peer.Addr(0)}, []byte(message(i))); err != nil {
			t.Fatal(err)
		}
		if m := await(t, got.got); m.msg != message(i) || m.from.Remote.Addr().Is4() != a.Addr().Is4() {
			t.Errorf("got %+v", m)
		}
	}
}

// Running out of file descriptors ends no listener: it takes what waits when
// there are some again.
func TestAcceptWithoutDescriptors(t *testing.T) {
	refused := make(chan string, 100)
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(devNull{}), zap.DebugLevel),
		zap.Hooks(func(e zapcore.Entry) error { refused <- e.Message; return nil }))
	s, r := start(t, Options{Log: log, Listeners: []Listener{{Proto: TCP, Addr: loopback(1)}}})
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)

	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1, Max: limit.Max}); err != nil {
		t.Skip(err)
	}
	to := s.Addr(0)
	err = unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())})
	if err == nil {
		await(t, refused)
	}
	if e := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); e != nil || err != nil {
		t.Fatal(e, err)
	}
	if _, err := unix.Write(fd, []byte(message(1))); err != nil {
		t.Fatal(err)
	}
	if got := await(t, r.got); got.msg != message(1) {
		t.Errorf("got %q", got.msg)
	}
}

type devNull struct{}

func (devNull) Write(b []byte) (int, error) { return len(b), nil }
