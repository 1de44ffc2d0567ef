package app

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"mrcproxy/balancer"
	"mrcproxy/health"
	"mrcproxy/internal/api"
	"mrcproxy/internal/operator"
	"mrcproxy/internal/session"
)

// Status gives the instance's status.
func (c control) Status() api.Status {
	ready, why := c.Ready()
	s := api.Status{Version: c.opts.Version, IDC: c.cfg.Load().IDC, Started: c.started, Now: time.Now(), Ready: ready, Why: why,
		Trouble: c.trouble(), Sessions: c.sessions.Len(), Backends: c.Backends(false)}
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

// trouble is what is wrong with the instance itself, for whoever looks at it.
func (c control) trouble() (l []string) {
	if r := c.reloads.Load().last; !r.OK {
		l = append(l, fmt.Sprintf("the configuration was refused at %s, and the one from before runs: %s", r.At.Format(time.RFC3339), r.Error))
	}
	if c.together != nil {
		if st := c.together.store.Stats(); !st.Up {
			l = append(l, fmt.Sprintf("the store has given no answer since %s: on_store_loss holds, which is %s", st.Changed.Format(time.RFC3339), c.cfg.Load().OnStoreLoss))
		}
	}
	if c.journal != nil && !c.journal.Stats().Up {
		l = append(l, "the file of sessions cannot be written: a restart would not find their counts")
	}
	if lost := c.book.Lost(); lost != nil {
		l = append(l, "what operators want will not outlive a restart: "+lost.Error())
	}
	for _, st := range c.names.Stats() {
		if st.Err != nil {
			l = append(l, fmt.Sprintf("%s cannot be resolved, and the %d addresses known stay in use: %v", st.Name, st.Targets, st.Err))
		}
	}
	return l
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
		Held: v.Held(now), Sessions: v.Sessions, Elsewhere: v.Elsewhere, Capacity: v.Capacity, MaxCPS: v.MaxCPS, Weight: v.Weight, Picked: v.Picked}
	if b.Held {
		b.HeldUntil = v.HoldUntil
	}
	for _, r := range v.Resources {
		b.Resources = append(b.Resources, api.Limit{Resource: r.Name, Sessions: r.Sessions, Elsewhere: r.Elsewhere, Capacity: r.Capacity})
	}
	if st, ok := c.health.Status(v.ID); ok {
		b.Health, b.Reason, b.Since = st.State.String(), st.Reason, st.Since
		b.Conditions = conditions(v, st)
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

// conditions are what is so of a backend beside its state.
func conditions(v balancer.BackendView, st health.Status) (l []string) {
	for _, c := range []struct {
		name string
		is   bool
	}{{"suspect", st.Suspect}, {"ejected", st.Ejected}, {"engine_down", st.EngineDown}, {"probation", st.Probation}, {"slow_start", !v.StartedAt.IsZero()}} {
		if c.is {
			l = append(l, c.name)
		}
	}
	return l
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
	backends, fellBack, waiting := c.Backends(false), c.fellBack(), c.proxy.Queued()
	limits := map[string]balancer.ClusterView{}
	for _, v := range c.bal.Clusters() {
		limits[v.Name] = v
	}
	all := []api.Cluster{}
	for i := range cfg.Clusters {
		cc := &cfg.Clusters[i]
		cl := api.Cluster{Name: cc.Name, Policy: string(cc.Policy), Fallback: orNone(cc.Fallback), FellBack: fellBack[cc.Name], Waiting: waiting[cc.Name], Sums: newSums(), Groups: []api.Group{}}
		limit := limits[cc.Name]
		if limit.Licences > 0 {
			cl.Licences = &api.Licences{Taken: limit.Sessions + limit.Elsewhere, Limit: limit.Licences}
		}
		for _, b := range backends {
			if b.Cluster != cc.Name {
				continue
			}
			add(&cl.Sums, b)
			i := slices.IndexFunc(cl.Groups, func(g api.Group) bool { return g.IDC == b.IDC && g.Priority == b.Priority })
			if i < 0 {
				i = len(cl.Groups)
				g := api.Group{Cluster: cc.Name, IDC: b.IDC, Priority: b.Priority, Local: b.IDC == cfg.IDC, Sums: newSums()}
				if n, ok := limit.SpillLimit[b.IDC]; ok && !g.Local {
					g.SpillLimit = &n
				}
				cl.Groups = append(cl.Groups, g)
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
