package health

import "sync"

// group counts the backends of a group that are out for calls while their probes are good, so that a fault of the network,
// or of the calls themselves, does not take out all of them.
type group struct {
	mu   sync.Mutex
	size int
	out  int
}

// onlyCalls reports whether nothing but calls speaks against a backend that is out.
func (s Status) onlyCalls() bool { return s.Ejected && !s.Confirmed }

func (ev Event) fromCall() bool {
	return ev.Kind == CallOK || ev.Kind == CallFailed || ev.Kind == CallErrored || ev.Kind == CallRefused
}

// join counts a backend that is there already.
func (g *group) join(s Status) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.onlyCalls() {
		g.out++
	}
}

// weigh is Next, with the rest of the group in view.
func (g *group) weigh(s Status, ev Event, p Policy) Status {
	if p.MaxEjected == 0 || !s.onlyCalls() && ev.Kind != CallFailed && ev.Kind != CallErrored {
		return Next(s, ev, p)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	ev.Spare = g.out >= max(int(p.MaxEjected*float64(g.size)), 1)
	to := Next(s, ev, p)
	switch {
	case to.onlyCalls() && !s.onlyCalls():
		g.out++
	case s.onlyCalls() && !to.onlyCalls():
		g.out--
	}
	return to
}
