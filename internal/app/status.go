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
