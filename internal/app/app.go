// Package app puts the parts together: it turns a configuration into a running daemon, and a changed configuration into a
// changed daemon, all fallible work first, then a swap that cannot fail. It owns start, reload and stop. It holds no logic
// of SIP, of choosing a server or of health.
package app

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"mrcproxy/balancer"
	"mrcproxy/config"
	"mrcproxy/health"
	"mrcproxy/health/probe"
	"mrcproxy/internal/admin"
	"mrcproxy/internal/api"
	"mrcproxy/internal/cdr"
	"mrcproxy/internal/handover"
	"mrcproxy/internal/hep"
	"mrcproxy/internal/journal"
	"mrcproxy/internal/metrics"
	"mrcproxy/internal/operator"
	"mrcproxy/internal/recent"
	"mrcproxy/internal/resolver"
	"mrcproxy/internal/session"
	"mrcproxy/internal/spans"
	"mrcproxy/internal/store"
	"mrcproxy/internal/systemd"
	"mrcproxy/internal/trace"
	"mrcproxy/proxy"
	"mrcproxy/proxy/transport"
)

// Options make an App.
type Options struct {
	// Load reads the configuration; it is called by New and by every Reload.
	Load func() (*config.Config, error)
	// Watch is the configuration file whose change calls Reload; "" for none.
	Watch string
	// DNS are the servers, host:port, that names are looked up at in place of those of /etc/resolv.conf; none for those.
	DNS      []string
	Log      *zap.Logger
	Level    *zap.AtomicLevel // of Log, for log.level in a reload; nil: it stays
	Version  string
	Revision string

	Takeover bool              // take the sockets of a running process, if there is one
	Sockets  []systemd.Socket  // passed by the service manager
	Notify   *systemd.Notifier // the service manager; nil: there is none
	Watchdog time.Duration     // within which it wants signs of life; 0: never
}

// App is one daemon.
type App struct {
	opts     Options
	log      *zap.Logger
	mu       sync.Mutex      // one reload, or change of a name, at a time
	watched  digest          // of the configuration file that New has loaded
	skipped  []string        // addresses of names that are left out; guarded by mu
	counted  map[string]bool // URIs of servers that metrics may have counts of; guarded by mu
	cfg      atomic.Pointer[config.Config]
	names    *resolver.Resolver
	bal      *balancer.Balancer
	health   *health.Runner
	deep     atomic.Pointer[deepSpecs]
	deeps    *health.Schedule // of deep probes
	probing  locks            // of deep probes, by address
	sessions *session.Table
	journal  *journal.Journal // nil: none
	together *together        // nil: nothing is counted with other instances
	certs    *transport.Certificates
	proxy    *proxy.Proxy
	metrics  *metrics.Metrics
	admin    *admin.Server
	found    *sockets         // that were open before us
	heirs    *handover.Server // for who comes after us; nil: nobody can
	left     chan struct{}    // closed when a successor has the sockets

	journalOut  chan struct{} // asks keepJournal to give the file up, and back
	journalOver chan struct{} // keepJournal has returned
	recent      *recent.Log
	reloads     atomic.Pointer[reloaded]
	started     time.Time

	cdr         *cdr.Writer
	traces      *trace.Hub // of SIP messages
	hep         *hep.Exporter
	spans       *spans.Exporter
	book        *operator.Book
	steering    sync.Mutex // one server's state is found and set at a time
	fileWeights atomic.Pointer[map[weighed]int]
}

