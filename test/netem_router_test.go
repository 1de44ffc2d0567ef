package test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// router carries IPv4 packets between the namespaces' tunnel interfaces and does to them what netem would.
type router struct {
	to                         map[netip.Addr]*os.File
	passed, lost, twice, early atomic.Int64
}

func (r *router) String() string {
	return fmt.Sprintf("%d passed, %d lost, %d twice, %d early", r.passed.Load(), r.lost.Load(), r.twice.Load(), r.early.Load())
}

// newRouter makes an interface sip0 in each machine and carries packets until the test's end.
func newRouter(h *hosts) *router {
	h.t.Helper()
	r := &router{to: map[netip.Addr]*os.File{}}
	var ends []*os.File
	for _, who := range h.machines() {
		var f *os.File
		if err := h.within(who, func() (err error) {
			f, err = openTunnel("sip0")
			return err
		}); err != nil {
			h.t.Skipf("the kernel has no netem, and there can be no router instead: %v", err)
		}
		ends = append(ends, f)
		for _, n := range h.ips[who] {
			r.to[netip.MustParseAddr(hostIP(n))] = f
		}
	}
	var all sync.WaitGroup
	for i, f := range ends {
		all.Go(func() { r.carry(f, rand.New(rand.NewPCG(83, uint64(i)))) })
	}
	h.t.Cleanup(func() {
		for _, f := range ends {
			_ = f.Close()
		}
		all.Wait()
	})
	return r
}

// openTunnel makes a tunnel interface in the namespace of the calling thread.
func openTunnel(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("make tunnel %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// carry passes on what one namespace sends.
func (r *router) carry(from *os.File, dice *rand.Rand) {
	buf := make([]byte, 65535)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if n < 20 || buf[0]>>4 != 4 {
			continue // IPv6's own
		}
		to := r.to[netip.AddrFrom4([4]byte(buf[16:20]))]
		if to == nil {
			continue
		}
		if dice.Float64() < lossPart {
			r.lost.Add(1)
			continue
		}
		r.passed.Add(1)
		packet := append([]byte(nil), buf[:n]...)
		r.later(to, packet, dice)
		if dice.Float64() < twicePart {
			r.twice.Add(1)
			r.later(to, packet, dice)
		}
	}
}

func (r *router) later(to *os.File, packet []byte, dice *rand.Rand) {
	wait := time.Duration(dice.Int64N(int64(2 * halfway)))
	if dice.Float64() < earlyPart {
		r.early.Add(1)
		wait = 0
	}
	time.AfterFunc(wait, func() { _, _ = to.Write(packet) }) // an error: the test is over
}
