package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"mrcproxy/balancer"
	"mrcproxy/config"
	"mrcproxy/health"
	"mrcproxy/health/probe"
	"mrcproxy/internal/metrics"
)

// scrapeMargin is how much earlier than Prometheus a probe gives up, so that its failure is scraped.
const scrapeMargin = 500 * time.Millisecond

// serveProbe makes one probe for who asks by HTTP: ?target=sip:host:port&module=options or deep. Its result is theirs
// alone: it is no evidence on a backend's health.
func (a *App) serveProbe(w http.ResponseWriter, req *http.Request) {
	b, dest, err := a.probeTarget(req.FormValue("target"))
	if err != nil {
		code := http.StatusBadRequest
		if errors.Is(err, errForbidden) {
			code = http.StatusForbidden
		}
		http.Error(w, err.Error(), code)
		return
	}
	cluster := ""
	if b != nil {
		cluster = b.Cluster()
	}
	h := healthOf(a.cfg.Load(), cluster)
	start := time.Now()
	var res metrics.ProbeResult
	switch module := req.FormValue("module"); module {
	case "", "options":
		res = a.probeOptions(req.Context(), dest, h, within(req, h.Timeout))
	case "deep":
		r, err := a.probeLeased(req.Context(), b, dest, (*a.deep.Load())[cluster], within(req, h.Deep.Timeout))
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		res = metrics.ProbeResult{OK: r.Failure == probe.OK, Code: r.Code, Reason: r.Failure.String(), Deep: &r}
	default:
		http.Error(w, fmt.Sprintf("there is no module %q, only options and deep", module), http.StatusBadRequest)
		return
	}
	res.Took = time.Since(start)
	metrics.ServeProbe(w, req, res)
}

func (a *App) probeOptions(ctx context.Context, dest probe.Dest, h *config.Health, timeout time.Duration) metrics.ProbeResult {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r := probe.Options{Sender: sender{a.proxy}}.Probe(ctx, health.Target{Info: probe.Info{Dest: dest, Up: h.UpCodes.Contains}})
	res := metrics.ProbeResult{OK: r.OK, Code: r.Code, Reason: "no_answer"}
	switch {
	case r.Draining:
		res.Reason = "draining"
	case r.Code != 0:
		res.Reason = "code"
	}
	return res
}

// within is how long a probe may take: not longer than the Prometheus that asks for it waits.
func within(req *http.Request, timeout time.Duration) time.Duration {
	seconds, err := strconv.ParseFloat(req.Header.Get("X-Prometheus-Scrape-Timeout-Seconds"), 64)
	if err != nil || seconds <= 0 {
		return timeout
	}
	return max(min(timeout, time.Duration(seconds*float64(time.Second))-scrapeMargin), scrapeMargin)
}

// errForbidden: it is no server of ours. What may be asked to send to any address is a scanner.
var errForbidden = errors.New("is no backend, and not in admin.probe_targets")

// probeTarget finds the server that is asked for: a backend by its URI or by its address and transport, else (nil) an address
// that the configuration allows.
func (a *App) probeTarget(target string) (*balancer.Backend, probe.Dest, error) {
	for _, b := range a.bal.Backends() {
		if b.URI() == target {
			return b, destOf(b), nil
		}
	}
	be, err := config.ParseBackend(target)
	if err != nil {
		return nil, probe.Dest{}, fmt.Errorf("target %w", err)
	}
	for _, b := range a.bal.Backends() {
		if b.Network() == be.Network && b.Addr() == be.Addr {
			return b, destOf(b), nil
		}
	}
	if !be.Addr.IsValid() || !allowed(a.cfg.Load().Admin.ProbeTargets, be.Addr.Addr()) {
		return nil, probe.Dest{}, fmt.Errorf("target %.100q %w", target, errForbidden)
	}
	return nil, probe.Dest{URI: be.URI, Network: be.Network, Addr: be.Addr}, nil
}

func allowed(networks []netip.Prefix, a netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}
