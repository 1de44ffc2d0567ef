package balancer

import (
	"math/big"
	"math/rand"
	"net/netip"
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
	leases []*Lease
	state  map[*Backend]State
	hold   map[*Backend]time.Time
	count  map[*Backend]int
	now    time.Time
}

var names = []string{"k", "l", "m"}

func (w *world) configure() {
	w.spec = Spec{IDC: "a"}
	for _, name := range names {
		c := ClusterSpec{Name: name, Policy: Policy(w.rnd.Intn(2))}
		for range w.rnd.Intn(3) {
			c.Fallback = append(c.Fallback, names[w.rnd.Intn(3)])
		}
		free := w.rnd.Perm(6)
		for range w.rnd.Intn(4) {
			g := GroupSpec{IDC: []string{"a", "b"}[w.rnd.Intn(2)], Priority: w.rnd.Intn(2)}
			for range min(w.rnd.Intn(4), len(free)) {
				capacity := w.rnd.Intn(5)
				if w.rnd.Intn(8) == 0 {
					capacity = Unlimited
				}
				g.Backends = append(g.Backends, server(free[0], capacity, w.rnd.Intn(4)))
				free = free[1:]
			}
			c.Groups = append(c.Groups, g)
		}
		w.spec.Clusters = append(w.spec.Clusters, c)
	}
	apply(w.t, w.b, w.spec)
}

// order lists the groups to try, straight from the specification.
func (w *world) order(name string) (groups []GroupSpec, owners []ClusterSpec) {
	var visited []string
	var visit func(string)
	visit = func(name string) {
		if slices.Contains(visited, name) {
			return
		}
		visited = append(visited, name)
		c := w.spec.Clusters[slices.Index(names, name)]
		for _, own := range []bool{true, false} {
			for priority := range 2 {
				for _, g := range c.Groups {
					if (g.IDC == "a") == own && g.Priority == priority {
						groups, owners = append(groups, g), append(owners, c)
					}
				}
			}
		}
		for _, f := range c.Fallback {
			visit(f)
		}
	}
	visit(name)
	return groups, owners
}

// best lists the backends that may be chosen: those of the first group with eligible ones, for least-load the least
// loaded of them.
func (w *world) best(cluster string, tried []netip.AddrPort) []*Backend {
	groups, owners := w.order(cluster)
	for _, useHeld := range []bool{false, true} {
		for i, g := range groups {
			var can []*Backend
			var load []*big.Rat
			unlimited := slices.ContainsFunc(g.Backends, func(s BackendSpec) bool { return s.Capacity == Unlimited })
			for _, s := range g.Backends {
				be := w.b.Lookup(backendID(owners[i].Name, s.URI))
				n, st := w.count[be], w.state[be]
				if st == Down || st == Draining || s.Weight == 0 || slices.Contains(tried, s.Addr) ||
					s.Capacity != Unlimited && n >= s.Capacity || !useHeld && w.now.Before(w.hold[be]) {
					continue
				}
				share := int64(s.Weight)
				if !unlimited {
					share *= int64(s.Capacity)
				}
				can, load = append(can, be), append(load, big.NewRat(int64(n), share))
			}
			if len(can) == 0 {
				continue
			}
			if owners[i].Policy == Weighted {
				return can
			}
			least := slices.MinFunc(load, (*big.Rat).Cmp)
			var best []*Backend
			for j, be := range can {
				if load[j].Cmp(least) == 0 {
					best = append(best, be)
				}
			}
			return best
		}
	}
	return nil
}

func (w *world) pick() {
	cluster := names[w.rnd.Intn(3)]
	var tried []netip.AddrPort
	for range w.rnd.Intn(3) {
		tried = append(tried, server(w.rnd.Intn(6), 0, 0).Addr)
	}
	want := w.best(cluster, tried)
	l, r := w.b.Pick(Request{Cluster: cluster, Tried: tried, Now: w.now})
	if l == nil {
		if len(want) != 0 {
			w.t.Fatalf("refused with %q, could have had %s", r, want[0].URI())
		}
		if r.String() == "" {
			w.t.Fatal("refused without a cause")
		}
		return
	}
	if !slices.Contains(want, l.Backend()) {
		w.t.Fatalf("picked %s %s, not one of %d better", l.Backend().Cluster(), l.Backend().URI(), len(want))
	}
	w.count[l.Backend()]++
	w.leases = append(w.leases, l)
}

func (w *world) release() {
	if len(w.leases) == 0 {
		return
	}
	l := w.leases[w.rnd.Intn(len(w.leases))]
	if l.Release() { // some are released a second time
		w.count[l.Backend()]--
	}
}

func (w *world) check() {
	total, shown := 0, 0
	for _, n := range w.count {
		total += n
	}
	for _, v := range w.b.View() {
		shown += v.Sessions
	}
	if shown != total {
		w.t.Fatalf("the view shows %d sessions, there are %d", shown, total)
	}
}

// A backend that was forgotten and is configured again is a new one; the plain world keeps nothing of it either, as it
// is keyed by *Backend.
func TestRandomWorldsAgreeWithTheRules(t *testing.T) {
	for seed := range int64(60) {
		rnd := rand.New(rand.NewSource(seed))
		w := &world{t: t, rnd: rnd, b: New(), state: map[*Backend]State{}, hold: map[*Backend]time.Time{},
			count: map[*Backend]int{}, now: t0}
		w.configure()
		for step := range 1500 {
			switch n := rnd.Intn(100); {
			case n < 2:
				w.configure()
			case n < 10:
				if all := w.b.Backends(); len(all) > 0 {
					be := all[rnd.Intn(len(all))]
					w.state[be] = State(rnd.Intn(4))
					w.b.SetState(be, w.state[be], w.now)
				}
			case n < 15:
				if all := w.b.Backends(); len(all) > 0 {
					be := all[rnd.Intn(len(all))]
					until := w.now.Add(time.Duration(rnd.Intn(5)) * time.Second)
					if until.After(w.hold[be]) {
						w.hold[be] = until
					}
					w.b.Hold(be, until)
				}
			case n < 20:
				w.now = w.now.Add(time.Second)
			case n < 55:
				w.release()
			default:
				w.pick()
			}
			if step%20 == 0 {
				w.check()
			}
		}
	}
}
