package test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

// nextHops are the addresses that a Kamailio sends calls on to, by the transport. With ca it serves TLS too, and shows and asks
// for certificates of that authority.
type nextHops struct {
	udp, tcp, tls string
	ca            *authority
}

// kamailio runs test/kamailio/proxy.cfg at host n, port 5060, and 5061 for TLS. It sends calls on by UDP, those whose
// User-Agent has kamailio-tcp or kamailio-tls in it by that.
func (l *lab) kamailio(n int, next nextHops) {
	l.t.Helper()
	args := []string{"-A", "ADDRESS=" + l.ip(n), "-A", `NEXT_UDP="sip:` + next.udp + `"`, "-A", `NEXT_TCP="sip:` + next.tcp + `;transport=tcp"`}
	if next.ca != nil {
		cert, key := filepath.Join(l.dir, "kamailio.crt"), filepath.Join(l.dir, "kamailio.key")
		next.ca.issue(cert, key, l.ip(n))
		args = append(args, "-A", `NEXT_TLS="sip:`+next.tls+`;transport=tls"`, "-A", `CERT="`+cert+`"`, "-A", `KEY="`+key+`"`, "-A", `CA="`+next.ca.file+`"`)
	}
	l.runKamailio("proxy.cfg", args...)
	p := &rawPeer{t: l.t, network: "UDP"}
	await(l.t, "Kamailio answers", 10*time.Second, func() bool {
		c, err := net.Dial("tcp", l.ip(n)+":5060")
		if err != nil {
			return false
		}
		_ = c.Close()
		u := l.udp(6)
		defer u.Close()
		if c, err = net.Dial("udp", l.ip(n)+":5060"); err != nil {
			return false
		}
		p.conn = c
		defer c.Close()
		_, _ = c.Write([]byte((&rawRequest{method: "OPTIONS"}).text(p)))
		_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		m, _ := c.Read(make([]byte, 2000))
		return m > 0
	})
}

// runKamailio runs Kamailio with a file of test/kamailio until the test ends, and gives the path of its log.
func (l *lab) runKamailio(file string, args ...string) string {
	l.t.Helper()
	path, err := exec.LookPath("kamailio")
	modules, _ := filepath.Glob("/usr/lib/*/kamailio/modules")
	if err != nil || len(modules) == 0 {
		l.t.Fatal("kamailio is not installed: `make deps` installs it (Debian package kamailio)")
	}
	if file, err = filepath.Abs(filepath.Join("kamailio", file)); err != nil {
		l.t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(l.dir, "kamailio.log"))
	if err != nil {
		l.t.Fatal(err)
	}
	k := exec.Command(path, append([]string{"-DD", "-E", "-f", file, "-L", modules[0], "-Y", l.dir, "-w", l.dir, "-m", "64", "-M", "8"}, args...)...)
	k.Stdout, k.Stderr = log, log
	k.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := k.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		_ = syscall.Kill(-k.Process.Pid, syscall.SIGKILL) // its workers too
		_ = k.Wait()
		_ = log.Close()
		if b, err := os.ReadFile(log.Name()); err == nil && l.t.Failed() {
			l.t.Logf("log of Kamailio:\n%s", tail(b, 4000))
		}
	})
	return log.Name()
}

// path is the transports of a call's three hops: from the client, between the proxies, and to the server.
type path [3]string

var paths = []path{
	{"udp", "udp", "udp"}, {"tcp", "tcp", "tcp"}, {"udp", "tcp", "udp"}, {"tcp", "udp", "tcp"}, {"udp", "udp", "tcp"}, {"tcp", "tcp", "udp"},
	{"udp", "tls", "udp"}, {"tcp", "tls", "tcp"}, {"udp", "tls", "tcp"}, {"tcp", "tls", "udp"},
}

func (p path) String() string { return strings.Join(p[:], "-") }

