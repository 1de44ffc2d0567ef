package test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mrcproxy/internal/sim"
)

// The network of the test: three namespaces, each with one interface. All that is said goes to the daemon or comes from it,
// and suffers once on each of those ways.
const (
	farClient  = "10.83.0.5"
	farDaemon  = "10.83.0.10"
	farServers = "10.83.0.2" // 21 and 22
	lossPart   = 0.05
	twicePart  = 0.05
	earlyPart  = 0.05                  // overtakes all that is under way
	halfway    = 50 * time.Millisecond // the mean delay, and how much it may differ from that
)

// badNet is that network.
type badNet struct {
	t       *testing.T
	names   map[string]string // of the namespaces, by what is in them
	carrier string
	router  *router // when the kernel has no netem
}

// newBadNet makes the namespaces: connected by a bridge with the kernel's netem at the daemon's link, or where there is none
// by a router of the test's own, which does the same to each packet.
func newBadNet(t *testing.T) *badNet {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("ip is not installed: `make deps` installs it (Debian package iproute2)")
	}
	n := &badNet{t: t, names: map[string]string{}}
	for _, who := range []string{"client", "daemon", "servers", "hub"} {
		name := fmt.Sprintf("mrcproxy%d-%s", netOfRun, who)
		_ = exec.Command("ip", "netns", "del", name).Run() // of a run that was killed
		if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
			t.Skipf("no network namespace can be made here: %s", out)
		}
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
		n.names[who] = name
	}
	if out, err := exec.Command("tc", "-n", n.names["hub"], "qdisc", "add", "dev", "lo", "root", "netem", "loss", "5%").CombinedOutput(); err == nil {
		n.carrier = "netem"
		n.bridge()
	} else {
		n.carrier = fmt.Sprintf("a router in the test (netem: %s)", strings.TrimSpace(string(out)))
		n.router = newRouter(n)
	}
	for who, addrs := range map[string][]string{"client": {farClient}, "daemon": {farDaemon}, "servers": {farServers + "1", farServers + "2"}} {
		n.ip(who, "link", "set", "lo", "up")
		for _, a := range addrs {
			n.ip(who, "addr", "add", a+"/24", "dev", "sip0")
		}
		n.ip(who, "link", "set", "sip0", "up")
	}
	return n
}

func (n *badNet) ip(who string, args ...string) {
	n.do(append([]string{"ip", "-n", n.names[who]}, args...)...)
}

func (n *badNet) do(args ...string) {
	n.t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		n.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// bridge connects the namespaces, with netem at both ends of the daemon's link.
func (n *badNet) bridge() {
	n.ip("hub", "link", "add", "br0", "type", "bridge")
	n.ip("hub", "link", "set", "br0", "up")
	for _, who := range []string{"client", "daemon", "servers"} {
		n.ip("hub", "link", "add", "to-"+who, "type", "veth", "peer", "name", "sip0", "netns", n.names[who])
		n.ip("hub", "link", "set", "to-"+who, "master", "br0")
		n.ip("hub", "link", "set", "to-"+who, "up")
	}
	percent := func(part float64) string { return fmt.Sprintf("%g%%", 100*part) }
	mean := fmt.Sprintf("%dms", halfway.Milliseconds())
	for _, end := range [][2]string{{n.names["hub"], "to-daemon"}, {n.names["daemon"], "sip0"}} {
		n.do("tc", "-n", end[0], "qdisc", "add", "dev", end[1], "root", "netem", "limit", "100000", "delay", mean, mean,
			"loss", percent(lossPart), "duplicate", percent(twicePart), "reorder", percent(earlyPart))
	}
}

// within runs f in a namespace: the sockets that it opens belong there.
func (n *badNet) within(who string, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocks it: the thread ends with the goroutine
		ns, err := os.Open(filepath.Join("/run/netns", n.names[who]))
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

func (n *badNet) must(who string, f func() error) {
	n.t.Helper()
	if err := n.within(who, f); err != nil {
		n.t.Fatal(err)
	}
}

// serve runs a process in the daemon's namespace until the test's end.
func (n *badNet) serve(log string, args ...string) {
	n.t.Helper()
	out, err := os.Create(log)
	if err != nil {
		n.t.Fatal(err)
	}
	defer out.Close()
	c := exec.Command("ip", append([]string{"netns", "exec", n.names["daemon"]}, args...)...)
	c.Stdout, c.Stderr = out, out
	if err := c.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if b, err := os.ReadFile(log); err == nil && n.t.Failed() {
			n.t.Logf("log of the daemon:\n%s", tail(b, 8000))
		}
	})
}

