package app

import (
	"net/http"

	"mrcproxy/config"
	"mrcproxy/internal/api"
	"mrcproxy/internal/hep"
	"mrcproxy/internal/trace"
)

// What may wait for who watches.
const (
	tracedMessages = 4096
	tracedBytes    = 4 << 20
)

// Trace implements admin.Daemon. A backend is watched at the address that it has now.
func (c control) Trace(q api.TraceQuery) (*trace.Watcher, error) {
	f := trace.Filter{CallID: q.CallID}
	if q.Backend != "" {
		for _, b := range c.bal.View() {
			if q.Backend == b.URI || q.Backend == backendID(b.ID) {
				f.Peers = append(f.Peers, b.Addr)
			}
		}
		if f.Peers == nil {
			return nil, failure(http.StatusNotFound, "there is no backend %q", q.Backend)
		}
	}
	return c.traces.Watch(f, tracedMessages, tracedBytes), nil
}

// traceMessages has the engine show its messages, or not.
func (a *App) traceMessages(on bool) {
	if on {
		a.proxy.SetTap(a.traces.Show)
	} else {
		a.proxy.SetTap(nil)
	}
}

func hepTarget(c *config.Config) hep.Target {
	network, address := c.HEP.Target()
	if address == "" {
		return hep.Target{}
	}
	return hep.Target{Network: network, Address: address, ID: uint32(c.HEP.ID), Password: c.HEP.Password}
}