// recordRoutes are the Record-Routes that a server gets over two proxies, the topmost first: two of a proxy where the transport
// changes there (RFC 5658), else one.
func (p path) recordRoutes(first, second string) (want []string) {
	add := func(host, network string) {
		port := ":5060/"
		if network == "tls" {
			port = ":5061/"
		}
		want = append(want, host+port+network)
	}
	add(second, p[2])
	if p[1] != p[2] {
		add(second, p[1])
	}
	add(first, p[1])
	if p[0] != p[1] {
		add(first, p[0])
	}
	return want
}

// chain is the daemon with a Kamailio in front of it or behind it, and servers by UDP and TCP.
type chain struct {
	*daemon
	first, second string // the proxies' hosts, in the order of the call
	servers       int    // as the daemon counts them
}

const kamailioHost = 30

// hosts of the chain's servers, by the transport of the last hop
var chainServers = map[string]int{"udp": 21, "tcp": 22}

// inFront has the calls go to Kamailio first.
func inFront(l *lab) *chain {
	ca := newAuthority(l.t)
	l.kamailio(kamailioHost, nextHops{l.proxyAddr(), l.proxyAddr(), l.ip(10) + ":5061", ca})
	c := &chain{first: l.ip(kamailioHost), second: l.ip(10)}
	c.servers = 2
	c.daemon = l.start(patient(ca.secure(l, ", client_auth: require, client_ca: "+ca.file) + `
routes:
  - {name: tcp, match: {user_agent: "~server-tcp"}, cluster: tcp}
otherwise: {cluster: udp}
clusters:
  - {name: udp, groups: [{backends: [{uri: "` + l.uri(21, "udp") + `"}]}]}
  - {name: tcp, groups: [{backends: [{uri: "` + l.uri(22, "tcp") + `"}]}]}
`))
	return c
}

// behind has them go to Kamailio last.
func behind(l *lab) *chain {
	ca := newAuthority(l.t)
	l.kamailio(kamailioHost, nextHops{udp: l.ip(21) + ":8060", tcp: l.ip(22) + ":8060", tls: "none", ca: ca})
	c := &chain{first: l.ip(10), second: l.ip(kamailioHost)}
	c.servers = 3
	c.daemon = l.start(patient(ca.secure(l, ", client_auth: require, client_ca: "+ca.file+", server_ca: "+ca.file) + `
routes:
  - {name: tcp, match: {user_agent: "~mrcproxy-tcp"}, cluster: tcp}
  - {name: tls, match: {user_agent: "~mrcproxy-tls"}, cluster: tls}
otherwise: {cluster: udp}
clusters:
  - {name: udp, groups: [{backends: [{uri: "sip:` + c.second + `:5060"}]}]}
  - {name: tcp, groups: [{backends: [{uri: "sip:` + c.second + `:5060;transport=tcp"}]}]}
  - {name: tls, groups: [{backends: [{uri: "sip:` + c.second + `:5061;transport=tls"}]}]}
`))
	return c
}

// agent is the User-Agent that has a call take a path: each proxy looks for its own part.
func (c *chain) agent(p path) string {
	if c.first == c.lab.ip(10) {
		return "ASR mrcproxy-" + p[1] + " kamailio-" + p[2]
	}
	return "ASR kamailio-" + p[1] + " server-" + p[2]
}

// TestKamailioInFront: calls that come through a record-routing Kamailio, by every transport.
func TestKamailioInFront(t *testing.T) { sippThroughBoth(t, inFront) }

// TestKamailioBehind: calls to servers that stand behind a record-routing Kamailio, which is the backend.
func TestKamailioBehind(t *testing.T) { sippThroughBoth(t, behind) }

