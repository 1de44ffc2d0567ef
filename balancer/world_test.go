package balancer

import (
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"
)

func (w *world) pick() {
	r := Request{Cluster: names[w.rnd.Intn(3)], Now: w.now, Hash: w.rnd.Uint64()}
	for range w.rnd.Intn(3) {
		r.Tried = append(r.Tried, server(w.rnd.Intn(6), 0, 0).Addr)
	}
	if w.rnd.Intn(3) == 0 {
		r.Resources = [][]string{{"recog"}, {"synth"}, {"synth", "recog"}, {"dtmf"}}[w.rnd.Intn(4)]
	}
	if w.rnd.Intn(4) == 0 {
		r.Reserve = w.rnd.Intn(3)
	}
	want, panics := w.best(r), false
	if len(want) == 0 {
		want = w.desperate(r)
		panics = len(want) > 0
	}
	l, why := w.b.Pick(r)
	if l == nil {
		if len(want) != 0 {
			w.t.Fatalf("refused with %q, could have had %s", why, want[0].URI())
		}
		if why.String() == "" || !strings.Contains(why.String(), "cluster") {
			w.t.Fatalf("refused without a cause: %q", why)
		}
		return
	}
	if len(want) == 0 {
		w.t.Fatalf("picked %s %s, which may not be\n%+v\n%+v", l.Backend().Cluster(), l.Backend().URI(), r, w.spec)
	}
	if !slices.Contains(want, l.Backend()) || l.Panic() != panics {
		w.t.Fatalf("picked %s %s, panic %v, not one of %d better, e.g. %s %s\n%+v\n%+v", l.Backend().Cluster(), l.Backend().URI(), l.Panic(), len(want), want[0].Cluster(), want[0].URI(), r, w.spec)
	}
	w.picks++
	w.leases[l] = l.Resources() // those that had a limit when it was placed
	w.placed[l.Backend()] = append(w.placed[l.Backend()], w.now)
}

func (w *world) release() {
	for l := range w.leases {
		if !l.Release() || l.Release() {
			w.t.Fatal("the first release counts, and no other")
		}
		delete(w.leases, l)
		return
	}
}

func (w *world) check() {
	shown := 0
	for _, v := range w.b.View() {
		shown += v.Sessions
	}
	if shown != len(w.leases) {
		w.t.Fatalf("the view shows %d sessions, there are %d", shown, len(w.leases))
	}
	for _, c := range w.b.Clusters() {
		if n := w.used(func(b *Backend, _ []string) bool { return b.Cluster() == c.Name }); n != c.Sessions {
			w.t.Fatalf("cluster %s shows %d sessions, there are %d", c.Name, c.Sessions, n)
		}
	}
}

func (w *world) any() *Backend {
	all := w.b.Backends()
	if len(all) == 0 {
		return nil
	}
	return all[w.rnd.Intn(len(all))]
}

// step is one random event.
func (w *world) step(plain bool) {
	be := w.any()
	switch n := w.rnd.Intn(100); {
	case n < 2:
		w.configureAnew(plain)
	case n < 10 && be != nil:
		w.state[be] = State(w.rnd.Intn(4))
		w.b.SetRank(be, w.rnd.Intn(2))
		w.b.SetState(be, w.state[be], w.now)
	case n < 15 && be != nil:
		until := w.now.Add(time.Duration(w.rnd.Intn(5)) * time.Second)
		if until.After(w.hold[be]) {
			w.hold[be] = until
		}
		w.b.Hold(be, until)
	case n < 17 && be != nil:
		w.away[be] = w.rnd.Intn(3)
		w.b.SetElsewhere(be, w.away[be])
	case n < 20 && be != nil:
		w.b.Observe(be, time.Duration(1+w.rnd.Intn(100))*time.Millisecond)
	case n < 25:
		w.now = w.now.Add(time.Duration(w.rnd.Intn(1000)) * time.Millisecond)
	case n < 55:
		w.release()
	default:
		w.pick()
	}
}

// configureAnew changes the configuration under way.
func (w *world) configureAnew(plain bool) {
	for _, v := range w.b.View() { // what a rate has not counted it does not know
		be := w.b.Lookup(v.ID)
		w.placed[be] = w.placed[be][max(0, len(w.placed[be])-v.MaxCPS):]
	}
	w.configure(plain)
	for be := range w.away {
		if be.removed.Load() || w.b.Lookup(be.ID()) != be {
			delete(w.away, be)
		}
	}
}

// TestRandomWorldsAgreeWithTheRules: 10,000 configurations, each with its own order of events. No limit is ever overrun, a
// backend that is down is never picked while another has room, and groups are taken in their order. A backend that was
// forgotten and is configured again is a new one; the plain world keeps nothing of it either, as it is keyed by *Backend.
func TestRandomWorldsAgreeWithTheRules(t *testing.T) {
	worlds, picks := 10000, 0
	if testing.Short() {
		worlds = 500
	}
	for seed := range int64(worlds) {
		w := newWorld(t, seed)
		plain := seed%2 == 0
		w.configure(plain)
		for step := range 100 {
			w.step(plain)
			if step%20 == 0 {
				w.check()
			}
		}
		picks += w.picks
	}
	if picks < worlds {
		t.Errorf("%d picks in %d worlds", picks, worlds)
	}
}

func newWorld(t *testing.T, seed int64) *world {
	return &world{t: t, rnd: rand.New(rand.NewSource(seed)), b: New(), leases: map[*Lease][]string{}, state: map[*Backend]State{},
		hold: map[*Backend]time.Time{}, placed: map[*Backend][]time.Time{}, away: map[*Backend]int{}, now: t0}
}
