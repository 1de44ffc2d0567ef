package test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hosts is machines of their own: network namespaces, each with an interface sip0 and one address or more of 10.83.0.0/24. What
// connects them the test says: bridge, or something of its own.
type hosts struct {
	t     *testing.T
	ips   map[string][]int  // the last numbers of each machine's addresses
	names map[string]string // of the namespaces, by machine; "hub" has the bridge
}

// labsOfHosts counts them, so that the namespaces of each have names of their own.
var labsOfHosts atomic.Int32

// newHosts makes the namespaces, until the test's end. What they hold dies with them: interfaces, routes, neighbours; processes
// must have ended before.
func newHosts(t *testing.T, machines map[string][]int) *hosts {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("ip is not installed: `make deps` installs it (Debian package iproute2)")
	}
	h := &hosts{t: t, ips: machines, names: map[string]string{}}
	nth := labsOfHosts.Add(1)
	for _, who := range append(h.machines(), "hub") {
		name := fmt.Sprintf("mrcproxy%d-%d-%s", netOfRun, nth, who)
		_ = exec.Command("ip", "netns", "del", name).Run() // of a run that was killed
		if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
			t.Skipf("no network namespace can be made here: %s", out)
		}
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
		h.names[who] = name
		h.ip(who, "link", "set", "lo", "up")
	}
	return h
}

// machines are all but the hub, in the order of their names.
func (h *hosts) machines() []string { return slices.Sorted(maps.Keys(h.ips)) }

// of is the machine that has host n's address.
func (h *hosts) of(n int) string {
	for who, all := range h.ips {
		if slices.Contains(all, n) {
			return who
		}
	}
	h.t.Fatalf("no machine has %s", hostIP(n))
	return ""
}

// hostIP is host n's address.
func hostIP(n int) string { return fmt.Sprintf("10.83.0.%d", n) }

// bridge connects them.
func (h *hosts) bridge() {
	h.t.Helper()
	h.ip("hub", "link", "add", "br0", "type", "bridge")
	h.ip("hub", "link", "set", "br0", "up")
	for _, who := range h.machines() {
		h.ip("hub", "link", "add", "to-"+who, "type", "veth", "peer", "name", "sip0", "netns", h.names[who])
		h.ip("hub", "link", "set", "to-"+who, "master", "br0")
		h.ip("hub", "link", "set", "to-"+who, "up")
	}
	h.address()
}

// address gives each machine its addresses, once it has its interface.
func (h *hosts) address() {
	h.t.Helper()
	for who, all := range h.ips {
		for _, n := range all {
			h.ip(who, "addr", "add", hostIP(n)+"/24", "dev", "sip0")
		}
		h.ip(who, "link", "set", "sip0", "up")
		h.must(who, func() error { // a neighbour that was away is found again within 300 ms, not 3 s
			return os.WriteFile("/proc/sys/net/ipv4/neigh/sip0/retrans_time_ms", []byte("100"), 0)
		})
	}
}

// unplug takes a machine's cable out: nothing reaches it any more, and nothing comes from it. Nobody is told.
func (h *hosts) unplug(who string) { h.ip("hub", "link", "set", "to-"+who, "down") }

// plug puts it in again.
func (h *hosts) plug(who string) { h.ip("hub", "link", "set", "to-"+who, "up") }

// cut keeps two machines from reaching each other, while each reaches all others: each has for the other's addresses a neighbour
// that does not exist, so that what it sends is swallowed without a word. A blackhole route would fail the sending itself, which
// no network does.
func (h *hosts) cut(a, b string) {
	h.t.Helper()
	h.strangers(a, b, func(who, addr string) {
		h.ip(who, "neigh", "replace", addr, "lladdr", "02:00:00:00:00:00", "dev", "sip0", "nud", "permanent")
	})
}

// mend undoes a cut.
func (h *hosts) mend(a, b string) {
	h.t.Helper()
	h.strangers(a, b, func(who, addr string) { h.ip(who, "neigh", "del", addr, "dev", "sip0") })
}

func (h *hosts) strangers(a, b string, f func(who, addr string)) {
	for _, n := range h.ips[b] {
		f(a, hostIP(n))
	}
	for _, n := range h.ips[a] {
		f(b, hostIP(n))
	}
}

// ip runs ip(8) in a machine.
func (h *hosts) ip(who string, args ...string) {
	h.t.Helper()
	h.do(append([]string{"ip", "-n", h.names[who]}, args...)...)
}

func (h *hosts) do(args ...string) {
	h.t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		h.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// command is a command line that runs another in a machine, as the same process.
func (h *hosts) command(who string, args ...string) []string {
	return append([]string{"ip", "netns", "exec", h.names[who]}, args...)
}

// within runs f in a machine: the sockets that it opens belong there.
func (h *hosts) within(who string, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocks it: the thread ends with the goroutine
		ns, err := os.Open(filepath.Join("/run/netns", h.names[who]))
		if err != nil {
			done <- err
			return
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

func (h *hosts) must(who string, f func() error) {
	h.t.Helper()
	if err := h.within(who, f); err != nil {
		h.t.Fatal(err)
	}
}

// dialer makes connections from a machine.
func (h *hosts) dialer(who string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (c net.Conn, err error) {
		err = h.within(who, func() error {
			c, err = new(net.Dialer).DialContext(ctx, network, addr)
			return err
		})
		return c, err
	}
}

// client is an HTTP client in a machine, for what listens at its loopback: no cut and no loss is on that way.
func (h *hosts) client(who string) *http.Client {
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: h.dialer(who), DisableKeepAlives: true}}
}