func sippThroughBoth(t *testing.T, build func(*lab) *chain) {
	const calls = callsOfPath
	l := newLab(t)
	servers := map[string]*sippServer{}
	for network, n := range chainServers {
		servers[network] = l.sippServer(n, network, "uas_mrcp.xml", "-trace_msg", "-message_file", l.wireFile(network), "-ringbuffer_size", "0")
	}
	c := build(l)
	c.await("all are up", 10*time.Second, func() bool { return c.up() == c.servers })
	for _, p := range paths {
		client := l.wireFile(p.String())
		f := l.sippClient(clientRun{network: p[0], rate: 200, calls: calls, to: c.first + ":5060", ua: c.agent(p),
			extra: []string{"-trace_msg", "-message_file", client}})
		if f.int("SuccessfulCall(C)") != calls || f.int("FailedCall(C)") != 0 {
			t.Errorf("%v: %s of %d calls succeeded, %s failed", p, f["SuccessfulCall(C)"], calls, f["FailedCall(C)"])
		}
		// The client has the same Record-Routes as the server, and its ACK and BYE arrive there in order, rid of all Routes.
		want, mine := p.recordRoutes(c.first, c.second), dialogsOf(readWire(t, client))
		theirs := map[string]wireDialog{}
		await(t, fmt.Sprintf("%v: the server has all messages", p), 5*time.Second, func() bool {
			theirs = dialogsOf(readWire(t, l.wireFile(p[2])))
			for id := range mine {
				if d := theirs[id]; !slices.Contains(d.received, "BYE") {
					return false
				}
			}
			return true
		})
		if len(mine) != calls {
			t.Errorf("%v: the client made %d dialogs, want %d", p, len(mine), calls)
		}
		for id, m := range mine {
			d := theirs[id]
			if !slices.Equal(m.recordRoutes, want) || !slices.Equal(d.recordRoutes, want) {
				t.Fatalf("%v: Record-Route at the server %v, at the client %v, want %v", p, d.recordRoutes, m.recordRoutes, want)
			}
			// On a busy machine a 200 may be late, come twice, and be ACKed twice.
			if !slices.Equal(slices.Compact(d.received), []string{"INVITE", "ACK", "BYE"}) {
				t.Fatalf("%v: the server got %v, want INVITE, ACK, BYE", p, d.received)
			}
			target := "sip:" + l.ip(chainServers[p[2]]) + ":8060;transport=" + strings.ToUpper(p[2])
			if len(d.routes) > 0 || !slices.Equal(slices.Compact(d.targets), []string{target}) {
				t.Fatalf("%v: ACK and BYE came to the server for %v with Route %v, want %s and none", p, d.targets, d.routes, target)
			}
		}
	}
	c.await("the sessions' lines are in the log", 10*time.Second, func() bool {
		return c.lines(`"msg":"session"`, `"ended_by":"bye_client"`) == len(paths)*calls
	})
	c.undisturbed()
}

// undisturbed checks that the daemon saw nothing out of order.
func (d *daemon) undisturbed() {
	t := d.lab.t
	t.Helper()
	m := d.metrics()
	for _, name := range []string{"mrcproxy_failovers_total", "mrcproxy_dropped_total", "mrcproxy_late_answers_total", "mrcproxy_sessions"} {
		if got := sum(m, name); got != 0 {
			t.Errorf("%s is %v, want 0:%s", name, got, nonZero(m, name))
		}
	}
}

// TestServerEndsToKamailio: the server's BYE finds its way back over both proxies to a client without a Contact, whose From
// URI, without a transport, is all that the server has.
func TestServerEndsToKamailio(t *testing.T) { serversEnd(t, inFront) }

// TestServerEndsFromKamailio is the same with Kamailio on the server's side.
func TestServerEndsFromKamailio(t *testing.T) { serversEnd(t, behind) }

