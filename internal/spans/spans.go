// Package spans tells an OpenTelemetry collector, by OTLP over HTTP, what became of INVITEs: a trace for each, with a span for its
// route, each pick and each attempt. It owns what waits for the collector. It makes no caller wait: while the collector is slow or gone,
// traces are dropped and counted.
package spans

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"mrcproxy/internal/latest"
	"mrcproxy/proxy"
)

const (
	maxWaiting  = 4096             // INVITEs
	maxBatch    = 512              // spans in a request
	sendEvery   = 2 * time.Second  // or when there is a batch
	sendTimeout = 10 * time.Second // of a request with its repetitions
	lastTimeout = 3 * time.Second  // of what is left at the end
	sayAgain    = 30 * time.Second // that it still fails
)

// Options make an Exporter.
type Options struct {
	Version, IDC string // of this instance, as the collector sees it
	Log          *zap.Logger
}

// Stats are counts of spans since New.
type Stats struct {
	Sent    uint64 // that the collector took
	Dropped uint64 // that it did not
	Errors  uint64 // requests that failed
}

// Exporter tells of INVITEs while it has an endpoint. All methods are safe for concurrent use.
type Exporter struct {
	opt      Options
	invites  chan *ended
	endpoint *latest.Value[string]

	sent, dropped, errors atomic.Uint64
}

// ended is an INVITE and when its final response went out.
type ended struct {
	proxy.Invite
	at time.Time
}

// New makes an Exporter without an endpoint.
func New(o Options) *Exporter {
	return &Exporter{opt: o, invites: make(chan *ended, maxWaiting), endpoint: latest.New[string]()}
}

// Use has INVITEs from now on told to the collector at that URL; "": to nobody.
func (e *Exporter) Use(endpoint string) { e.endpoint.Set(endpoint) }

// Tell tells of an INVITE that has just ended, if it was drawn. Its Attempts and Steps are not to be changed any more.
func (e *Exporter) Tell(i *proxy.Invite) {
	if i.Steps == nil {
		return
	}
	select {
	case e.invites <- &ended{*i, time.Now()}:
	default:
		e.dropped.Add(uint64(count(i)))
	}
}

// Stats are the counts so far.
func (e *Exporter) Stats() Stats {
	return Stats{Sent: e.sent.Load(), Dropped: e.dropped.Load(), Errors: e.errors.Load()}
}

// Run tells until ctx ends, and then what still waits.
func (e *Exporter) Run(ctx context.Context) error {
	for {
		e.serve(ctx, e.endpoint.Get())
		if ctx.Err() != nil {
			return nil
		}
	}
}

// serve tells one collector, until there is another or ctx ends.
func (e *Exporter) serve(ctx context.Context, endpoint string) {
	c, err := e.dial(ctx, endpoint)
	if err != nil {
		e.opt.Log.Error("spans cannot be told", zap.Error(err)) // an endpoint that the configuration allows is none that this refuses
	}
	defer c.close()
	tick := time.NewTicker(sendEvery)
	defer tick.Stop()
	for {
		select {
		case i := <-e.invites:
			c.tell(ctx, i)
		case <-tick.C:
			c.send(ctx)
		case <-e.endpoint.Changed():
			c.send(ctx)
			return
		case <-ctx.Done():
			late, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTimeout)
			defer cancel()
			for len(e.invites) > 0 {
				c.tell(late, <-e.invites)
			}
			c.send(late)
			return
		}
	}
}

// collector is the way to one.
type collector struct {
	e      *Exporter
	out    *otlptrace.Exporter // nil: there is none, and nothing is told
	tracer trace.Tracer
	batch  batch
	said   time.Time // when a failure was logged
}

func (e *Exporter) dial(ctx context.Context, endpoint string) (c *collector, err error) {
	c = &collector{e: e}
	if endpoint == "" {
		return c, nil
	}
	c.out, err = otlptracehttp.New(context.WithoutCancel(ctx), otlptracehttp.WithEndpointURL(endpoint), otlptracehttp.WithTimeout(sendTimeout),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: time.Second, MaxInterval: sendTimeout / 2, MaxElapsedTime: sendTimeout}))
	if err != nil {
		c.out = nil
		return c, err
	}
	who := resource.NewSchemaless(attribute.String("service.name", "mrcproxy"), attribute.String("service.version", e.opt.Version), attribute.String("mrcproxy.idc", e.opt.IDC))
	c.tracer = sdk.NewTracerProvider(sdk.WithResource(who), sdk.WithSampler(sdk.AlwaysSample()), sdk.WithIDGenerator(ids{}), sdk.WithSpanProcessor(&c.batch)).Tracer("mrcproxy")
	return c, nil
}

// tell makes the spans of an INVITE, and sends them where they are enough.
func (c *collector) tell(ctx context.Context, i *ended) {
	if c.out == nil {
		c.e.dropped.Add(uint64(count(&i.Invite)))
		return
	}
	record(c.tracer, i)
	if len(c.batch) >= maxBatch {
		c.send(ctx)
	}
}

// send sends the batch. It is kept when ctx ends meanwhile, for a last attempt.
func (c *collector) send(ctx context.Context) {
	if len(c.batch) == 0 {
		return
	}
	limited, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	err := c.out.ExportSpans(limited, c.batch)
	switch {
	case err == nil:
		c.e.sent.Add(uint64(len(c.batch)))
	case errors.Is(ctx.Err(), context.Canceled):
		return
	default:
		c.e.errors.Add(1)
		c.e.dropped.Add(uint64(len(c.batch)))
		if now := time.Now(); now.Sub(c.said) >= sayAgain {
			c.said = now
			c.e.opt.Log.Warn("spans do not reach the collector", zap.Error(err))
		}
	}
	c.batch = nil
}

func (c *collector) close() {
	if c.out != nil {
		_ = c.out.Shutdown(context.Background()) // it has nothing left to send
	}
}

// batch is spans that have ended: a SpanProcessor that leaves the sending to who makes them.
type batch []sdk.ReadOnlySpan

// OnStart implements sdk.SpanProcessor.
func (*batch) OnStart(context.Context, sdk.ReadWriteSpan) {}

// OnEnd implements sdk.SpanProcessor.
func (b *batch) OnEnd(s sdk.ReadOnlySpan) { *b = append(*b, s) }

// Shutdown implements sdk.SpanProcessor.
func (*batch) Shutdown(context.Context) error { return nil }

// ForceFlush implements sdk.SpanProcessor.
func (*batch) ForceFlush(context.Context) error { return nil }
