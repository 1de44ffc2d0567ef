package app

import (
	"context"
	"strconv"
	"time"

	"go.uber.org/zap"

	"mrcproxy/balancer"
	"mrcproxy/config"
	"mrcproxy/internal/api"
	"mrcproxy/internal/recent"
	"mrcproxy/proxy"
)

// reloaded is what became of the last load of the configuration.
type reloaded struct {
	loaded time.Time // when that which runs was loaded
	last   api.Reload
}

// attend does what comes with time: it ends what operators wanted until now, and has the recent past remembered.
func (a *App) attend(ctx context.Context) error {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	sample := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-t.C:
			a.expire(now)
			a.recent.Flush()
			if !now.Before(sample) {
				sample = now.Add(recent.Step)
				a.sample()
			}
		}
	}
}

func (a *App) sample() {
	m := map[uint32]int{}
	for _, v := range a.bal.View() {
		m[v.ID] = v.Sessions
	}
	a.recent.Sample(m)
}

func (a *App) expire(now time.Time) {
	gone := a.book.Expire(now)
	if gone == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.probeBackends(a.cfg.Load())
	for _, w := range gone {
		text := string(w.Mode) + " of " + w.Scope.String() + " has ended, as wanted"
		a.log.Info("operator", zap.String("action", "expired"), zap.Stringer("scope", w.Scope), zap.String("by", w.By))
		a.recent.Add(api.Event{At: now, Type: "operator", Cluster: w.Cluster, IDC: w.IDC, Backend: w.Backend, Text: text, By: w.By})
	}
}

// toldReload keeps what became of a load of the configuration; before is what ran then. mu is held.
func (a *App) toldReload(cause string, before *config.Config, err error) {
	now := time.Now()
	d := DiffOf(before, a.cfg.Load())
	r := reloaded{loaded: now, last: api.Reload{At: now, OK: err == nil, Cause: cause, Changes: d.Changes, NeedsRestart: d.NeedsRestart}}
	e := api.Event{At: now, Type: "config", Text: "reloaded, changes: " + strconv.Itoa(len(d.Changes)), By: cause}
	if err != nil {
		r.loaded, r.last.Error = a.reloads.Load().loaded, err.Error()
		e.Text = "refused: " + err.Error()
	}
	a.reloads.Store(&r)
	a.recent.Add(e)
}

// spec is the configuration as the balancer sees it now, with the weights that operators want.
func (a *App) spec(cfg *config.Config) (balancer.Spec, []string) {
	s, skipped := balancerSpec(cfg, a.names.Targets)
	replaced := map[weighed]int{}
	for _, c := range s.Clusters {
		for _, g := range c.Groups {
			for i := range g.Backends {
				b := &g.Backends[i]
				if w, ok := a.book.Weight(c.Name, b.URI); ok {
					replaced[weighed{c.Name, b.URI}] = b.Weight
					b.Weight = w
				}
			}
		}
	}
	a.fileWeights.Store(&replaced)
	return s, skipped
}

// weighed is a backend that operators have given a weight.
type weighed struct{ cluster, backend string }

// steer gives the balancer a server's state: an operator's wish before its health.
func (a *App) steer(b *balancer.Backend) {
	a.steering.Lock()
	defer a.steering.Unlock()
	state := balancer.Unknown
	if st, ok := a.health.Status(b.ID()); ok {
		state = states[st.State]
		a.bal.SetRank(b, rank(st))
	}
	if _, ok := a.book.For(b.Cluster(), b.IDC(), b.URI()); ok {
		state = balancer.Draining
	}
	a.bal.SetState(b, state, time.Now())
}

// rejection is why a client was turned away.
func rejection(i *proxy.Invite) string {
	text := strconv.Itoa(i.Code)
	if i.Why != "" {
		text += ": " + clip(i.Why)
	}
	return text
}

// remember keeps what became of an INVITE, where something went wrong.
func (a *App) remember(i *proxy.Invite) {
	now := time.Now()
	for n, t := range i.Attempts {
		if n < len(i.Attempts)-1 {
			b := t.Backend
			a.recent.Call(api.Event{At: now, Type: "failover", Cluster: b.Cluster(), IDC: b.IDC(), Backend: b.URI(), Text: t.Outcome, CallID: clip(i.CallID)})
		}
	}
	if i.Code >= 300 && i.Code != 487 { // which is what the client asked for
		a.recent.Call(api.Event{At: now, Type: "rejected", Cluster: i.Cluster, Backend: uri(i.Backend), Text: rejection(i), CallID: clip(i.CallID)})
	}
}