func serversEnd(t *testing.T, build func(*lab) *chain) {
	l := newLab(t)
	servers := map[string]*sim.Server{}
	for network, n := range chainServers { // of one transport each, so that its Contact names it: Kamailio goes by that
		servers[network] = l.simServer(n, sim.ServerOptions{Networks: []string{network}})
	}
	c := build(l)
	c.await("all are up", 10*time.Second, func() bool { return c.up() == c.servers })
	for _, p := range paths {
		c.serverEnds(p, servers[p[2]])
	}
	c.await("the sessions' lines are in the log", 10*time.Second, func() bool {
		return c.lines(`"msg":"session"`, `"ended_by":"bye_server"`) == len(paths)*callsOfPath
	})
	c.undisturbed()
}

// callsOfPath is how many calls take each path.
const callsOfPath = 200

// serverEnds has the server end sessions that came by a path.
func (c *chain) serverEnds(p path, server *sim.Server) {
	const calls, batch = callsOfPath, 20
	l, t := c.lab, c.lab.t
	client := l.simClient(sim.ClientOptions{Network: p[0], Proxy: netip.MustParseAddrPort(c.first + ":5060"), UserAgent: c.agent(p),
		// Towards the client Kamailio goes by the request's URI: by UDP when that names no transport.
		Contact: c.first != l.ip(10) && p[0] == "tcp"})
	before := server.Stats()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	results := make([]outcome, calls)
	var all sync.WaitGroup
	pace := time.NewTicker(5 * time.Millisecond) // a burst of them all would not fit into Kamailio's receive buffer
	defer pace.Stop()
	for i := range results {
		<-pace.C
		all.Go(func() { results[i] = session(ctx, client, time.Minute) })
	}
	err := server.Await(ctx, func(s sim.ServerStats) bool { return s.Acks == before.Acks+calls && s.Sessions == calls })
	for n := 0; n < calls && err == nil; n += batch {
		server.HangUp(batch)
		err = server.Await(ctx, func(s sim.ServerStats) bool { return s.HangUpsDone == before.HangUpsDone+n+batch })
	}
	if err != nil {
		t.Errorf("%v: %v", p, err)
		client.Drain()
	}
	all.Wait()
	mustSucceed(t, results)
	for _, o := range results {
		if !o.ServerBye {
			t.Fatalf("%v: a session was not ended by the server: %+v", p, o.Result)
		}
	}
	_ = client.Close()
}

// TestFailuresThroughKamailio: a server's refusal comes to the client as it is, and a CANCEL comes to the server.
func TestFailuresThroughKamailio(t *testing.T) {
	for name, build := range map[string]func(*lab) *chain{"in front": inFront, "behind": behind} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			servers := map[string]*sim.Server{}
			for network, n := range chainServers {
				servers[network] = l.simServer(n, sim.ServerOptions{Networks: []string{network}})
			}
			c := build(l)
			c.await("all are up", 10*time.Second, func() bool { return c.up() == c.servers })
			for _, p := range paths {
				server := servers[p[2]]
				client := l.simClient(sim.ClientOptions{Network: p[0], Proxy: netip.MustParseAddrPort(c.first + ":5060"), UserAgent: c.agent(p)})
				server.SetFault(sim.Refuse(404, 0))
				if r := client.Session(t.Context(), 0); r.Code != 404 || r.Err != nil {
					t.Errorf("%v: a call that the server refuses: %+v, want 404", p, r)
				}
				server.SetFault(sim.Slow)
				before := server.Stats()
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan sim.Result, 1)
				go func() { done <- client.Session(ctx, 0) }()
				if err := server.Await(t.Context(), func(s sim.ServerStats) bool { return s.Invites > before.Invites }); err != nil {
					t.Fatal(err)
				}
				cancel()
				if r := <-done; r.Code != 487 || server.Stats().Cancels != before.Cancels+1 {
					t.Errorf("%v: a call that is cancelled: %+v and %d CANCELs at the server, want 487 and 1", p, r, server.Stats().Cancels-before.Cancels)
				}
				server.SetFault(sim.None)
				_ = client.Close()
			}
			c.undisturbed()
		})
	}
}
