package test

import (
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

// The network of the test: three machines. All that is said goes to the daemon or comes from it, and suffers once on each of those
// ways.
const (
	lossPart  = 0.05
	twicePart = 0.05
	earlyPart = 0.05                  // overtakes all that is under way
	halfway   = 50 * time.Millisecond // the mean delay, and how much it may differ from that
)

// badNet is that network.
type badNet struct {
	*hosts
	carrier string
	router  *router // when the kernel has no netem
}

// newBadNet makes the machines: connected by a bridge with the kernel's netem at the daemon's link, or where there is none
// by a router of the test's own, which does the same to each packet.
func newBadNet(t *testing.T) *badNet {
	t.Helper()
	n := &badNet{hosts: newHosts(t, map[string][]int{"client": {5}, "daemon": {10}, "servers": {21, 22}})}
	if out, err := exec.Command("tc", "-n", n.names["hub"], "qdisc", "add", "dev", "lo", "root", "netem", "loss", "5%").CombinedOutput(); err == nil {
		n.carrier = "netem"
		n.bridge()
		n.impair()
	} else {
		n.carrier = fmt.Sprintf("a router in the test (netem: %s)", strings.TrimSpace(string(out)))
		n.router = newRouter(n.hosts)
		n.address()
	}
	return n
}

// impair puts netem at both ends of the daemon's link.
func (n *badNet) impair() {
	percent := func(part float64) string { return fmt.Sprintf("%g%%", 100*part) }
	mean := fmt.Sprintf("%dms", halfway.Milliseconds())
	for _, end := range [][2]string{{n.names["hub"], "to-daemon"}, {n.names["daemon"], "sip0"}} {
		n.do("tc", "-n", end[0], "qdisc", "add", "dev", end[1], "root", "netem", "limit", "100000", "delay", mean, mean,
			"loss", percent(lossPart), "duplicate", percent(twicePart), "reorder", percent(earlyPart))
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
	args = n.command("daemon", args...)
	c := exec.Command(args[0], args[1:]...)
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

// TestBadNetwork: 5 % of the packets are lost, 5 % come twice, they take from 0 to 100 ms and so overtake each other, on
// every way to and from the daemon. 2,000 sessions over UDP: every INVITE is answered 200 and every BYE is answered, no server
// keeps a session, no lease is left. The proxy's timers are the defaults: with a round trip of 100 ms in the mean, T1 of 100
// ms towards servers repeats some requests for nothing, which must do no harm.
func TestBadNetwork(t *testing.T) {
	t.Parallel()
	n := newBadNet(t)
	t.Logf("impaired by %s", n.carrier)
	dir := t.TempDir()
	yaml := frank(fmt.Sprintf(`idc: a
listen: ["udp://%[1]s:5060"]
admin: {listen: "127.0.0.1:9060"}
data_dir: %[2]s
otherwise: {cluster: asr}
clusters:
  - name: asr
    groups:
      - idc: a
        backends: [{uri: "sip:%[3]s:8060"}, {uri: "sip:%[4]s:8060"}]
`, hostIP(10), dir, hostIP(21), hostIP(22)))
	file := filepath.Join(dir, "mrcproxy.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	servers, client := n.peers()
	n.serve(filepath.Join(dir, "log"), binary, "serve", "-c", file)
	metrics := func() map[string]float64 {
		req, _ := http.NewRequest(http.MethodGet, "http://127.0.0.1:9060/metrics", nil)
		resp, err := n.client("daemon").Do(req)
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
		for _, host := range n.ips["servers"] {
			s, err := sim.StartServer(sim.ServerOptions{Addr: netip.MustParseAddrPort(hostIP(host) + ":8060"), Networks: []string{"udp"}})
			if err != nil {
				return err
			}
			n.t.Cleanup(s.Stop)
			servers = append(servers, s)
		}
		return nil
	})
	n.must("client", func() (err error) {
		client, err = sim.NewClient(sim.ClientOptions{Proxy: netip.MustParseAddrPort(hostIP(10) + ":5060"), Bind: netip.MustParseAddrPort(hostIP(5) + ":5090")})
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

// TestBadNetworkKamailio counts what Kamailio loses on the same network, to have something to compare with. It judges nothing but that
// most sessions are there, and runs when MRCPROXY_COMPARE is set: make badnet.
func TestBadNetworkKamailio(t *testing.T) {
	if os.Getenv("MRCPROXY_COMPARE") == "" {
		t.Skip("MRCPROXY_COMPARE is not set")
	}
	modules, _ := filepath.Glob("/usr/lib/*/kamailio/modules")
	path, err := exec.LookPath("kamailio")
	file, bad := filepath.Abs("kamailio/proxy.cfg")
	if err != nil || bad != nil || len(modules) == 0 {
		t.Fatal("Kamailio is not installed: ", err, bad)
	}
	n := newBadNet(t)
	t.Logf("impaired by %s", n.carrier)
	dir := t.TempDir()
	servers, client := n.peers()
	next := fmt.Sprintf(`"sip:%s:8060"`, hostIP(21))
	n.serve(filepath.Join(dir, "log"), path, "-DD", "-E", "-f", file, "-L", modules[0], "-Y", dir, "-w", dir, "-m", "256", "-M", "8",
		"-A", "ADDRESS="+hostIP(10), "-A", "NEXT_UDP="+next, "-A", "NEXT_TCP="+next)
	await(t, "Kamailio relays", 20*time.Second, func() bool { return client.Session(t.Context(), 0).Code == 200 })
	all := n.sessions(client, 2000, 70)
	failed, unanswered := 0, 0
	for _, o := range all {
		if !o.good() {
			failed++
		} else if o.ByeCode != 200 {
			unanswered++
		}
	}
	t.Logf("Kamailio: of %d sessions %d failed, and of the others' BYEs %d had no 200", len(all), failed, unanswered)
	if failed > len(all)/2 {
		t.Error("that is no comparison")
	}
	n.over(servers)
}
