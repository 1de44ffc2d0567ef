package main

import (
	"context"
	_ "embed" // demo.yaml
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"mrcproxy/config"
	"mrcproxy/internal/app"
)

//go:embed demo.yaml
var demoConfig string

// What stands in demo.yaml for the demo to replace.
const (
	demoBase     = 25060 // the first of demoPorts ports
	demoPorts    = 10
	demoDataDir  = "/tmp/mrcproxy-demo"
	demoCapacity = "capacity: 20"
)

// house is the proxy and the servers behind it.
type house struct {
	o       demoOptions
	idc     string
	dir     string // holds the configuration, the log and the proxy's data
	keep    bool   // keep dir
	servers []*server
	app     *app.App
	logs    *os.File
	start   time.Time
	stall   time.Duration // see watchStalls
	stop    context.CancelFunc
	ended   chan struct{} // closed when the proxy has ended, after which runErr may be read
	runErr  error
}

// newHouse starts the servers and opens the proxy's sockets.
func newHouse(o demoOptions) (_ *house, err error) {
	h := &house{o: o, stop: func() {}, ended: make(chan struct{})}
	close(h.ended) // it does not run yet
	defer func() {
		if err != nil {
			_ = h.close()
		}
	}()
	if h.dir, err = os.MkdirTemp("", "mrcproxy-demo-"); err != nil {
		return nil, err
	}
	plan, err := config.Parse("demo.yaml", []byte(demoConfig))
	if err != nil {
		return nil, err
	}
	h.idc = plan.IDC
	if err := h.startServers(plan); err != nil {
		return nil, err
	}
	if err := os.WriteFile(h.configFile(), []byte(h.config(plan)), 0o600); err != nil {
		return nil, err
	}
	if h.logs, err = os.Create(h.logFile()); err != nil {
		return nil, err
	}
	ec := zap.NewProductionEncoderConfig()
	ec.TimeKey, ec.EncodeTime = "time", zapcore.RFC3339NanoTimeEncoder
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(ec), zapcore.Lock(h.logs), zap.InfoLevel))
	h.app, err = app.New(app.Options{
		Load:  func() (*config.Config, error) { return config.Load(h.configFile()) },
		Watch: h.configFile(), Log: log, Version: version, Revision: revision(),
	})
	return h, err
}

func (h *house) configFile() string { return filepath.Join(h.dir, "mrcproxy.yaml") }
func (h *house) logFile() string    { return filepath.Join(h.dir, "mrcproxy.log") }

// config is demo.yaml with the ports, the capacity and the folder of this run.
func (h *house) config(plan *config.Config) string {
	// Port 0 lets the kernel choose.
	pairs := []string{demoDataDir, fmt.Sprintf("%q", h.dir), demoCapacity, fmt.Sprintf("capacity: %d", h.o.capacity)}
	own := []string{plan.Admin.Listen, plan.Listen[0].Addr.String()} // UDP and TCP are the same
	for _, text := range own {
		addr := netip.MustParseAddrPort(text) // demo.yaml was parsed
		pairs = append(pairs, text, netip.AddrPortFrom(addr.Addr(), h.port(addr.Port())).String())
	}
	for _, s := range h.servers {
		pairs = append(pairs, s.planned.String(), s.sim.Addr().String())
	}
	return strings.NewReplacer(pairs...).Replace(demoConfig)
}

// port is what a port of demo.yaml becomes: 0, any free one, or one of those from --base-port on.
func (h *house) port(planned uint16) uint16 {
	if h.o.basePort == 0 {
		return 0
	}
	return planned - demoBase + uint16(h.o.basePort)
}

// run starts the proxy; close ends it.
func (h *house) run() {
	ctx, stop := context.WithCancel(context.Background())
	h.stop, h.ended, h.start = stop, make(chan struct{}), time.Now()
	go func() {
		defer close(h.ended)
		h.runErr = h.app.Run(ctx)
	}()
}

// close ends all and removes the folder.
func (h *house) close() error {
	h.stop()
	<-h.ended
	err := h.runErr
	for _, s := range h.servers {
		s.sim.Stop()
	}
	if h.logs != nil {
		err = errors.Join(err, h.logs.Close())
	}
	if !h.keep && h.dir != "" {
		err = errors.Join(err, os.RemoveAll(h.dir))
	}
	return err
}

// greeting says where everything is.
func (h *house) greeting() []string {
	web := "http://" + h.app.Admin()
	return []string{
		fmt.Sprintf("mrcproxy demo: %d simulated servers, %d sessions a second. Ctrl-C ends it.", len(h.servers), h.o.rate),
		"",
		fmt.Sprintf("  SIP            udp %s, tcp %s", h.app.SIP(0), h.app.SIP(1)),
		"  metrics        " + web + "/metrics",
		"  status         " + web + "/api/v1/status",
		"  configuration  " + h.configFile() + " (edit it live)",
		"  log            " + h.logFile(),
		"",
	}
}

// since is the time the demo has run.
func (h *house) since(t time.Time) time.Duration { return t.Sub(h.start) }
