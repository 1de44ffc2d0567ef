package app

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"

	"mrcproxy/balancer"
	"mrcproxy/config"
	"mrcproxy/health"
	"mrcproxy/health/probe"
	"mrcproxy/internal/mrcp"
	"mrcproxy/proxy"
)

// deepSpec is what a configuration asks of a server. It reads the audio file.
func deepSpec(d config.Deep) (*probe.Deep, error) {
	methods := map[string]string{config.DeepRecognize: mrcp.Recognize, config.DeepSpeak: mrcp.Speak}
	s := &probe.Deep{Resource: d.ResourceOf(), Method: methods[d.Method], Grammar: d.Grammar, Expect: d.Expect.Re, Confidence: d.Confidence, Text: d.Text, Language: d.Language}
	if s.Method == "" { // also where deep probes are off, for those who ask for one
		s.Method = mrcp.GetParams
	}
	if d.Method != config.DeepRecognize {
		return s, nil
	}
	var err error
	s.Audio, err = probe.LoadAudio(d.Audio)
	return s, err
}

// deepSpecs are the clusters' deep probes, and under "" that of the health section.
type deepSpecs map[string]*probe.Deep

// loadDeep makes the deep probes of a configuration.
func loadDeep(c *config.Config) (deepSpecs, error) {
	all := deepSpecs{}
	add := func(key, path string, d config.Deep) error {
		s, err := deepSpec(d)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		all[key] = s
		return nil
	}
	if err := add("", "health.deep.audio", c.Health.Deep); err != nil {
		return nil, err
	}
	for i := range c.Clusters {
		cc := &c.Clusters[i]
		if err := add(cc.Name, fmt.Sprintf("clusters[%s].health.deep.audio", cc.Name), cc.Health.Deep); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// caller places the sessions of deep probes by the sockets of calls.
type caller struct{ p *proxy.Proxy }

func (c caller) Local(d probe.Dest) netip.Addr { return c.p.Local(d.Network, d.Addr) }

func (c caller) Invite(ctx context.Context, d probe.Dest, sdp []byte) (probe.Dialog, error) {
	s, err := c.p.Invite(ctx, d.URI, d.Network, d.Addr, sdp)
	if err != nil {
		return nil, err
	}
	return dialog{s}, nil
}

type dialog struct{ *proxy.OwnSession }

func (d dialog) Answer() (int, []byte) { return d.Code, d.Body }

// deepTasks are the deep probes to be made now and then.
func (a *App) deepTasks(c *config.Config) []health.Task {
	var l []health.Task
	for _, b := range a.bal.Backends() {
		h := healthOf(c, b.Cluster())
		if h.Deep.Method == config.DeepOff {
			a.metrics.DeepOff(b.Cluster(), b.URI())
			continue
		}
		l = append(l, health.Task{Key: b.ID(), Interval: h.Deep.Interval, Jitter: h.Jitter, Do: func(ctx context.Context) { a.deepProbe(ctx, b) }})
	}
	return l
}

// healthOf is the health section of a cluster.
func healthOf(c *config.Config, cluster string) *config.Health {
	for i := range c.Clusters {
		if c.Clusters[i].Name == cluster {
			return &c.Clusters[i].Health
		}
	}
	return &c.Health
}

// Why a deep probe was not made, as metrics spell it.
const (
	skipFull = "full"
	skipDown = "down"
)

// deepProbe makes one deep probe, if this is a time for it, and passes on what it shows.
func (a *App) deepProbe(ctx context.Context, b *balancer.Backend) {
	if st, ok := a.health.Status(b.ID()); !ok || st.State == health.Draining || st.State == health.Down && !st.EngineDown {
		a.metrics.DeepSkipped(b.Cluster(), b.URI(), skipDown) // others say what there is to say
		return
	}
	d := healthOf(a.cfg.Load(), b.Cluster()).Deep
	r, err := a.probeLeased(ctx, b, destOf(b), (*a.deep.Load())[b.Cluster()], d.Timeout)
	switch {
	case errors.Is(err, errFull):
		a.metrics.DeepSkipped(b.Cluster(), b.URI(), skipFull)
		return
	case err != nil: // we stop
		return
	}
	a.metrics.DeepProbed(b.Cluster(), b.URI(), r)
	a.logDeep(b, r)
	if kind, ok := evidence(r, b.Sessions() > 0); ok {
		a.health.Report(b.ID(), health.Event{Kind: kind, Reason: r.Detail})
	}
}

// evidence is what a deep probe says of the server; false when it says nothing. A refusal is normal where there are other
// sessions: a server that is full is not sick.
func evidence(r probe.Report, othersThere bool) (health.EventKind, bool) {
	switch r.Failure {
	case probe.OK:
		return health.DeepOK, true
	case probe.Local, probe.Cancelled:
		return 0, false
	case probe.Refused:
		return health.DeepFailed, !othersThere
	}
	return health.DeepFailed, true
}

func destOf(b *balancer.Backend) probe.Dest {
	return probe.Dest{URI: b.URI(), Network: b.Network(), Addr: b.Addr()}
}

// errFull: a backend has no place for a session of ours.
var errFull = errors.New("the backend is full, so it was not probed")

// probeLeased makes a deep probe when no other is under way at that address. At a backend it takes a place like any session;
// a nil backend is a server that is none.
func (a *App) probeLeased(ctx context.Context, b *balancer.Backend, dest probe.Dest, spec *probe.Deep, timeout time.Duration) (probe.Report, error) {
	unlock, err := a.probing.lock(ctx, dest.Addr)
	if err != nil {
		return probe.Report{}, err
	}
	defer unlock()
	if b != nil {
		lease := a.bal.Take(b, spec.Resource)
		if lease == nil {
			return probe.Report{}, errFull
		}
		defer lease.Release()
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return probe.Session{Caller: caller{a.proxy}}.Probe(ctx, dest, spec), nil
}

func (a *App) logDeep(b *balancer.Backend, r probe.Report) {
	log := a.log.Info
	if r.Failure != probe.OK {
		log = a.log.Warn
	}
	fields := []zap.Field{zap.String("cluster", b.Cluster()), zap.String("idc", b.IDC()), zap.String("backend", b.URI()), zap.Stringer("result", r.Failure)}
	if r.Detail != "" {
		fields = append(fields, zap.String("reason", clip(r.Detail)))
	}
	for s := range probe.Steps {
		if r.Took[s] > 0 {
			fields = append(fields, zap.Float64(s.String()+"_ms", ms(r.Took[s])))
		}
	}
	if r.Result != "" {
		fields = append(fields, zap.String("recognised", clip(r.Result)), zap.Float64("confidence", r.Confidence))
	}
	log("deep probe", fields...)
}

// locks is a lock for each address that somebody holds it for.
type locks struct {
	mu   sync.Mutex
	held map[netip.AddrPort]chan struct{} // closed when it is let go
}

// lock waits for the lock of an address until ctx ends, and gives the func that lets it go.
func (l *locks) lock(ctx context.Context, addr netip.AddrPort) (func(), error) {
	for {
		l.mu.Lock()
		other, taken := l.held[addr]
		if !taken {
			if l.held == nil {
				l.held = map[netip.AddrPort]chan struct{}{}
			}
			l.held[addr] = make(chan struct{})
			l.mu.Unlock()
			return func() { l.unlock(addr) }, nil
		}
		l.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (l *locks) unlock(addr netip.AddrPort) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.held[addr])
	delete(l.held, addr)
}
