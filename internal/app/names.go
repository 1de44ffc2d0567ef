package app

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"mrcproxy/balancer"
	"mrcproxy/config"
	"mrcproxy/internal/resolver"
)

// firstLookup is how long a start or a reload waits for names that are new. One that takes longer holds nothing up: its
// servers appear when it resolves.
const firstLookup = 3 * time.Second

// resolve is the specification for a configuration, after a first lookup of the names that are new.
func (a *App) resolve(cfg *config.Config) (balancer.Spec, []string) {
	if names := namesOf(cfg); len(names) > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), firstLookup)
		defer cancel()
		a.names.Lookup(ctx, names)
	}
	return a.spec(cfg)
}

// applySpec hands a specification to the balancer, which takes it whole or not at all, and warns of addresses that are
// newly left out. mu is held, or nothing runs yet.
func (a *App) applySpec(s balancer.Spec, skipped []string) error {
	before := a.bal.View()
	if err := a.bal.Apply(s); err != nil {
		return err
	}
	a.forget(before)
	for _, why := range skipped {
		if !slices.Contains(a.skipped, why) {
			a.log.Warn("address of a name left out", zap.String("why", why))
		}
	}
	a.skipped = skipped
	if a.together != nil {
		a.together.count()
	}
	return nil
}

// forget drops the counts of servers that were gone, sessions and all, before the change that was just made: one that goes
// with it can still be scraped until the next. before are the servers before the change.
func (a *App) forget(before []balancer.BackendView) {
	known := make(map[string]bool)
	for _, v := range slices.Concat(before, a.bal.View()) {
		known[v.URI] = true
	}
	for uri := range a.counted {
		if !known[uri] {
			a.metrics.Forget(uri)
		}
	}
	a.counted = known
}

// namesChanged follows DNS: servers appear with their addresses, and those whose addresses are gone get no new sessions.
func (a *App) namesChanged(names []resolver.Name) {
	a.mu.Lock()
	defer a.mu.Unlock()
	cfg := a.cfg.Load()
	fields := []zap.Field{zap.Stringers("names", names)}
	before := a.listed()
	if err := a.applySpec(a.spec(cfg)); err != nil {
		a.log.Error("change of names refused, the servers from before stay", append(fields, zap.Error(err))...)
		return
	}
	a.probeBackends(cfg)
	after := a.listed()
	a.log.Info("names have other addresses", append(fields, zap.Strings("appeared", without(after, before)), zap.Strings("vanished", without(before, after)))...)
}

// probeBackends has health follow the balancer's backends. One that was removed and is back starts anew with its health.
func (a *App) probeBackends(cfg *config.Config) {
	a.health.Apply(a.targets(cfg))
	a.deeps.Apply(a.deepTasks(cfg))
	for _, b := range a.bal.Backends() {
		a.steer(b)
	}
}

// listed names the servers that get sessions.
func (a *App) listed() []string {
	var l []string
	for _, b := range a.bal.Backends() {
		l = append(l, b.Cluster()+" "+b.URI())
	}
	return l
}

func without(l, others []string) []string {
	return slices.DeleteFunc(slices.Clone(l), func(s string) bool { return slices.Contains(others, s) })
}

// namesOf are the names among the servers.
func namesOf(c *config.Config) []resolver.Name {
	var l []resolver.Name
	for _, cc := range c.Clusters {
		for _, g := range cc.Groups {
			for _, b := range g.Backends {
				if b.Host != "" {
					l = append(l, nameOf(c, b))
				}
			}
		}
	}
	return l
}

// nameOf is a server's name, with the kinds of addresses that a listener can reach.
func nameOf(c *config.Config, b config.Backend) resolver.Name {
	n := resolver.Name{Host: b.Host, Port: b.Port, Network: b.Network}
	for i, l := range c.Listen {
		if l.Network == b.Network {
			is4 := c.Advertised(i).Is4()
			n.IPv4, n.IPv6 = n.IPv4 || is4, n.IPv6 || !is4
		}
	}
	return n
}