// New loads the configuration and opens every socket, so that whatever can fail at a start has failed when it returns.
func New(o Options) (*App, error) {
	watched := sum(o.Watch)
	cfg, err := o.Load()
	if err != nil {
		return nil, err
	}
	deep, err := loadDeep(cfg)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	a := &App{opts: o, log: o.Log, bal: balancer.New(), started: now, deeps: health.NewSchedule(), recent: recent.New(now), watched: watched,
		left: make(chan struct{}), journalOut: make(chan struct{}), journalOver: make(chan struct{})}
	if a.book, err = operator.Open(operatorFile(cfg)); err != nil {
		return nil, err
	}
	a.cdr = cdr.New(cdr.Options{Log: a.log})
	records, err := cdr.Open(cfg.CDR.File)
	if err != nil {
		return nil, err
	}
	a.cdr.Use(records)
	a.traces = trace.New(a.traceMessages)
	a.hep = hep.New(a.traces, a.log)
	a.hep.Use(hepTarget(cfg))
	a.spans = spans.New(spans.Options{Version: o.Version, IDC: cfg.IDC, Log: a.log})
	a.spans.Use(cfg.OTLP.Endpoint)
	a.cfg.Store(cfg)
	a.deep.Store(&deep)
	a.names = resolver.New(resolver.Options{Servers: o.DNS, Log: a.log, OnChange: a.namesChanged})
	if err := a.applySpec(a.resolve(cfg)); err != nil {
		return nil, err
	}
	a.names.Apply(namesOf(cfg))
	a.sessions = session.NewTable(session.Options{Longest: cfg.Sessions.Max, OnEnd: a.sessionEnded, Adopt: a.adopt, Journaled: cfg.Sessions.Journal})
	src := metrics.Sources{
		Backends: a.bal.View, Sessions: a.sessions.Len, Transactions: func() int { return a.proxy.Transactions() },
		Transport: func() transport.Stats { return a.proxy.Transport() }, Names: a.names.Stats, Clusters: a.bal.Clusters,
		Health: func(key uint32) (health.Status, bool) { return a.health.Status(key) }, Queued: func() map[string]int { return a.proxy.Queued() },
		Operator: func(cluster, idc, backend string) bool { _, ok := a.book.For(cluster, idc, backend); return ok },
		CDR:      a.cdr.Stats, HEP: a.hep.Stats, Spans: a.spans.Stats, Version: o.Version, Revision: o.Revision, IDC: cfg.IDC,
	}
	if cfg.Sessions.Journal {
		a.journal = journal.New(journal.Options{Path: filepath.Join(cfg.DataDir, "sessions.db"), Table: a.sessions, Servers: a.bal, Log: a.log})
		src.Journal = a.journal.Stats
	}
	if !cfg.Store.InMemory() {
		src.Store = func() store.Stats { return a.together.store.Stats() }
	}
	a.metrics = metrics.New(src)
	var admitter proxy.Admitter
	if !cfg.Store.InMemory() {
		if a.together, err = newTogether(a, cfg); err != nil {
			return nil, err
		}
		admitter = a.together
	}
	secrets, err := secretsOf(cfg, a.log)
	if err != nil {
		return nil, err
	}
	if a.certs, err = transport.LoadCertificates(certificateFiles(cfg)); err != nil {
		return nil, err
	}
	if a.found, err = findSockets(cfg, o.Takeover, o.Sockets, a.log); err != nil {
		return nil, err
	}
	var listeners []proxy.Listener
	for i, l := range cfg.Listen {
		pl := proxy.Listener{Proto: proxy.ProtoOf(l.Network), Bind: l.Addr, Advertise: cfg.Advertised(i), Readers: l.Readers, Inherited: a.found.listener(i)}
		if l.Network == "tls" {
			pl.TLS = a.certs.ServerConfig()
		}
		listeners = append(listeners, pl)
	}
	a.proxy, err = proxy.New(proxy.Options{
		Listeners: listeners, Secrets: secrets, Balancer: calls{a}, Sessions: a.sessions, Observer: observer{a.metrics, a.log, a},
		Log: a.log, Routing: routing(cfg), ConnectTimeout: cfg.Failover.ConnectTimeout,
		ClientTLS: a.clientTLS, MaxConnections: cfg.Clients.MaxConnections, Admitter: admitter,
		Heir: a.found.heir,
	})
	if err != nil {
		return nil, err
	}
	if a.journal != nil && a.found.before == nil {
		a.openJournal()
	}
	a.health = health.NewRunner(health.Options{Prober: probe.Options{Sender: sender{a.proxy}}, OnChange: a.healthChanged, OnProbe: a.probed})
	a.probeBackends(cfg)
	if cfg.Admin.Listen != "" {
		a.admin, err = admin.Listen(admin.Options{
			Listen: cfg.Admin.Listen, Inherited: a.found.admin(), Metrics: a.metrics.Handler(), Ready: a.Ready, Probe: a.serveProbe, Log: a.log,
			Reload: func(context.Context) error { return a.Reload("http") },
			Daemon: control{a}, Events: a.recent, WebConfig: cfg.Admin.WebConfig, Pprof: cfg.Admin.Pprof, Token: func() string { return a.cfg.Load().Admin.Token },
		})
		if err != nil {
			return nil, errors.Join(err, a.proxy.Close())
		}
	}
	a.found.rest()
	a.offer(cfg.Handover.Socket)
	a.metrics.Reloaded(true, now)
	a.reloads.Store(&reloaded{loaded: now, last: api.Reload{At: now, OK: true, Cause: "start", Changes: []string{}, NeedsRestart: []string{}}})
	return a, nil
}

