package resolver

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"mrcproxy/internal/resolver/dnstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const soa = "test. 3600 IN SOA ns.test. root.test. 1 2 3 4 20" // negative answers live 20 s

// name is an IPv4 name of the form host, host:port or host;tcp.
func name(text string) Name {
	n := Name{Network: "udp", IPv4: true}
	var tcp bool
	if text, tcp = strings.CutSuffix(text, ";tcp"); tcp {
		n.Network = "tcp"
	}
	host, port, _ := strings.Cut(text, ":")
	n.Host = host
	_, _ = fmt.Sscan(port, &n.Port)
	return n
}

// in is a resolver that asks a zone directly, for tests with a fake clock. A silent zone is waited for in vain.
func in(t *testing.T, z *dnstest.Zone, onChange func([]Name)) *Resolver {
	r := New(Options{Servers: []string{"a:53", "b:53"}, Hosts: filepath.Join(t.TempDir(), "none"), OnChange: onChange})
	r.exchange = func(ctx context.Context, network, _ string, m *dns.Msg) (*dns.Msg, error) {
		if reply := z.Answer(network, m); reply != nil {
			return reply, nil
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return r
}

// run runs the resolver until the test in its bubble ends.
func run(t *testing.T, r *Resolver) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
}

// after lets time pass and all that it brings happen.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// texts writes targets, with priority and weight where they have any.
func texts(targets []Target) []string {
	l := []string{}
	for _, t := range targets {
		s := t.Addr.String()
		if t.Priority != 0 || t.Weight != 0 {
			s += fmt.Sprintf(" %d %d", t.Priority, t.Weight)
		}
		l = append(l, s)
	}
	return l
}

func wantTargets(t *testing.T, r *Resolver, n Name, want ...string) {
	t.Helper()
	if got := texts(r.Targets(n)); !slices.Equal(got, want) {
		t.Errorf("%v is %q, want %q", n, got, want)
	}
}

// many are n address records of a name.
func many(name string, n int) []string {
	var l []string
	a := netip.MustParseAddr("10.0.1.0")
	for range n {
		l = append(l, fmt.Sprintf("%s 60 IN A %s", name, a))
		a = a.Next()
	}
	return l
}
