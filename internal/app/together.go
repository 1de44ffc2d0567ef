package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"mrcproxy/balancer"
	"mrcproxy/config"
	"mrcproxy/internal/session"
	"mrcproxy/internal/store"
	"mrcproxy/proxy"
)

// together is this instance among those that count their sessions together: it says to the store in pools and keys what
// the balancer, the table of sessions and the engine say in leases, servers and sessions.
type together struct {
	a      *App
	store  *store.Store
	renew  time.Duration
	placed sync.Map                      // of string, the names of pools: *store.Place
	pools  atomic.Pointer[map[pool]load] // that are counted
}

type pool struct{ cluster, name string }

// load is what a pool's members are the load of.
type load struct {
	backend  *balancer.Backend
	resource string // "": all of it
}

var lossRules = map[config.OnStoreLoss]store.OnLoss{config.ShareLimits: store.Share, config.OpenLimits: store.Open, config.RejectOnALoss: store.Reject}

func lossRule(c *config.Config) store.Rule {
	return store.Rule{OnLoss: lossRules[c.OnStoreLoss], Instances: c.Instances}
}

var verdicts = map[store.Verdict]proxy.Verdict{store.Later: proxy.Later, store.Admitted: proxy.Admitted, store.Full: proxy.Full, store.Unchecked: proxy.Unchecked}

func newTogether(a *App, c *config.Config) (*together, error) {
	s := c.Store
	server := store.Server{Addrs: s.Addrs, Master: s.Master, User: s.User, Password: s.Password, SentinelUser: s.SentinelUser, SentinelPassword: s.SentinelPassword, DB: s.DB, Prefix: s.Prefix}
	var err error
	if server.TLS, err = storeTLS(s); err != nil {
		return nil, err
	}
	t := &together{a: a, renew: s.Renew}
	store.Quiet()
	t.store = store.New(store.Options{
		Redis: store.Dial(server), Timeout: s.Timeout, Renew: s.Renew, Rule: lossRule(c), Log: a.log,
		Until: a.sessions.Until, Counted: t.counted, Parted: t.parted, Waited: a.metrics.Admission,
		Ended: t.ended,
	})
	t.count()
	t.store.Connect()
	return t, nil
}

// storeTLS is how the store is reached by TLS; nil: without it.
func storeTLS(s config.Store) (*tls.Config, error) {
	if !s.TLS {
		return nil, nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CA == "" {
		return t, nil
	}
	pem, err := os.ReadFile(s.CA)
	if err != nil {
		return nil, fmt.Errorf("store: ca: %w", err)
	}
	t.RootCAs = x509.NewCertPool()
	if !t.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("store: ca: %s has no certificate", s.CA)
	}
	return t, nil
}

// ended takes in that another instance has ended a session. When that is a successor, it is also the one to tell of it.
func (t *together) ended(key uint64) {
	select {
	case <-t.a.left:
	default:
		t.a.sessions.End(key, session.Elsewhere)
	}
}

// Admit implements proxy.Admitter.
func (t *together) Admit(l *balancer.Lease, key uint64, within time.Duration, done func(proxy.Verdict)) proxy.Verdict {
	place, limits := t.place(l.Backend(), l.Limits())
	v, ticket := t.store.Admit(key, place, limits, within, func(v store.Verdict) { done(verdicts[v]) })
	if v == store.Later || v == store.Admitted {
		l.OnRelease(func() { t.store.Release(ticket) })
	}
	return verdicts[v]
}

// Established implements proxy.Admitter.
func (t *together) Established(key uint64) { t.store.Established(key) }

// Ended implements proxy.Admitter.
func (t *together) Ended(server uint32, key uint64) {
	if b := t.a.bal.Lookup(server); b != nil {
		place, _ := t.place(b, b.Limits())
		t.store.Ended(key, place)
	}
}

// place is the pools of the limits, with their values. The server's own comes first, though it may have no limit: what
// others have there is its load.
func (t *together) place(b *balancer.Backend, all []balancer.Limit) (*store.Place, []int) {
	names, limits := []string{b.URI()}, []int{b.Capacity()}
	for _, l := range all {
		if name := poolOf(b, l); name != b.URI() {
			names, limits = append(names, name), append(limits, l.Max)
		}
	}
	id := b.Cluster() + "\x00" + strings.Join(names, "\x00")
	if p, ok := t.placed.Load(id); ok {
		return p.(*store.Place), limits
	}
	p, _ := t.placed.LoadOrStore(id, t.store.Place(b.Cluster(), names...))
	return p.(*store.Place), limits
}

// poolOf is the name of a limit among its cluster's: the backend's URI, with a resource behind it, or licences.
func poolOf(b *balancer.Backend, l balancer.Limit) string {
	if name := strings.TrimPrefix(l.Name, b.Cluster()); name != "" {
		return name[1:]
	}
	return licences
}

// licences is the name of the limit for all of a cluster.
const licences = "licences"

// count has the store count what there is now: the servers, and their limits.
func (t *together) count() {
	pools := map[pool]load{}
	var places []*store.Place
	t.placed.Clear() // servers come and go under ever new addresses
	for _, b := range t.a.bal.Backends() {
		pools[pool{b.Cluster(), b.URI()}] = load{backend: b}
		for _, l := range b.Limits() {
			if resource, ok := strings.CutPrefix(poolOf(b, l), b.URI()+" "); ok {
				pools[pool{b.Cluster(), poolOf(b, l)}] = load{b, resource}
			}
		}
		place, _ := t.place(b, b.Limits())
		places = append(places, place)
	}
	t.pools.Store(&pools)
	t.store.Count(places)
}

// counted takes in how many sessions others have in a pool. Those of a cluster's licences are those of its servers.
func (t *together) counted(cluster, name string, elsewhere int) {
	switch l := (*t.pools.Load())[pool{cluster, name}]; {
	case l.backend == nil:
	case l.resource == "":
		t.a.bal.SetElsewhere(l.backend, elsewhere)
	default:
		t.a.bal.SetElsewhereFor(l.backend, l.resource, elsewhere)
	}
}

// parted takes in how many sessions this instance may have in a pool while Redis cannot be asked.
func (t *together) parted(cluster, name string, most int) {
	switch l := (*t.pools.Load())[pool{cluster, name}]; {
	case name == licences:
		t.a.bal.SetLicencePart(cluster, most)
	case l.backend == nil:
	case l.resource == "":
		t.a.bal.SetPart(l.backend, most)
	default:
		t.a.bal.SetPartFor(l.backend, l.resource, most)
	}
}

// Run serves until ctx ends.
func (t *together) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return t.store.Run(ctx) })
	g.Go(func() error {
		tick := time.NewTicker(t.renew)
		defer tick.Stop()
		for {
			t.holdAll()
			select {
			case <-ctx.Done():
				return nil
			case <-t.a.left:
				return nil
			case <-tick.C:
			}
		}
	})
	return g.Wait()
}

// holdAll has every session counted that the store has not given a place itself: those from before a restart, and those of
// other instances that have turned up here.
func (t *together) holdAll() {
	t.a.sessions.Each(func(s *session.Session) bool {
		key := s.Key()
		if t.store.Has(key) {
			return true
		}
		place, _ := t.place(s.Backend(), s.Lease.Limits())
		ticket := t.store.Hold(key, place)
		if !s.Lease.OnRelease(func() { t.store.Release(ticket) }) {
			t.store.Release(ticket)
		}
		return true
	})
}
