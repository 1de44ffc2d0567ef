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
	exemplarEvery = time.Second // for each bucket and kind, so that calls are not made slower by it
	tracedFor     = time.Minute // for which an example with a trace is not replaced by one without
	maxExemplar   = 100         // bytes of a Call-ID: OpenMetrics allows 128 characters for all of an exemplar's labels
)

// exemplified is a histogram of inviteBuckets in which each bucket has one of its INVITEs as an example: one whose trace is told, by
// its trace id, else any, by its Call-ID.
type exemplified struct {
	prometheus.Observer
	with    prometheus.ExemplarObserver
	buckets []nextExample
}

// nextExample is when a bucket may get another example, in nanoseconds of Unix time.
type nextExample struct{ traced, named atomic.Int64 }

func exemplify(o prometheus.Observer) *exemplified {
	with, _ := o.(prometheus.ExemplarObserver) // as all histograms are
	return &exemplified{Observer: o, with: with, buckets: make([]nextExample, len(inviteBuckets)+1)}
}

func (e *exemplified) observe(i *proxy.Invite) {
	v := i.Took.Seconds()
	bucket, _ := slices.BinarySearch(inviteBuckets, v)
	if labels := e.buckets[bucket].example(i, time.Now().UnixNano()); labels != nil {
		e.with.ObserveWithExemplar(v, labels)
		return
	}
	e.Observe(v)
}

// example is an INVITE as an example; nil: it is to be none.
func (n *nextExample) example(i *proxy.Invite, now int64) prometheus.Labels {
	switch {
	case i.Steps != nil && due(&n.traced, now):
		n.named.Store(now + int64(tracedFor))
		return prometheus.Labels{"trace_id": hex.EncodeToString(i.Steps.Trace[:])}
	case i.Steps == nil && i.CallID != "" && due(&n.named, now):
		return prometheus.Labels{"call_id": strings.ToValidUTF8(i.CallID[:min(len(i.CallID), maxExemplar)], "")}
	}
	return nil
}

// due reports whether the time for another example has come, to one who asks.
func due(next *atomic.Int64, now int64) bool {
	at := next.Load()
	return now >= at && next.CompareAndSwap(at, now+int64(exemplarEvery))
}
