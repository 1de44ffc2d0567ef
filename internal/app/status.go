package app

import (
	"time"

	"mrcproxy/balancer"
)

// Status is this instance at one moment, for the API.
type Status struct {
	Version  string    `json:"version"`
	IDC      string    `json:"idc"`
	Ready    bool      `json:"ready"`
	Why      string    `json:"why,omitempty"`
	Sessions int       `json:"sessions"`
	Backends []Backend `json:"backends"`
	Names    []Name    `json:"names,omitempty"`
}

// Name is one name among the servers in a Status.
type Name struct {
	Name        string    `json:"name"`
	Addresses   int       `json:"addresses"`
	LastSuccess time.Time `json:"last_success,omitzero"`
	Error       string    `json:"error,omitempty"`
}

// Backend is one server in a Status.
type Backend struct {
	Cluster  string    `json:"cluster"`
	IDC      string    `json:"idc"`
	URI      string    `json:"backend"`
	State    string    `json:"state"`
	Reason   string    `json:"reason,omitempty"`
	Since    time.Time `json:"since"`
	Held     bool      `json:"held,omitempty"`
	Sessions int       `json:"sessions"`
	Capacity int       `json:"capacity"` // -1: unlimited
	Weight   int       `json:"weight"`
	Picked   uint64    `json:"picked"`
}

// Status gives the instance's status.
func (a *App) Status() any {
	ready, why := a.Ready()
	s := Status{Version: a.opts.Version, IDC: a.cfg.Load().IDC, Ready: ready, Why: why, Sessions: a.sessions.Len(), Backends: []Backend{}}
	now := time.Now()
	for _, v := range a.bal.View() {
		s.Backends = append(s.Backends, a.backend(v, now))
	}
	for _, st := range a.names.Stats() {
		n := Name{Name: st.Name.String(), Addresses: st.Targets, LastSuccess: st.LastSuccess}
		if st.Err != nil {
			n.Error = st.Err.Error()
		}
		s.Names = append(s.Names, n)
	}
	return s
}

func (a *App) backend(v balancer.BackendView, now time.Time) Backend {
	b := Backend{Cluster: v.Cluster, IDC: v.IDC, URI: v.URI, State: v.State.String(), Held: v.Held(now), Sessions: v.Sessions, Capacity: v.Capacity,
		Weight: v.Weight, Picked: v.Picked}
	if st, ok := a.health.Status(v.ID); ok {
		b.Reason, b.Since = st.Reason, st.Since
	}
	return b
}
