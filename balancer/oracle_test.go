package balancer

import (
	"math/big"
	"math/rand"
	"slices"
	"testing"
	"time"
)

// world is a random configuration with everything that happens to it, kept in the plainest way.
type world struct {
	t      *testing.T
	rnd    *rand.Rand
	b      *Balancer
	spec   Spec
	leases map[*Lease][]string // with the resources asked for
	state  map[*Backend]State
	hold   map[*Backend]time.Time
	placed map[*Backend][]time.Time
	away   map[*Backend]int // elsewhere
	now    time.Time
	picks  int
}

var names = []string{"k", "l", "m"}

// configure makes a new configuration. With plain everything is off that makes a choice depend on what has been before.
func (w *world) configure(plain bool) {
	w.spec = Spec{IDC: "a", Now: w.now}
	chance := func(n int) bool { return w.rnd.Intn(n) == 0 }
	for _, name := range names {
		c := ClusterSpec{Name: name, Policy: Policy(w.rnd.Intn(len(policies)))}
		for range w.rnd.Intn(3) {
			c.Fallback = append(c.Fallback, names[w.rnd.Intn(3)])
		}
		if chance(3) {
			c.Licences = 1 + w.rnd.Intn(8)
		}
		if chance(3) {
			c.Spill.Sessions = 1 + w.rnd.Intn(4)
		} else if chance(3) {
			c.Spill.Percent = 10 * (1 + w.rnd.Intn(10))
		}
		if !plain {
			c.Panic = chance(2)
			c.SlowStart = time.Duration(w.rnd.Intn(3)) * 3 * time.Second
			c.FailbackAfter = time.Duration(w.rnd.Intn(3)) * 2 * time.Second
			c.FailbackRamp = time.Duration(w.rnd.Intn(2)) * 2 * time.Second
		}
		free := w.rnd.Perm(6)
		for range w.rnd.Intn(4) {
			g := GroupSpec{IDC: []string{"a", "b"}[w.rnd.Intn(2)], Priority: w.rnd.Intn(2)}
			for range min(w.rnd.Intn(4), len(free)) {
				capacity := w.rnd.Intn(5)
				if chance(8) {
					capacity = Unlimited
				}
				s := server(free[0], capacity, w.rnd.Intn(4))
				if chance(3) {
					s.Resources = map[string]int{"recog": w.rnd.Intn(4)}
					if chance(2) {
						s.Resources["synth"] = w.rnd.Intn(4)
					}
				}
				if chance(4) {
					s.MaxCPS = 1 + w.rnd.Intn(3)
				}
				g.Backends = append(g.Backends, s)
				free = free[1:]
			}
			c.Groups = append(c.Groups, g)
		}
		w.spec.Clusters = append(w.spec.Clusters, c)
	}
	apply(w.t, w.b, w.spec)
}

type choice struct {
	group GroupSpec
	owner *ClusterSpec
}

// order lists the groups to try, straight from the specification.
func (w *world) order(name string) (all []choice) {
	var visited []string
	var visit func(string)
	visit = func(name string) {
		if slices.Contains(visited, name) {
			return
		}
		visited = append(visited, name)
		c := &w.spec.Clusters[slices.Index(names, name)]
		for _, own := range []bool{true, false} {
			for priority := range 2 {
				for _, g := range c.Groups {
					if (g.IDC == "a") == own && g.Priority == priority {
						all = append(all, choice{g, c})
					}
				}
			}
		}
		for _, f := range c.Fallback {
			visit(f)
		}
	}
	visit(name)
	return all
}

func (w *world) find(c *ClusterSpec, s BackendSpec) *Backend {
	return w.b.Lookup(backendID(c.Name, s.URI))
}

// used counts the leases that are as asked for.
func (w *world) used(ok func(*Backend, []string) bool) (n int) {
	for l, resources := range w.leases {
		if ok(l.Backend(), resources) {
			n++
		}
	}
	return n
}

// fits reports whether a limit, or Unlimited, has room.
func fits(used, limit, reserve int) bool { return limit == Unlimited || used+reserve < limit }

// spillOf is the bound for the sessions in another IDC.
func spillOf(c *ClusterSpec, idc string) int {
	if c.Spill.Percent == 0 {
		if c.Spill.Sessions > 0 {
			return c.Spill.Sessions
		}
		return Unlimited
	}
	sum := 0
	for _, g := range c.Groups {
		for _, s := range g.Backends {
			if g.IDC == idc && s.Capacity == Unlimited {
				return Unlimited
			} else if g.IDC == idc {
				sum += s.Capacity
			}
		}
	}
	return sum * c.Spill.Percent / 100
}