// client asks the daemon's admin interface from where it is reached without loss.
func (n *badNet) client() *http.Client {
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (c net.Conn, err error) {
			err = n.within("daemon", func() error {
				c, err = new(net.Dialer).DialContext(ctx, network, addr)
				return err
			})
			return c, err
		},
		DisableKeepAlives: true,
	}}
}

// TestBadNetwork: 5 % of the packets are lost, 5 % come twice, they take from 0 to 100 ms and so overtake each other, on
// every way to and from the daemon. 2,000 sessions over UDP: every INVITE is answered 200 and every BYE is answered, no server
// keeps a session, no lease is left. The proxy's timers are the defaults: with a round trip of 100 ms in the mean, T1 of 100
// ms towards servers repeats some requests for nothing, which must do no harm.
func TestBadNetwork(t *testing.T) {
	n := newBadNet(t)
	t.Logf("impaired by %s", n.carrier)
	dir := t.TempDir()
	yaml := fmt.Sprintf(`idc: a
listen: ["udp://%[1]s:5060"]
admin: {listen: "127.0.0.1:9060"}
data_dir: %[2]s
otherwise: {cluster: asr}
clusters:
  - name: asr
    groups:
      - idc: a
        backends: [{uri: "sip:%[3]s1:8060"}, {uri: "sip:%[3]s2:8060"}]
`, farDaemon, dir, farServers)
	file := filepath.Join(dir, "mrcproxy.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	servers, client := n.peers()
	n.serve(filepath.Join(dir, "log"), binary, "serve", "-c", file)
	metrics := func() map[string]float64 {
		req, _ := http.NewRequest(http.MethodGet, "http://127.0.0.1:9060/metrics", nil)
		resp, err := n.client().Do(req)
		if err != nil {
			return nil
		}
		defer resp.Body.Close()
		return parseMetrics(resp.Body)
	}
	await(t, "the servers are up", 20*time.Second, func() bool { return int(sum(metrics(), "mrcproxy_backend_up")) == 2 })

	all := n.sessions(client, 2000, 70)
	mustSucceed(t, all)
	unanswered := 0
	for _, o := range all {
		if o.ByeCode != 200 {
			unanswered++
		}
	}
	if unanswered > 1 { // five copies or their answers: one in 100,000
		t.Errorf("%d BYEs were answered by the proxy for the server", unanswered)
	}
	n.over(servers)
	await(t, "no lease is left", 5*time.Second, func() bool { return sum(metrics(), "mrcproxy_backend_sessions") == 0 })
	m := metrics()
	t.Logf("failed over %v, ended late 2xx %v", sum(m, "mrcproxy_failovers_total"), sum(m, "mrcproxy_late_answers_total"))
}

// peers starts two servers and a client in their namespaces.
func (n *badNet) peers() (servers []*sim.Server, client *sim.Client) {
	n.t.Helper()
	n.must("servers", func() error {
		for _, host := range []string{"1", "2"} {
			s, err := sim.StartServer(sim.ServerOptions{Addr: netip.MustParseAddrPort(farServers + host + ":8060"), Networks: []string{"udp"}})
			if err != nil {
				return err
			}
			n.t.Cleanup(s.Stop)
			servers = append(servers, s)
		}
		return nil
	})
	n.must("client", func() (err error) {
		client, err = sim.NewClient(sim.ClientOptions{Proxy: netip.MustParseAddrPort(farDaemon + ":5060"), Bind: netip.MustParseAddrPort(farClient + ":5090")})
		return err
	})
	n.t.Cleanup(func() { _ = client.Close() })
	return servers, client
}

// sessions places so many sessions at a rate, each held for two seconds.
func (n *badNet) sessions(client *sim.Client, count, rate int) []outcome {
	n.t.Helper()
	l := &lab{t: n.t}
	g := l.load(client, rate, 2*time.Second)
	g.runFor(count, 3*time.Duration(count/rate)*time.Second+30*time.Second)
	all := g.end()
	retransmits := 0
	for _, o := range all {
		retransmits += o.Retransmits
	}
	n.t.Logf("setup %v; %d requests of the client's were sent again", setups(all), retransmits)
	n.t.Logf("BYE   %v", spreadOf(all, func(o outcome) time.Duration { return o.ByeTook }))
	if n.router != nil {
		n.t.Logf("packets: %v", n.router)
	}
	return all
}

// over waits until no server has a session.
func (n *badNet) over(servers []*sim.Server) {
	n.t.Helper()
	for _, s := range servers {
		n.t.Logf("server %v: %+v", s.Addr(), s.Stats())
	}
	await(n.t, "no session is left at the servers", 40*time.Second, func() bool { return servers[0].Sessions()+servers[1].Sessions() == 0 })
}
