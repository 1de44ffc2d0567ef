package transport

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// holdEnv makes the test binary a process that only holds connections: their
// number, protocol and where to, with spaces between.
const holdEnv = "MRCPROXY_TEST_HOLD"

// hold opens connections, says so, and holds them until its standard input ends.
// They come from 50 addresses.
func hold(what string) {
	var n int
	var proto, to string
	if _, err := fmt.Sscan(what, &n, &proto, &to); err != nil {
		fmt.Println(err)
		return
	}
	addr := netip.MustParseAddrPort(to)
	var kept []*tls.Conn
	for i := range n {
		var err error
		if proto == "TLS" {
			var c *tls.Conn
			d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(loopback(byte(100 + i%50)))}
			c, err = tls.DialWithDialer(&d, "tcp", to, &tls.Config{InsecureSkipVerify: true})
			kept = append(kept, c)
		} else {
			err = holdOne(byte(100+i%50), addr)
		}
		if err != nil {
			fmt.Printf("connection %d: %v\n", i, err)
			return
		}
	}
	fmt.Println("held")
	_, _ = io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(kept)
}

func holdOne(from byte, to netip.AddrPort) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: loopback(from).Addr().As4()}); err != nil {
		return err
	}
	return unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())})
}

// crowd has another process open n connections, and returns what closes them.
func crowd(t testing.TB, n int, proto Proto, to netip.AddrPort) (leave func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s %s", holdEnv, n, proto, to))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said, _ := bufio.NewReader(out).ReadString('\n')
	leave = func() {
		_ = in.Close()
		_ = cmd.Wait()
	}
	if strings.TrimSpace(said) != "held" {
		leave()
		t.Fatalf("the crowd: %s", said)
	}
	return leave
}

// descriptors sees to it that this process may open n files.
func descriptors(t testing.TB, n uint64) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur >= n {
		return
	}
	raised := unix.Rlimit{Cur: n, Max: max(limit.Max, n)}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &raised); err != nil {
		t.Skipf("%d open files are needed, %d are allowed, and more are not granted: %v", n, limit.Max, err)
	}
	t.Cleanup(func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) })
}

// counter is a Handler that answers messages with themselves, and counts.
type counter struct {
	quiet
	set   atomic.Pointer[Set]
	ended atomic.Int64
}

func (h *counter) Receive(msg []byte, from Flow) {
	if s := h.set.Load(); s != nil {
		_, _ = s.Send(from, msg)
	}
}

func (h *counter) Closed(uint64, netip.AddrPort, error) { h.ended.Add(1) }

// inUse is the memory that the process holds for live objects and stacks.
func inUse() int64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// until waits for what takes a crowd long.
func until(t testing.TB, what string, reached func() bool) {
	t.Helper()
	for begun := time.Now(); !reached(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > 6*patience {
			t.Fatal("it never came to: " + what)
		}
	}
}

