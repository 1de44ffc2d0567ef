package spans

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"mrcproxy/balancer"
	"mrcproxy/internal/session"
	"mrcproxy/proxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// collectorOf is a collector that gives what it gets, and answers with these codes, then 200.
func collectorOf(t *testing.T, codes ...int) (url string, got <-chan *collectorpb.ExportTraceServiceRequest) {
	t.Helper()
	c := make(chan *collectorpb.ExportTraceServiceRequest, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(codes) > 0 {
			w.WriteHeader(codes[0])
			codes = codes[1:]
			return
		}
		b, err := io.ReadAll(r.Body)
		req := new(collectorpb.ExportTraceServiceRequest)
		if err == nil {
			err = proto.Unmarshal(b, req)
		}
		if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%s %s: %v", r.URL.Path, r.Header, err)
		}
		c <- req
	}))
	t.Cleanup(s.Close)
	return s.URL + "/v1/traces", c
}

func run(t *testing.T, endpoint string) (e *Exporter, stop func()) {
	t.Helper()
	e = New(Options{Version: "v1", IDC: "sh-a", Log: zap.NewNop()})
	e.Use(endpoint)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	return e, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func text(l []*commonpb.KeyValue) string {
	var all []string
	for _, kv := range l {
		v := kv.Value.GetStringValue()
		if n, ok := kv.Value.Value.(*commonpb.AnyValue_IntValue); ok {
			v = fmt.Sprint(n.IntValue)
		}
		all = append(all, kv.Key+"="+v)
	}
	return strings.Join(all, " ")
}

// invite is one that a second server took, received at a time.
func invite(t *testing.T, at time.Time) *proxy.Invite {
	t.Helper()
	b := balancer.New()
	spec := func(n byte) balancer.BackendSpec {
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, n}), 8060)
		return balancer.BackendSpec{URI: "sip:" + addr.String(), Network: "udp", Addr: addr, Capacity: 1, Weight: 1}
	}
	err := b.Apply(balancer.Spec{IDC: "sh-a", Clusters: []balancer.ClusterSpec{{Name: "asr", Groups: []balancer.GroupSpec{{IDC: "sh-a", Backends: []balancer.BackendSpec{spec(1), spec(2)}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	one, two := b.Backends()[0], b.Backends()[1]
	span := func(from, to int) proxy.Span {
		return proxy.Span{Begin: at.Add(time.Duration(from) * time.Millisecond), End: at.Add(time.Duration(to) * time.Millisecond)}
	}
	return &proxy.Invite{CallID: "call@\xff", Route: "r", Cluster: "asr", Backend: two, Code: 200, Client: netip.MustParseAddrPort("10.9.9.9:5070"), Queued: 7 * time.Millisecond,
		Attempts: []session.Attempt{{Backend: one, Outcome: "no_response"}, {Backend: two, Outcome: "200"}},
		Steps: &proxy.Steps{Trace: [16]byte{0: 0xab, 15: 1}, Received: at, Routed: at.Add(time.Millisecond), Picks: []proxy.Span{span(1, 2), span(500, 501)},
			Attempts: []proxy.Span{span(2, 502), span(502, 505)}}}
}

// TestSpans: the collector gets one trace with the times, the tree and the attributes of the INVITE.
func TestSpans(t *testing.T) {
	url, got := collectorOf(t)
	e, stop := run(t, url)
	at := time.Now().Add(-time.Second)
	e.Tell(&proxy.Invite{CallID: "not drawn"})
	e.Tell(invite(t, at))
	stop() // sends what waits
	req := first(t, got)
	if s := text(req.ResourceSpans[0].Resource.Attributes); s != "mrcproxy.idc=sh-a service.name=mrcproxy service.version=v1" {
		t.Errorf("resource: %s", s)
	}
	var lines []string
	var root []byte
	for _, s := range req.ResourceSpans[0].ScopeSpans[0].Spans {
		if hex.EncodeToString(s.TraceId) != "ab000000000000000000000000000001" {
			t.Errorf("trace %x", s.TraceId)
		}
		ms := func(ns uint64) string { return fmt.Sprint(time.Unix(0, int64(ns)).Sub(at).Milliseconds()) }
		end := ms(s.EndTimeUnixNano)
		if s.Name == "INVITE" {
			root = s.SpanId
			if len(s.ParentSpanId) != 0 || time.Unix(0, int64(s.EndTimeUnixNano)).Before(at.Add(time.Second)) {
				t.Errorf("parent %x, until %s ms", s.ParentSpanId, end)
			}
			end = "end"
		}
		lines = append(lines, fmt.Sprintf("%s %s-%s %s", s.Name, ms(s.StartTimeUnixNano), end, text(s.Attributes)))
	}
	slices.Sort(lines)
	want := []string{
		"INVITE 0-end sip.call_id=call@\uFFFD sip.code=200 client.address=10.9.9.9:5070 mrcproxy.route=r mrcproxy.cluster=asr mrcproxy.queued_ms=7 mrcproxy.backend=sip:10.0.0.2:8060 mrcproxy.backend_idc=sh-a",
		"attempt 2-502 mrcproxy.backend=sip:10.0.0.1:8060 mrcproxy.backend_idc=sh-a mrcproxy.cluster=asr mrcproxy.outcome=no_response",
		"attempt 502-505 mrcproxy.backend=sip:10.0.0.2:8060 mrcproxy.backend_idc=sh-a mrcproxy.cluster=asr mrcproxy.outcome=200 sip.code=200",
		"pick 1-2 ", "pick 500-501 ", "route 0-1 mrcproxy.route=r",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("spans\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	for _, s := range req.ResourceSpans[0].ScopeSpans[0].Spans {
		if s.Name != "INVITE" && string(s.ParentSpanId) != string(root) {
			t.Errorf("%s has the parent %x, not %x", s.Name, s.ParentSpanId, root)
		}
	}
	if got := e.Stats(); got != (Stats{Sent: 6}) {
		t.Errorf("%+v", got)
	}
}

// TestRefused: what the collector refuses is counted, and what comes later is told; an INVITE that failed is an error.
func TestRefused(t *testing.T) {
	url, got := collectorOf(t, 400)
	e, stop := run(t, "")
	defer stop()
	e.Use(url)
	i := invite(t, time.Now())
	tell := func(n int) {
		for range n {
			e.Tell(i)
		}
	}
	tell(maxBatch/6 + 1)
	for end := time.Now().Add(patience); e.Stats().Errors == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%+v", e.Stats())
		}
	}
	if s := e.Stats(); s.Errors != 1 || s.Dropped < maxBatch || s.Sent != 0 {
		t.Errorf("%+v", s)
	}
	failed := *i
	failed.Code, failed.Why = 480, "full"
	i = &failed
	tell(maxBatch/6 + 1)
	for _, s := range first(t, got).ResourceSpans[0].ScopeSpans[0].Spans {
		if s.Name == "INVITE" && s.Status.GetMessage() == "full" && s.Status.GetCode() == 2 {
			return
		}
	}
	t.Error("no span says that an INVITE failed")
}

func first[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// TestFull: who tells never waits, whatever the collector does.
func TestFull(t *testing.T) {
	e := New(Options{Log: zap.NewNop()}) // nobody runs it
	i := invite(t, time.Now())
	for range maxWaiting + 2 {
		e.Tell(i)
	}
	if got := e.Stats(); got != (Stats{Dropped: 12}) {
		t.Errorf("%+v", got)
	}
}