// can reports whether a backend may be chosen by every rule but that of the groups' order.
func (w *world) can(ch choice, s BackendSpec, r Request, useHeld bool) bool {
	be := w.find(ch.owner, s)
	if st := w.state[be]; st == Down || st == Draining {
		return false
	}
	return w.fitsAt(ch, s, r) && (useHeld || !w.now.Before(w.hold[be]))
}

func (w *world) fitsAt(ch choice, s BackendSpec, r Request) bool {
	be := w.find(ch.owner, s)
	in := func(b *Backend, _ []string) bool { return b.Cluster() == ch.owner.Name }
	licences := ch.owner.Licences
	if licences == 0 {
		licences = Unlimited
	}
	elsewhere := 0
	for b, n := range w.away {
		if b.Cluster() == ch.owner.Name && w.b.Lookup(b.ID()) == b && !b.removed.Load() {
			elsewhere += n
		}
	}
	here := func(b *Backend, _ []string) bool { return b == be }
	spilled := func(b *Backend, _ []string) bool {
		if b.Cluster() != ch.owner.Name || b.removed.Load() {
			return false
		}
		return b.IDC() == ch.group.IDC
	}
	if s.Weight == 0 || slices.Contains(r.Tried, s.Addr) || !fits(w.used(in)+elsewhere, licences, r.Reserve) ||
		!fits(w.used(here)+w.away[be], s.Capacity, r.Reserve) || ch.group.IDC != "a" && !fits(w.used(spilled), spillOf(ch.owner, ch.group.IDC), 0) {
		return false
	}
	for _, name := range r.Resources {
		limit, ok := s.Resources[name]
		if ok && !fits(w.used(func(b *Backend, l []string) bool { return b == be && slices.Contains(l, name) }), limit, r.Reserve) {
			return false
		}
	}
	recent := 0
	for _, at := range w.placed[be] {
		if w.now.Sub(at) < time.Second {
			recent++
		}
	}
	return s.MaxCPS == 0 || recent < s.MaxCPS
}

// best lists the backends that may be chosen: those of the first group with eligible ones, for the policies that say which,
// just these.
func (w *world) best(r Request) (all []*Backend) {
	for _, useHeld := range []bool{false, true} {
		for _, ch := range w.order(r.Cluster) {
			var can []*Backend
			var specs []BackendSpec
			for _, s := range ch.group.Backends {
				if w.can(ch, s, r, useHeld) {
					can, specs = append(can, w.find(ch.owner, s)), append(specs, s)
				}
			}
			if len(can) == 0 {
				continue
			}
			all = append(all, w.preferred(ch, can, specs, r)...)
			if c := ch.owner; useHeld || c.FailbackAfter+c.FailbackRamp == 0 {
				return all
			} // it may be passed over, being just back
		}
	}
	return all
}

func (w *world) preferred(ch choice, can []*Backend, specs []BackendSpec, r Request) []*Backend {
	switch {
	case ch.owner.SlowStart > 0 || len(r.Resources) > 0:
		return can
	case ch.owner.Policy == Ordered:
		return can[:1]
	case ch.owner.Policy != LeastLoad:
		return can
	}
	var load []*big.Rat
	unlimited := slices.ContainsFunc(ch.group.Backends, func(s BackendSpec) bool { return s.Capacity == Unlimited })
	for i, be := range can {
		share := int64(specs[i].Weight)
		if !unlimited {
			share *= int64(specs[i].Capacity)
		}
		n := w.used(func(b *Backend, _ []string) bool { return b == be }) + w.away[be]
		load = append(load, big.NewRat(int64(n), share))
	}
	least := slices.MinFunc(load, (*big.Rat).Cmp)
	var best []*Backend
	for i, be := range can {
		if load[i].Cmp(least) == 0 {
			best = append(best, be)
		}
	}
	return best
}

// desperate lists the backends that may be chosen when no other may: all of their cluster are down.
func (w *world) desperate(r Request) (all []*Backend) {
	for _, ch := range w.order(r.Cluster) {
		down := ch.owner.Panic
		for _, g := range ch.owner.Groups {
			for _, s := range g.Backends {
				st := w.state[w.find(ch.owner, s)]
				down = down && (st == Down || st == Draining || s.Weight == 0)
			}
		}
		for _, s := range ch.group.Backends {
			if be := w.find(ch.owner, s); down && w.state[be] == Down && w.fitsAt(ch, s, r) {
				all = append(all, be)
			}
		}
	}
	return all
}
