package metrics

import (
	"encoding/hex"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mrcproxy/proxy"
)

const (
	exemplarEvery = time.Second // for each bucket, so that calls are not made slower by it
	maxExemplar   = 100         // bytes of a Call-ID: OpenMetrics allows 128 characters for all of an exemplar's labels
)

// exemplified is a histogram of inviteBuckets in which each bucket has one of its INVITEs as an example: one whose trace is told, by
// its trace id, else any, by its Call-ID.
type exemplified struct {
	prometheus.Observer
	with prometheus.ExemplarObserver
	next []atomic.Int64 // when a bucket may get another example, in nanoseconds of Unix time
}

func exemplify(o prometheus.Observer) *exemplified {
	with, _ := o.(prometheus.ExemplarObserver) // as all histograms are
	return &exemplified{Observer: o, with: with, next: make([]atomic.Int64, len(inviteBuckets)+1)}
}

func (e *exemplified) observe(i *proxy.Invite) {
	v := i.Took.Seconds()
	bucket, _ := slices.BinarySearch(inviteBuckets, v)
	now, next := time.Now().UnixNano(), &e.next[bucket]
	was := next.Load()
	if i.Steps == nil && (i.CallID == "" || now < was) || !next.CompareAndSwap(was, now+int64(exemplarEvery)) {
		e.Observe(v)
		return
	}
	e.with.ObserveWithExemplar(v, exampleOf(i))
}

func exampleOf(i *proxy.Invite) prometheus.Labels {
	if i.Steps != nil {
		return prometheus.Labels{"trace_id": hex.EncodeToString(i.Steps.Trace[:])}
	}
	return prometheus.Labels{"call_id": strings.ToValidUTF8(i.CallID[:min(len(i.CallID), maxExemplar)], "")}
}
