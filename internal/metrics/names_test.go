package metrics

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"mrcproxy/balancer"
	"mrcproxy/proxy"
)

// TestForget: what was counted for a server that is gone goes with it, in all clusters and with what is cached; others
// stay, and one that comes back begins at zero.
func TestForget(t *testing.T) {
	b := farm(t, first, second)
	m := over(b)
	count := func(backend *balancer.Backend) {
		for _, cluster := range []string{"ali", "baidu"} {
			m.InviteDone(&proxy.Invite{Cluster: cluster, Backend: backend, Code: 200, Took: time.Millisecond})
			m.Probed(cluster, "", backend.URI(), true, time.Millisecond)
		}
		m.Late(backend)
	}
	gone, stays := b.Backends()[0], b.Backends()[1]
	count(gone)
	count(gone)
	count(stays)
	m.Forget("sip:10.0.0.77:8060")
	m.Forget(gone.URI())
	for i, n := range []int{testutil.CollectAndCount(m.invites), testutil.CollectAndCount(m.probeDuration), testutil.CollectAndCount(m.late)} {
		if want := []int{2 + 2*len(noServer), 2, 1}[i]; n != want {
			t.Errorf("%d series, want %d", n, want)
		}
	}
	count(gone)
	if v := testutil.ToFloat64(m.invites.WithLabelValues("ali", gone.URI(), "200")); v != 1 {
		t.Errorf("counted %v after it came back", v)
	}
	if v := testutil.ToFloat64(m.invites.WithLabelValues("ali", stays.URI(), "200")); v != 1 {
		t.Errorf("another has %v", v)
	}
}