// Ten thousand connections that say nothing: others are served as ever, within
// the default limits, and the memory comes back when they are gone.
func TestCrowdOfIdleConnections(t *testing.T) {
	n := 10000
	if raceEnabled {
		n = 4000 // the race detector ends a process of more than 8128 goroutines
	}
	descriptors(t, uint64(n)+1000)
	ca := newAuthority(t, "ca")
	h := &counter{}
	s, _ := start(t, Options{Handler: h, FirstMessageTimeout: -1, Listeners: []Listener{
		{Proto: TCP, Addr: loopback(1)}, ca.listen(t, loopback(1))}})
	h.set.Store(s)
	good := connect(t, s.Addr(0))
	trip := func(i int) {
		t.Helper()
		write(t, good, message(i))
		expect(t, good, message(i))
	}
	trip(0)
	before := inUse()
	leave := crowd(t, n, TCP, s.Addr(0))
	defer leave()
	until(t, "all accepted", func() bool { return s.Stats().Open == int64(n)+1 })
	begun := time.Now()
	for i := range 1000 {
		trip(i)
	}
	took := time.Since(begun) / 1000
	during := inUse()
	if st := s.Stats(); st.Buffered != int64(n+1)*minBuffer || st.RefusedSource != 0 || st.Refused != 0 {
		t.Errorf("%+v", st)
	}
	if c := connectFrom(t, loopback(2), s.Addr(0)); c != nil { // a new one comes in
		write(t, c, message(1))
		expect(t, c, message(1))
		_ = c.Close()
	}
	leave()
	until(t, "all closed", func() bool { return h.ended.Load() == int64(n)+1 })
	after := inUse()
	trip(1)
	t.Logf("%d idle connections: %d bytes each; a round trip beside them took %v; memory %d KiB before, %d with them, %d after",
		n, (during-before)/int64(n), took, before>>10, during>>10, after>>10)
	// The runtime keeps stopped goroutines' descriptors, some 500 bytes each.
	if limit := before + int64(n)*1024 + 1<<20; after > limit && !raceEnabled {
		t.Errorf("%d bytes are held, %d before", after, before)
	}
	if st := s.Stats(); st.Open != 1 || st.Buffered != minBuffer {
		t.Errorf("%+v", st)
	}
}

// They do not stay: what never says anything is closed.
func TestCrowdIsSentAway(t *testing.T) {
	const n = 2000
	descriptors(t, n+1000)
	h := &counter{}
	s, _ := start(t, Options{Handler: h, FirstMessageTimeout: 500 * time.Millisecond})
	leave := crowd(t, n, TCP, s.Addr(1))
	defer leave()
	until(t, "all closed", func() bool { return h.ended.Load() == n })
	if st := s.Stats(); st.Open != 0 || st.Buffered != 0 || st.Accepted != n {
		t.Errorf("%+v", st)
	}
}

// And a crowd in the midst of its handshakes is sent away too, while another
// handshake goes through.
func TestCrowdOfHandshakes(t *testing.T) {
	const n = 2000
	descriptors(t, n+1000)
	ca := newAuthority(t, "ca")
	h := &counter{}
	s, _ := start(t, Options{Handler: h, HandshakeTimeout: patience, Listeners: []Listener{ca.listen(t, loopback(1))}})
	h.set.Store(s)
	before := inUse()
	leave := crowd(t, n, TCP, s.Addr(0))
	defer leave()
	until(t, "all accepted", func() bool { return s.Stats().Open == n })
	during := inUse()
	begun := time.Now()
	good := ca.connectTLS(t, s.Addr(0))
	write(t, good, message(1))
	expect(t, good, message(1))
	t.Logf("beside %d handshakes, of %d bytes each, one and a round trip took %v", n, (during-before)/n, time.Since(begun))
	leave()
	until(t, "all closed", func() bool { return h.ended.Load() == n })
	if st := s.Stats(); st.Open != 1 || st.HandshakeFailed != n {
		t.Errorf("%+v", st)
	}
}

// What the package comment says of a TLS connection at rest.
func TestCrowdOfTLSConnections(t *testing.T) {
	const n = 500
	ca := newAuthority(t, "ca")
	h := &counter{}
	s, _ := start(t, Options{Handler: h, Listeners: []Listener{ca.listen(t, loopback(1))}})
	before := inUse()
	leave := crowd(t, n, TLS, s.Addr(0))
	defer leave()
	until(t, "all open", func() bool { return s.Stats().Buffered > 0 && len(s.upNow()) == n })
	each := (inUse() - before - s.Stats().Buffered) / n
	t.Logf("a TLS connection: %d bytes, and %d counted", each, s.Stats().Buffered/n)
	if each > 16<<10 && !raceEnabled {
		t.Errorf("%d bytes beside what is counted", each)
	}
	leave()
	until(t, "all closed", func() bool { return h.ended.Load() == n })
	buffered(t, s, 0)
}

// upNow returns the connections that are open.
func (s *Set) upNow() []*conn {
	return slices.DeleteFunc(s.table.all(), func(c *conn) bool { return !c.up.Load() })
}
