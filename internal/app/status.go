package app

import (
	"cmp"
	"slices"
	"time"

	"mrcproxy/balancer"
	"mrcproxy/internal/api"
	"mrcproxy/internal/operator"
	"mrcproxy/internal/session"
)

// Status gives the instance's status.
func (c control) Status() api.Status {
	ready, why := c.Ready()
	s := api.Status{Version: c.opts.Version, IDC: c.cfg.Load().IDC, Started: c.started, Now: time.Now(), Ready: ready, Why: why,
		Sessions: c.sessions.Len(), Backends: c.Backends(false)}
	if c.together != nil {
		st := c.together.store.Stats()
		s.Store = &api.Store{Up: st.Up, Exact: st.Exact, Since: st.Changed}
	}
	for _, st := range c.names.Stats() {
		n := api.Name{Name: st.Name.String(), Addresses: st.Targets, LastSuccess: st.LastSuccess}
		if st.Err != nil {
			n.Error = st.Err.Error()
		}
		s.Names = append(s.Names, n)
	}
	return s
}

// Status gives the instance's status.
func (a *App) Status() api.Status { return control{a}.Status() }

// Backends implements admin.Daemon.
func (c control) Backends(load bool) []api.Backend {
	now := time.Now()
	all := []api.Backend{}
	for _, v := range c.bal.View() {
		all = append(all, c.backend(v, now, load))
	}
	return all
}

// Loads implements admin.Daemon.
func (c control) Loads() map[string]int {
	m := map[string]int{}
	for _, v := range c.bal.View() {
		m[backendID(v.ID)] = v.Sessions
	}
	return m
}

func (c control) backend(v balancer.BackendView, now time.Time, load bool) api.Backend {
	b := api.Backend{ID: backendID(v.ID), Cluster: v.Cluster, IDC: v.IDC, Priority: v.Priority, URI: v.URI, State: v.State.String(), Health: "unknown",
		Held: v.Held(now), Sessions: v.Sessions, Elsewhere: v.Elsewhere, Capacity: v.Capacity, Weight: v.Weight, Picked: v.Picked}
	if b.Held {
		b.HeldUntil = v.HoldUntil
	}
	if st, ok := c.health.Status(v.ID); ok {
		b.Health, b.Reason, b.Since = st.State.String(), st.Reason, st.Since
	}
	if w, ok := c.book.For(v.Cluster, v.IDC, v.URI); ok && !v.Removed {
		shown := wish(w)
		b.Wish, b.State, b.Since, b.Reason = &shown, wishedState(w), w.Since, why(w)
	}
	if _, ok := c.book.Weight(v.Cluster, v.URI); ok {
		if n, ok := (*c.fileWeights.Load())[weighed{v.Cluster, v.URI}]; ok {
			b.FileWeight = &n
		}
	}
	var samples []int
	b.Probes, b.Failures, samples = c.recent.Of(v.ID)
	if load {
		b.Load = samples
		for _, t := range c.health.History(v.ID) {
			b.Changes = append(b.Changes, api.Change{At: t.At, From: t.From.String(), To: t.To.String(), Evidence: t.Evidence.String(), Reason: t.Reason})
		}
	}
	return b
}

// wishedState is the state of a backend that an operator has taken out.
func wishedState(w operator.Wish) string {
	if w.Mode == operator.Disable {
		return "disabled"
	}
	return "draining"
}

// why is an operator's wish as the reason for a state.
func why(w operator.Wish) string {
	s := string(w.Mode) + " of " + w.Scope.String() + " by " + w.By
	if w.Reason != "" {
		s += ": " + w.Reason
	}
	if !w.Until.IsZero() {
		s += ", until " + w.Until.Format(time.RFC3339)
	}
	return s
}

// Clusters implements admin.Daemon.
func (c control) Clusters() []api.Cluster {
	cfg := c.cfg.Load()
	backends, fellBack := c.Backends(false), c.fellBack()
	all := []api.Cluster{}
	for i := range cfg.Clusters {
		cc := &cfg.Clusters[i]
		cl := api.Cluster{Name: cc.Name, Policy: string(cc.Policy), Fallback: orNone(cc.Fallback), FellBack: fellBack[cc.Name], Sums: newSums(), Groups: []api.Group{}}
		for _, b := range backends {
			if b.Cluster != cc.Name {
				continue
			}
			add(&cl.Sums, b)
			i := slices.IndexFunc(cl.Groups, func(g api.Group) bool { return g.IDC == b.IDC && g.Priority == b.Priority })
			if i < 0 {
				i = len(cl.Groups)
				cl.Groups = append(cl.Groups, api.Group{Cluster: cc.Name, IDC: b.IDC, Priority: b.Priority, Local: b.IDC == cfg.IDC, Sums: newSums()})
			}
			add(&cl.Groups[i].Sums, b)
		}
		slices.SortStableFunc(cl.Groups, func(a, b api.Group) int {
			if a.Local != b.Local {
				if a.Local {
					return -1
				}
				return 1
			}
			return cmp.Compare(a.Priority, b.Priority)
		})
		all = append(all, cl)
	}
	return all
}

// fellBack counts the sessions that are at another cluster than their route named: by the one and then the other.
func (c control) fellBack() map[string]map[string]int {
	m := map[string]map[string]int{}
	c.sessions.Each(func(s *session.Session) bool {
		if at := s.Backend().Cluster(); at != s.Cluster && s.Cluster != "" {
			if m[s.Cluster] == nil {
				m[s.Cluster] = map[string]int{}
			}
			m[s.Cluster][at]++
		}
		return true
	})
	return m
}

func newSums() api.Sums { return api.Sums{States: map[string]int{}} }

// add adds a backend to the sums. What takes no sessions has no capacity.
func add(s *api.Sums, b api.Backend) {
	s.Backends++
	s.States[b.State]++
	s.Sessions += b.Sessions
	s.Picked += b.Picked
	switch usable := (b.State == "up" || b.State == "unknown") && b.Weight > 0; {
	case !usable || s.Capacity == api.Unlimited:
	case b.Capacity == api.Unlimited:
		s.Capacity = api.Unlimited
	default:
		s.Capacity += b.Capacity
	}
}
