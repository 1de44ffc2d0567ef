package app

import (
	"mrcproxy/config"
	"mrcproxy/internal/hep"
)

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
