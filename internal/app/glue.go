package app

import (
	"context"
	"time"

	"go.uber.org/zap"

	"mrcproxy/balancer"
	"mrcproxy/health"
	"mrcproxy/health/probe"
	"mrcproxy/internal/api"
	"mrcproxy/internal/metrics"
	"mrcproxy/internal/session"
	"mrcproxy/proxy"
)

// calls is the balancer as the engine sees it: what calls show of a server goes to its health.
type calls struct{ a *App }

func (c calls) Pick(r balancer.Request) (*balancer.Lease, balancer.Refusal) {
	return c.a.bal.Pick(r)
}

func (c calls) Available(cluster string, now time.Time) bool { return c.a.bal.Available(cluster, now) }

func (c calls) Report(b *balancer.Backend, o proxy.Outcome) {
	ev := health.Event{Kind: health.CallOK, Reason: o.Reason, RetryAfter: o.RetryAfter}
	c.a.metrics.Attempted(b, o.Kind)
	if o.Took > 0 {
		c.a.bal.Observe(b, o.Took)
	}
	switch o.Kind {
	case proxy.Errored:
		ev.Kind = health.CallErrored
	case proxy.Failed:
		ev.Kind = health.CallFailed
	case proxy.Refused:
		ev.Kind = health.CallRefused
		ev.Idle = b.Idle()
	}
	if o.Kind != proxy.Answered {
		c.a.recent.Failed(b.ID(), api.Failure{At: time.Now(), Kind: failures[o.Kind], Reason: o.Reason})
	}
	c.a.health.Report(b.ID(), ev)
}

// failures are the kinds of calls that a server did not take.
var failures = map[proxy.OutcomeKind]string{proxy.Failed: "failed", proxy.Refused: "refused", proxy.Errored: "errored"}

// sender sends probes from the sockets of calls.
type sender struct{ p *proxy.Proxy }

func (s sender) Options(ctx context.Context, d probe.Dest) (int, error) {
	return s.p.Options(ctx, d.URI, d.Network, d.Addr)
}

var states = map[health.State]balancer.State{health.Unknown: balancer.Unknown, health.Up: balancer.Up, health.Down: balancer.Down, health.Draining: balancer.Draining}

// rank is how bad a server is that is down: one that answers probes may be better than its calls, and one that does not
// answer may not be there at all.
func rank(s health.Status) int {
	if s.Dead() {
		return 1
	}
	return 0
}

// healthChanged gives a server's new state to the balancer.
func (a *App) healthChanged(c health.Change) {
	b := a.bal.Lookup(c.Key)
	if b == nil {
		return // removed by a reload meanwhile
	}
	a.steer(b)
	a.bal.Hold(b, c.To.HoldUntil)
	if c.From.State != c.To.State {
		a.metrics.StateChanged(b, c.To.State)
		a.log.Info("backend "+c.To.State.String(), zap.String("cluster", b.Cluster()), zap.String("idc", b.IDC()), zap.String("backend", b.URI()),
			zap.Stringer("from", c.From.State), zap.String("reason", c.To.Reason), zap.Int("sessions", b.Sessions()))
		a.recent.Add(api.Event{At: c.To.Since, Type: "state", Cluster: b.Cluster(), IDC: b.IDC(), Backend: b.URI(), State: c.To.State.String(),
			Text: c.From.State.String() + " -> " + c.To.State.String() + ": " + c.To.Reason})
	}
	if c.To.Suspect && !c.From.Suspect {
		a.log.Warn("backend suspect", zap.String("cluster", b.Cluster()), zap.String("idc", b.IDC()), zap.String("backend", b.URI()),
			zap.Int("unexplained_refusals", c.To.Unexplained), zap.Int("sessions", b.Sessions()), zap.Int("capacity", b.Capacity()))
		a.deeps.Now(c.Key) // only a session can tell
	}
	if c.From.State == health.Down && c.To.State == health.Up && !c.From.EngineDown {
		a.deeps.Now(c.Key) // OPTIONS is answered before the engine is ready
	}
	if c.To.Dead() && !c.From.Dead() {
		a.backendDied(b)
	}
}

func (a *App) probed(t health.Target, r health.Result) {
	if b := a.bal.Lookup(t.Key); b != nil {
		a.metrics.Probed(b.Cluster(), b.IDC(), b.URI(), r.OK, r.Duration)
		a.recent.Probed(b.ID(), api.Probe{At: time.Now(), OK: r.OK, Code: r.Code, Reason: r.Reason, MS: ms(r.Duration)})
	}
}

// observer counts and logs what the engine tells.
type observer struct {
	*metrics.Metrics
	log *zap.Logger
	app *App
}

// InviteDone logs the INVITEs that became no session; the others are logged when their session ends.
func (o observer) InviteDone(i *proxy.Invite) {
	o.Metrics.InviteDone(i)
	o.app.spans.Tell(i)
	o.app.remember(i)
	if i.Code < 300 {
		return
	}
	o.app.recordInvite(i)
	o.log.Info("session", zap.String("call_id", clip(i.CallID)), zap.String("route", i.Route), zap.String("cluster", i.Cluster), zap.String("backend", uri(i.Backend)),
		zap.Int("code", i.Code), zap.String("why", i.Why), zap.Float64("setup_ms", ms(i.Took)), zap.Array("attempts", attempts(i.Attempts)))
}

// Unroutable logs an INVITE that no route matched.
func (o observer) Unroutable(i *proxy.Invite, userAgent string) {
	o.Metrics.Unroutable(i, userAgent)
	o.app.spans.Tell(i)
	o.app.recordInvite(i)
	o.log.Warn("no route matches", zap.String("call_id", clip(i.CallID)), zap.String("user_agent", clip(userAgent)))
}

// sessionEnded writes a session's one line.
func (a *App) sessionEnded(s *session.Session, why session.Reason) {
	a.metrics.SessionEnded(s, why)
	a.recordSession(s, why)
	b := s.Backend()
	a.log.Info("session", zap.String("call_id", clip(s.CallID)), zap.String("route", s.Route), zap.String("cluster", b.Cluster()), zap.String("idc", b.IDC()),
		zap.String("backend", b.URI()), zap.Int("code", 200), zap.Float64("setup_ms", ms(s.Setup)), zap.Int64("duration_ms", time.Since(s.Start).Milliseconds()),
		zap.String("ended_by", why.String()), zap.Array("attempts", attempts(s.Attempts)))
}

func uri(b *balancer.Backend) string {
	if b == nil {
		return ""
	}
	return b.URI()
}

// clip bounds what a peer can write into the log.
func clip(s string) string { return s[:min(len(s), 256)] }

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
