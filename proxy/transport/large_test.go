package transport

import (
	"errors"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// largeThereAndBack sends datagrams of all sizes to a second Set and back.
func largeThereAndBack(t *testing.T, addr netip.AddrPort) {
	t.Helper()
	open := func() (*Set, *recorder) {
		return start(t, Options{Listeners: []Listener{{Proto: UDP, Addr: addr}}})
	}
	s, r := open()
	peer, peerGot := open()
	for _, size := range []int{1400, 1472, 1473, 9000, 20000, 60000, maxDatagram4} {
		msg := message(size) + strings.Repeat("x", size-len(message(size)))
		if _, err := s.Send(Flow{Proto: UDP, Remote: peer.Addr(0)}, []byte(msg)); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		got := await(t, peerGot.got)
		if got.msg != msg {
			t.Fatalf("%d bytes: %d came", size, len(got.msg))
		}
		if _, err := peer.Send(got.from, []byte(got.msg)); err != nil {
			t.Fatal(err)
		}
		if got := await(t, r.got); got.msg != msg {
			t.Fatalf("%d bytes: %d came back", size, len(got.msg))
		}
	}
	none(t, r.unreachable)
}

func TestUDPLarge(t *testing.T) {
	largeThereAndBack(t, loopback(1))
}

func TestUDPLargeIPv6(t *testing.T) {
	needIPv6(t)
	largeThereAndBack(t, loopback6)
}

// On a network with an MTU of 1500 bytes they are fragmented.
func TestUDPFragments(t *testing.T) {
	runtime.LockOSThread() // for good: the thread ends with its network
	if err := smallNetwork(1500); err != nil {
		t.Skipf("no network of our own: %v", err)
	}
	before := fragments(t)
	largeThereAndBack(t, loopback(1))
	if n := fragments(t) - before; n < 100 {
		t.Errorf("%d fragments", n)
	}
	largeThereAndBack(t, loopback6)
}

// smallNetwork gives this thread a network of its own, with an interface that
// carries packets of mtu bytes.
func smallNetwork(mtu uint32) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint32(mtu)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFMTU, ifr); err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}

// fragments is how many IPv4 fragments this thread's network has made.
func fragments(t testing.TB) int {
	t.Helper()
	b, err := os.ReadFile("/proc/thread-self/net/snmp")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if fields[0] != "Ip:" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i, name := range names {
			if name == "FragCreates" {
				n, _ := strconv.Atoi(fields[i])
				return n
			}
		}
	}
	t.Fatal("FragCreates is not there")
	return 0
}

// What no network could carry is told at once, for each family its own size.
func TestUDPTooLarge(t *testing.T) {
	needIPv6(t)
	s, r := start(t, Options{Listeners: []Listener{{Proto: UDP, Addr: netip.AddrPortFrom(netip.IPv6Unspecified(), 0)}}})
	to4 := Flow{Proto: UDP, Remote: netip.AddrPortFrom(loopback(1).Addr(), s.Addr(0).Port())}
	to6 := Flow{Proto: UDP, Remote: netip.AddrPortFrom(loopback6.Addr(), s.Addr(0).Port())}
	for _, c := range []struct {
		to   Flow
		size int
		want error
	}{{to4, maxDatagram4 + 1, ErrTooLarge}, {to4, 100000, ErrTooLarge}, {to6, maxDatagram6 + 1, ErrTooLarge},
		{to4, maxDatagram4, nil}, {to6, maxDatagram6, nil}} {
		_, err := s.Send(c.to, []byte(strings.Repeat("x", c.size)))
		if err != c.want || err != nil && !errors.Is(err, syscall.EMSGSIZE) {
			t.Errorf("%d bytes to %s: %v, want %v", c.size, c.to.Remote, err, c.want)
		}
		if c.want == nil {
			if got := await(t, r.got); len(got.msg) != c.size {
				t.Errorf("%d bytes came, want %d", len(got.msg), c.size)
			}
		}
	}
	none(t, r.unreachable)
}
