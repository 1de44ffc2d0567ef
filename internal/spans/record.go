package spans

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"mrcproxy/proxy"
)

// maxText bounds what a message can put into a span, in bytes.
const maxText = 256

// count is how many spans record makes of an INVITE.
func count(i *proxy.Invite) int { return 2 + len(i.Steps.Picks) + len(i.Steps.Attempts) }

// record makes the spans of an INVITE: one for all of it, and below that one for the route, for each pick and for each attempt.
func record(t trace.Tracer, i *ended) {
	s := i.Steps
	ctx := context.WithValue(context.Background(), traceID{}, trace.TraceID(s.Trace))
	ctx, whole := t.Start(ctx, "INVITE", trace.WithTimestamp(s.Received), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("sip.call_id", clip(i.CallID)), attribute.Int("sip.code", i.Code), attribute.String("client.address", i.Client.String()),
		attribute.String("mrcproxy.route", i.Route), attribute.String("mrcproxy.cluster", i.Cluster), attribute.Int64("mrcproxy.queued_ms", i.Queued.Milliseconds())))
	if b := i.Backend; b != nil {
		whole.SetAttributes(attribute.String("mrcproxy.backend", b.URI()), attribute.String("mrcproxy.backend_idc", b.IDC()))
	}
	if i.Code >= 300 && i.Code != 487 { // a cancelled call is no fault
		whole.SetStatus(codes.Error, clip(i.Why))
	}
	child := func(name string, at proxy.Span, a ...attribute.KeyValue) {
		if at.End.IsZero() {
			at.End = i.at
		}
		_, span := t.Start(ctx, name, trace.WithTimestamp(at.Begin), trace.WithAttributes(a...))
		span.End(trace.WithTimestamp(at.End))
	}
	child("route", proxy.Span{Begin: s.Received, End: s.Routed}, attribute.String("mrcproxy.route", i.Route))
	for _, p := range s.Picks {
		child("pick", p)
	}
	for n, at := range s.Attempts[:min(len(s.Attempts), len(i.Attempts))] {
		a := &i.Attempts[n]
		all := []attribute.KeyValue{attribute.String("mrcproxy.backend", a.Backend.URI()), attribute.String("mrcproxy.backend_idc", a.Backend.IDC()),
			attribute.String("mrcproxy.cluster", a.Backend.Cluster()), attribute.String("mrcproxy.outcome", a.Outcome)}
		if code, err := strconv.Atoi(a.Outcome); err == nil {
			all = append(all, attribute.Int("sip.code", code))
		}
		child("attempt", at, all...)
	}
	whole.End(trace.WithTimestamp(i.at))
}

// clip bounds what a peer wrote, and makes it what a span may hold: one that may not would have all of a request refused.
func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxText)], "\uFFFD") }

// traceID is the key of a context's trace id.
type traceID struct{}

// ids gives a trace the id that it has already.
type ids struct{}

// NewIDs implements sdk.IDGenerator.
func (g ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	id, _ := ctx.Value(traceID{}).(trace.TraceID)
	return id, g.NewSpanID(ctx, id)
}

// NewSpanID implements sdk.IDGenerator.
func (ids) NewSpanID(context.Context, trace.TraceID) (id trace.SpanID) {
	binary.BigEndian.PutUint64(id[:], rand.Uint64()|1)
	return id
}
