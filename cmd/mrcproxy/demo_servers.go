package main

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"mrcproxy/config"
	"mrcproxy/internal/sim"
)

// server is a simulated server and what the demo has done to it.
type server struct {
	cluster, idc string
	uri          string         // with its address of this run
	planned      netip.AddrPort // its address in demo.yaml
	sim          *sim.Server

	mu      sync.Mutex
	outages []outage
}

// outage is a time during which a server did not answer.
type outage struct {
	from, to time.Time // to is zero while it lasts
	how      string    // killed or silent
}

// resources are what the clusters of demo.yaml serve.
var resources = map[string]string{"asr": "speechrecog", "tts": "speechsynth"}

// startServers starts a server for each backend of demo.yaml.
func (h *house) startServers(plan *config.Config) error {
	for _, c := range plan.Clusters {
		for _, g := range c.Groups {
			for _, b := range g.Backends {
				addr := netip.AddrPortFrom(b.Addr.Addr(), h.port(b.Addr.Port()))
				s, err := sim.StartServer(sim.ServerOptions{Addr: addr, Resource: resources[c.Name], Capacity: h.o.capacity})
				if err != nil {
					return err
				}
				uri := "sip:" + s.Addr().String()
				if b.Network == "tcp" {
					uri += ";transport=tcp"
				}
				h.servers = append(h.servers, &server{cluster: c.Name, idc: g.IDC, uri: uri, planned: b.Addr, sim: s})
			}
		}
	}
	return nil
}

// fail kills or silences the server.
func (s *server) fail(how string) {
	s.mu.Lock()
	s.outages = append(s.outages, outage{from: time.Now(), how: how})
	s.mu.Unlock()
	if how == killed {
		s.sim.Kill()
	} else {
		s.sim.SetFault(sim.Silent)
	}
}

// mend lets it run again.
func (s *server) mend() error {
	if s.state() == killed {
		if err := s.sim.Revive(); err != nil {
			return err
		}
	} else {
		s.sim.SetFault(sim.None)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.outages { // more than one when it could not be mended the last time
		if s.outages[i].to.IsZero() {
			s.outages[i].to = time.Now()
		}
	}
	return nil
}

// How a server fails.
const (
	killed = "killed" // its sockets are closed and its sessions forgotten
	silent = "silent" // it reads, and sends nothing
)

// state is what the demo has made of it: killed, silent, or "" while it runs.
func (s *server) state() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.outages); n > 0 && s.outages[n-1].to.IsZero() {
		return s.outages[n-1].how
	}
	return ""
}

// failures is how often it was killed or made silent.
func (s *server) failures() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.outages)
}

// failedWithin reports whether it was killed or silent at any time from a to b.
func (s *server) failedWithin(a, b time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.outages {
		if !o.from.After(b) && (o.to.IsZero() || !o.to.Before(a)) {
			return true
		}
	}
	return false
}

// step is one thing to break: some servers of one cluster in the proxy's own data centre.
type step struct {
	servers []*server
	how     string
}

// step is the n-th to break, from 0. Clusters take turns, and so do killed and silent; each third time it is all of the
// cluster's local servers, otherwise one.
func (h *house) step(n int) step {
	var names []string
	local := map[string][]*server{}
	for _, s := range h.servers {
		if s.idc != h.idc {
			continue
		}
		if local[s.cluster] == nil {
			names = append(names, s.cluster)
		}
		local[s.cluster] = append(local[s.cluster], s)
	}
	if len(names) == 0 { // the environment has put the proxy elsewhere
		return step{}
	}
	st := step{servers: local[names[n%len(names)]], how: killed}
	if n%2 == 1 {
		st.how = silent
	}
	if n%3 != 2 {
		i := n / 3 % len(st.servers)
		st.servers = st.servers[i : i+1]
	}
	return st
}

// breakServers breaks something each period and mends it shortly before the next, until ctx ends.
func (h *house) breakServers(ctx context.Context, period time.Duration, tell func(string)) {
	if period == 0 || len(h.step(0).servers) == 0 {
		return
	}
	timer := time.NewTimer(period * 2 / 5)
	defer timer.Stop()
	for n := 0; wait(ctx, timer); n++ {
		st := h.step(n)
		for _, s := range st.servers {
			s.fail(st.how)
			tell(s.name() + " is " + st.how)
		}
		if len(st.servers) > 1 {
			tell(fmt.Sprintf("%s has no server left in %s: the others take over", st.servers[0].cluster, st.servers[0].idc))
		}
		timer.Reset(period * 9 / 10)
		if !wait(ctx, timer) {
			return
		}
		for _, s := range st.servers {
			if err := s.mend(); err != nil { // its port was taken meanwhile
				tell(s.name() + " cannot run again: " + err.Error())
				continue
			}
			tell(s.name() + " runs again")
		}
		timer.Reset(period / 10)
	}
}

// wait is false when ctx ended first.
func wait(ctx context.Context, t *time.Timer) bool {
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *server) name() string { return s.cluster + " " + s.idc + " " + short(s.uri) }