// Run serves until ctx ends, or a successor has taken over and nothing is under way here any more.
func (a *App) Run(ctx context.Context) error {
	if err := a.takeOver(); err != nil {
		return errors.Join(err, a.proxy.Close())
	}
	cfg := a.cfg.Load()
	fields := []zap.Field{zap.String("version", a.opts.Version), zap.String("idc", cfg.IDC)}
	for i := range cfg.Listen {
		fields = append(fields, zap.String("listen_"+cfg.Listen[i].Network, a.SIP(i).String()))
	}
	if a.admin != nil {
		fields = append(fields, zap.Stringer("admin", a.admin.Addr()))
	}
	a.log.Info("serving", fields...)
	a.warn(nil, a.cfg.Load())
	g, ctx := errgroup.WithContext(ctx)
	sip, over := context.WithCancel(context.WithoutCancel(ctx)) // while the engine runs, which is longer
	http, hangUp := context.WithCancel(sip)                     // HTTP says that we stop, until a successor has its socket
	alone, leave := context.WithCancel(ctx)                     // until a successor has the sockets
	g.Go(func() error {
		defer over()
		return a.proxy.Run(ctx)
	})
	g.Go(func() error {
		defer leave()
		defer hangUp()
		select {
		case <-a.left:
			return nil
		case <-ctx.Done():
			a.opts.Notify.Stopping()
			<-sip.Done()
		case <-sip.Done():
		}
		return nil
	})
	g.Go(func() error {
		select {
		case <-a.proxy.Ready(): // a probe by TCP would fail before
			g.Go(func() error { return a.deeps.Run(alone) })
			return a.health.Run(alone)
		case <-ctx.Done():
			return nil
		}
	})
	if a.journal != nil {
		g.Go(func() error { return a.keepJournal(sip) })
	}
	g.Go(func() error { return a.cdr.Run(sip) }) // calls end until then
	g.Go(func() error { return a.hep.Run(sip) })
	g.Go(func() error { return a.spans.Run(sip) })
	g.Go(func() error { return a.names.Run(alone) })
	g.Go(func() error { return a.attend(alone) })
	if a.together != nil {
		g.Go(func() error { return a.together.Run(sip) }) // INVITEs under way need it until SIP ends
	}
	if a.admin != nil {
		g.Go(func() error { return a.admin.Run(http) })
	}
	if a.opts.Watch != "" {
		g.Go(func() error { return a.watch(alone, a.opts.Watch) })
	}
	g.Go(func() error { return a.succeed(sip) })
	if a.heirs != nil {
		g.Go(func() error { return a.heirs.Run(sip) })
	}
	if a.opts.Watchdog > 0 {
		g.Go(func() error { return a.watchdog(alone) })
	}
	err := g.Wait()
	a.log.Info("stopped", zap.Int("sessions_left_to_the_next", a.sessions.Len()))
	return err
}

// SIP is the advertised address of listener i.
func (a *App) SIP(i int) netip.AddrPort { return a.proxy.Addr(i) }

// Admin is the HTTP address, or "".
func (a *App) Admin() string {
	if a.admin == nil {
		return ""
	}
	return a.admin.Addr().String()
}

// Metrics are the counts of this daemon.
func (a *App) Metrics() *metrics.Metrics { return a.metrics }

// Backends is the state of every server.
func (a *App) Backends() []balancer.BackendView { return a.bal.View() }

// Sessions is the number of sessions held.
func (a *App) Sessions() int { return a.sessions.Len() }

// Ready reports whether this instance should get calls, and why not.
func (a *App) Ready() (bool, string) {
	switch {
	case a.proxy.Stopping():
		return false, "stopping"
	case !a.bal.Available("", time.Now()):
		return false, "no cluster can take a session"
	}
	return true, ""
}

// Reload reads the configuration again and changes what differs. On an error nothing has changed. what caused it is for
// the log.
func (a *App) Reload(cause string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.opts.Notify.Reloading()
	defer a.opts.Notify.Ready()
	a.cdr.Reopen() // whatever becomes of the rest: who has renamed the file waits for it
	before := a.cfg.Load()
	err := a.reload(cause)
	a.metrics.Reloaded(err == nil, time.Now())
	a.toldReload(cause, before, err)
	if err != nil {
		a.log.Error("configuration refused, the running one stays", zap.String("cause", cause), zap.Error(err))
	}
	return err
}

func (a *App) reload(cause string) error {
	cfg, err := a.opts.Load()
	if err != nil {
		return err
	}
	old := a.cfg.Load()
	useCertificates, err := a.certs.Read() // the files may be new though their names are not
	if err != nil {
		return err
	}
	deep, err := loadDeep(cfg)
	if err != nil {
		return err
	}
	changes := config.Diff(old, cfg)
	if len(changes) == 0 {
		useCertificates()
		a.deep.Store(&deep) // the audio may be new though the file's name is not
		a.log.Info("configuration reloaded, nothing changed", zap.String("cause", cause))
		return nil
	}
	var records *cdr.File // nil: as before
	if cfg.CDR.File != old.CDR.File {
		if records, err = cdr.Open(cfg.CDR.File); err != nil {
			return err
		}
	}
	if err := a.applySpec(a.resolve(cfg)); err != nil { // validates, then swaps
		a.names.Apply(namesOf(old))
		records.Close()
		return fmt.Errorf("apply: %w", err)
	}
	useCertificates()
	if records != nil {
		a.cdr.Use(records)
	}
	a.hep.Use(hepTarget(cfg))
	a.spans.Use(cfg.OTLP.Endpoint)
	a.deep.Store(&deep)
	a.names.Apply(namesOf(cfg))
	a.proxy.SetRouting(routing(cfg))
	a.sessions.SetLongest(cfg.Sessions.Max)
	if a.together != nil {
		a.together.store.SetRule(lossRule(cfg))
	}
	a.probeBackends(cfg)
	a.cfg.Store(cfg)
	a.changeLevel(cfg.Log, func() {
		a.log.Info("configuration reloaded", zap.String("cause", cause), zap.Strings("changed", changes))
		a.warn(old, cfg)
		if keys := config.NeedsRestart(old, cfg); len(keys) > 0 {
			a.log.Warn("some changes wait for a restart", zap.Strings("keys", keys))
		}
	})
	return nil
}
