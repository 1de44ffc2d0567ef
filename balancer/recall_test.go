package balancer

import (
	"net/netip"
	"testing"
)

// TestRecall: sessions at a server that is not configured are counted there until the last one ends, and count against its
// capacity when it is configured again.
func TestRecall(t *testing.T) {
	spec := func(n string, capacity int) BackendSpec {
		a := netip.MustParseAddrPort("10.0.0." + n + ":8060")
		return BackendSpec{URI: "sip:" + a.String(), Network: "udp", Addr: a, Capacity: capacity, Weight: 1}
	}
	b := New()
	apply := func(clusters ...ClusterSpec) {
		t.Helper()
		if err := b.Apply(Spec{Clusters: clusters}); err != nil {
			t.Fatal(err)
		}
	}
	asr := func(l ...BackendSpec) ClusterSpec {
		return ClusterSpec{Name: "asr", Groups: []GroupSpec{{Backends: l}}}
	}
	apply(asr(spec("1", 2)))
	leases := []*Lease{b.Recall("asr", "a", spec("1", Unlimited)), b.Recall("asr", "a", spec("2", Unlimited)), b.Recall("asr", "a", spec("2", Unlimited)), b.Recall("old", "a", spec("3", Unlimited))}
	view := func(want string) {
		t.Helper()
		got := ""
		for _, v := range b.View() {
			got += v.Cluster + v.URI[len("sip:10.0.0."):len("sip:10.0.0.")+1] + "=" + string(rune('0'+v.Sessions))
			if v.Removed {
				got += "-"
			}
			got += " "
		}
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	view("asr1=1 asr2=2- old3=1- ")
	if b.Lookup(leases[1].Backend().ID()) != leases[1].Backend() || leases[1].Backend() != leases[2].Backend() || leases[1].Backend().IDC() != "a" {
		t.Error("not found")
	}
	apply(asr(spec("1", 2), spec("2", 2)))
	view("asr1=1 asr2=2 old3=1- ")
	for range 2 {
		if l, _ := b.Pick(Request{Cluster: "asr", Tried: []netip.AddrPort{spec("1", 0).Addr}}); l != nil {
			t.Error("beyond the capacity")
		}
	}
	leases[3].Release()
	leases[2].Release()
	view("asr1=1 asr2=1 ")
	apply(asr(spec("1", 2)))
	leases[1].Release()
	view("asr1=1 ")
	if b.Recall("", "a", spec("1", 1)) != nil || b.Recall("asr", "a", BackendSpec{}) != nil {
		t.Error("a server that cannot be")
	}
}
