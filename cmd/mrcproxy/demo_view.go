package main

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"mrcproxy/internal/api"
)

// How often the proxy's state is read and drawn, and how often the table is printed where it cannot be drawn in place.
const (
	lookEvery  = 100 * time.Millisecond
	drawEvery  = 250 * time.Millisecond
	printEvery = 5 * time.Second
)

// view watches the proxy and shows it.
type view struct {
	h     *house
	calls *calls
	con   *console

	mu     sync.Mutex
	events []event // the latest; in place of a terminal they are printed at once

	// Of the last look, by URI.
	states  map[string]string
	givenUp map[string]uint64
}

const keptEvents = 8

func newView(h *house, c *calls, con *console) *view {
	return &view{h: h, calls: c, con: con, states: map[string]string{}, givenUp: map[string]uint64{}}
}

// run shows until end is closed, and then once more.
func (v *view) run(end <-chan struct{}) {
	every := printEvery
	if v.con.live {
		every = drawEvery
	}
	look, draw := time.NewTicker(lookEvery), time.NewTicker(every)
	defer look.Stop()
	defer draw.Stop()
	v.con.open()
	defer v.con.close()
	for {
		select {
		case <-look.C:
			v.look()
		case <-draw.C:
			v.con.draw(v.picture())
		case <-end:
			v.look()
			v.con.draw(v.picture())
			return
		}
	}
}

// tell adds an event of now.
func (v *view) tell(text string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	e := event{v.h.since(time.Now()), text}
	v.events = append(v.events, e)
	v.events = v.events[max(0, len(v.events)-keptEvents):]
	if !v.con.live {
		v.con.print(e.String())
	}
}

// look tells of servers whose state has changed in the proxy's eyes.
func (v *view) look() {
	t := v.h.tally()
	for _, b := range v.h.status().Backends {
		v.givenUp[b.URI] = t.givenUp(&b)
		was := v.states[b.URI]
		v.states[b.URI] = b.State
		if was == "" || was == b.State || was == "unknown" && b.State == "up" {
			continue
		}
		text := fmt.Sprintf("proxy: %s %s %s is %s", b.Cluster, b.IDC, short(b.URI), b.State)
		if b.Reason != "" {
			text += " (" + b.Reason + ")"
		}
		v.tell(text)
	}
}

// picture reads everything.
func (v *view) picture() *picture {
	t := v.h.tally()
	p := &picture{at: v.h.since(time.Now()), counts: v.calls.now(), failovers: t.failovers}
	for _, b := range v.h.status().Backends {
		r := row{cluster: b.Cluster, idc: b.IDC, uri: b.URI, state: b.State, sessions: b.Sessions, capacity: b.Capacity, picked: b.Picked}
		// What is being placed at this moment looks as if it were given up; at the last look that was another one.
		r.failedOver = min(t.givenUp(&b), v.givenUp[b.URI])
		if i := slices.IndexFunc(v.h.servers, func(s *server) bool { return s.uri == b.URI }); i >= 0 {
			r.fault = v.h.servers[i].state()
		}
		p.rows = append(p.rows, r)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	p.events = slices.Clone(v.events)
	return p
}

// watchStalls notes for how long this process did not run though it had to, until end is closed: on a machine that is too
// busy, timeouts of milliseconds prove nothing.
func (h *house) watchStalls(end <-chan struct{}) {
	const every = 10 * time.Millisecond
	t := time.NewTicker(every)
	defer t.Stop()
	last := time.Now()
	for {
		select {
		case <-t.C:
			now := time.Now()
			h.stall = max(h.stall, now.Sub(last)-every)
			last = now
		case <-end:
			return
		}
	}
}

// status is the proxy's own.
func (h *house) status() api.Status { return h.app.Status() }

// tally is what the proxy's metrics count.
type tally struct {
	failovers uint64
	ended     map[string]uint64 // INVITEs that ended at a server, by its URI
}

func (h *house) tally() tally {
	t := tally{ended: map[string]uint64{}}
	families, _ := h.app.Metrics().Registry().Gather() // what can be had is there
	for _, f := range families {
		for _, m := range f.GetMetric() {
			n := uint64(m.GetCounter().GetValue())
			switch f.GetName() {
			case "mrcproxy_failovers_total":
				t.failovers += n
			case "mrcproxy_invites_total":
				for _, l := range m.GetLabel() {
					if l.GetName() == "backend" {
						t.ended[l.GetValue()] += n
					}
				}
			}
		}
	}
	return t
}

// givenUp is how many attempts at the server were given up for another one, and those under way. b must have been read
// after t.
func (t *tally) givenUp(b *api.Backend) uint64 {
	if n := t.ended[b.URI]; n < b.Picked {
		return b.Picked - n
	}
	return 0
}
