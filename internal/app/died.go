package app

import (
	"go.uber.org/zap"

	"mrcproxy/balancer"
	"mrcproxy/config"
	"mrcproxy/internal/session"
)

// adopt takes a lease for a session that is at a server already.
func (a *App) adopt(server uint32, resource string) *balancer.Lease {
	if b := a.bal.Lookup(server); b != nil {
		return a.bal.Adopt(b, resource)
	}
	return nil
}

// backendDied does with the sessions of a server that was found dead what the configuration says.
func (a *App) backendDied(b *balancer.Backend) {
	what := a.cfg.Load().Sessions.OnBackendDown
	if what == config.Keep {
		return
	}
	ended, told := 0, 0
	a.sessions.Each(func(s *session.Session) bool {
		if s.Backend() == b && a.sessions.End(s.Key(), session.BackendDown) {
			ended++
			if what == config.Bye && a.proxy.HangUp(s, `SIP;cause=503;text="backend down"`) {
				told++
			}
		}
		return true
	})
	a.log.Warn(deadEnded, zap.String("cluster", b.Cluster()), zap.String("backend", b.URI()), zap.Int("sessions", ended), zap.Int("clients_told", told))
}
