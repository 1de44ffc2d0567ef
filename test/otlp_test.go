package test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"mrcproxy/internal/sim"
)

// TestOTLP: a collector is told of a call that a second server took: its route, its picks and both attempts, under the trace id that the
// exemplar of the metrics has; and of no call once a reload has turned that off.
func TestOTLP(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	traces := map[string][]*tracepb.Span{} // by Call-ID of the whole
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		var req collectorpb.ExportTraceServiceRequest
		if err := proto.Unmarshal(b, &req); err != nil {
			t.Error(err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, rs := range req.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				byTrace := map[string][]*tracepb.Span{}
				for _, s := range ss.Spans {
					byTrace[string(s.TraceId)] = append(byTrace[string(s.TraceId)], s)
				}
				for _, l := range byTrace {
					traces[attribute(l, "INVITE", "sip.call_id")[0]] = l
				}
			}
		}
	}))
	defer collector.Close()
	l := newLab(t)
	busy := l.simServer(21, sim.ServerOptions{})
	l.simServer(22, sim.ServerOptions{})
	busy.SetFault(sim.Refuse(486, 0))
	yaml := l.head() + `routes: [{name: asr, match: {mrcp: true}, cluster: first}]
clusters:
  - {name: first, fallback: [second], groups: [{idc: a, backends: [{uri: "` + l.uri(21, "udp") + `"}]}]}
  - {name: second, groups: [{idc: b, backends: [{uri: "` + l.uri(22, "tcp") + `"}]}]}
`
	d := l.start(yaml + "otlp: {endpoint: \"" + collector.URL + "\"}\n")
	d.await("all are up", 10*time.Second, func() bool { return d.up() == 2 })
	p := l.dial("udp", 5)
	p.establish(rawRequest{callID: "traced"}).bye()
	if a := p.ask(rawRequest{callID: "no-route", body: "v=0\r\n"}); a.code != 488 {
		t.Fatal(a.head)
	}
	of := func(call string) []*tracepb.Span {
		mu.Lock()
		defer mu.Unlock()
		return traces[call]
	}
	d.await("both are told of", 10*time.Second, func() bool { return of("traced") != nil && of("no-route") != nil })
	spans := of("traced")
	var names []string
	for _, s := range spans {
		names = append(names, s.Name)
		if s.EndTimeUnixNano < s.StartTimeUnixNano || s.StartTimeUnixNano < whole(spans).StartTimeUnixNano || s.EndTimeUnixNano > whole(spans).EndTimeUnixNano {
			t.Errorf("%s is not within its INVITE", s.Name)
		}
	}
	slices.Sort(names)
	if got := strings.Join(names, " "); got != "INVITE attempt attempt pick pick route" {
		t.Errorf("spans: %s", got)
	}
	if got := attribute(spans, "attempt", "mrcproxy.outcome"); !slices.Equal(got, []string{"486", "200"}) {
		t.Errorf("attempts: %q", got)
	}
	if got := attribute(of("no-route"), "INVITE", "sip.code"); !slices.Equal(got, []string{"488"}) || len(of("no-route")) != 2 {
		t.Errorf("no route: %q, %d spans", got, len(of("no-route")))
	}

	req, _ := http.NewRequest(http.MethodGet, d.url("/metrics"), nil)
	req.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	if _, text := do(http.DefaultClient, req); !strings.Contains(text, fmt.Sprintf(`# {trace_id="%x"}`, whole(spans).TraceId)) {
		t.Error("no exemplar has the trace")
	}

	d.write(yaml)
	if code, text := d.post("/-/reload"); code != 200 {
		t.Fatal(text)
	}
	sent := d.metrics()["mrcproxy_spans_sent_total"]
	p.establish(rawRequest{callID: "not-traced"}).bye()
	if now := d.metrics(); sent != 8 || now["mrcproxy_spans_sent_total"] != sent || now["mrcproxy_spans_dropped_total"] != 0 {
		t.Errorf("%v spans sent before the reload, then %v, and %v dropped", sent, now["mrcproxy_spans_sent_total"], now["mrcproxy_spans_dropped_total"])
	}
}

func whole(l []*tracepb.Span) *tracepb.Span {
	return l[slices.IndexFunc(l, func(s *tracepb.Span) bool { return s.Name == "INVITE" })]
}

// attribute is a value of each span of that name, in the order of their times.
func attribute(l []*tracepb.Span, name, key string) (values []string) {
	l = slices.Clone(l)
	slices.SortFunc(l, func(a, b *tracepb.Span) int { return int(int64(a.StartTimeUnixNano) - int64(b.StartTimeUnixNano)) })
	for _, s := range l {
		for _, kv := range s.Attributes {
			if s.Name == name && kv.Key == key {
				v := kv.Value.GetStringValue()
				if v == "" {
					v = fmt.Sprint(kv.Value.GetIntValue())
				}
				values = append(values, v)
			}
		}
	}
	return values
}
