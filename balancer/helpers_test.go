package balancer

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

var t0 = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// server is a backend at 10.0.0.n.
func server(n, capacity, weight int) BackendSpec {
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 8060)
	return BackendSpec{URI: fmt.Sprintf("sip:%v", addr), Network: "udp", Addr: addr, Capacity: capacity, Weight: weight}
}

func servers(n, capacity, weight int) []BackendSpec {
	var all []BackendSpec
	for i := 1; i <= n; i++ {
		all = append(all, server(i, capacity, weight))
	}
	return all
}

// single is one cluster "c" of one group.
func single(p Policy, backends ...BackendSpec) Spec {
	return Spec{IDC: "a", Clusters: []ClusterSpec{{Name: "c", Policy: p, Groups: []GroupSpec{{IDC: "a", Backends: backends}}}}}
}

func apply(t testing.TB, b *Balancer, s Spec) {
	t.Helper()
	if err := b.Apply(s); err != nil {
		t.Fatal(err)
	}
}

func with(t testing.TB, s Spec) *Balancer {
	t.Helper()
	b := New()
	apply(t, b, s)
	return b
}

func mustPick(t testing.TB, b *Balancer, cluster string, tried ...netip.AddrPort) *Lease {
	t.Helper()
	l, r := b.Pick(Request{Cluster: cluster, Tried: tried, Now: t0})
	if l == nil {
		t.Fatalf("no lease: %v", r)
	}
	if r.String() != "" || r.Full() {
		t.Fatalf("a lease and a refusal %q", r)
	}
	return l
}

func refuse(t testing.TB, b *Balancer, cluster string, tried ...netip.AddrPort) Refusal {
	t.Helper()
	l, r := b.Pick(Request{Cluster: cluster, Tried: tried, Now: t0})
	if l != nil {
		t.Fatalf("a lease at %s", l.Backend().URI())
	}
	return r
}

// backend finds server n of the cluster.
func backend(t testing.TB, b *Balancer, cluster string, n int) *Backend {
	t.Helper()
	be := b.Lookup(backendID(cluster, server(n, 0, 0).URI))
	if be == nil {
		t.Fatalf("no backend %d in %q", n, cluster)
	}
	return be
}

// number is the n of a server.
func number(be *Backend) int {
	a := be.Addr().Addr().As4()
	return int(a[2])<<8 | int(a[3])
}
