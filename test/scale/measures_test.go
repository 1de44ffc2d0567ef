package scale

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// counters are what is counted.
type counters struct {
	calls    int
	placed   int
	local    int // placed in the IDC of their instance
	asked    int // questions to Redis
	repicked int // calls that were refused a server at least once
	refused  int // calls that got none
}

func (c counters) minus(o counters) counters {
	return counters{c.calls - o.calls, c.placed - o.placed, c.local - o.local, c.asked - o.asked, c.repicked - o.repicked, c.refused - o.refused}
}

// measures are of one run.
type measures struct {
	counters
	before   counters
	window   counters // what was measured
	waits    []time.Duration
	over     int // the most sessions that a server ever had beyond its capacity
	tried    int // the most servers that refused one call while its instance was cut off
	looks    int
	looking  bool
	sessions int     // sum of what the looks saw
	spread   float64 // likewise
}

func (m *measures) begin() { m.before, m.waits, m.looking = m.counters, nil, true }

func (m *measures) stop() { m.window, m.looking = m.counters.minus(m.before), false }

// look checks that all counts agree, and takes the loads down.
func (w *world) look() {
	sums := make([]int, len(w.load))
	live, held, members := 0, 0, 0
	for _, i := range w.instances {
		leases, asked := make([]int, len(w.load)), make([]int, len(w.load))
		for s, b := range i.byNum {
			leases[s] = b.Sessions()
		}
		under := i.asks
		if i.under != nil {
			under = append(append([]*call(nil), under...), i.under.asks...)
		}
		for _, c := range under {
			asked[c.server]++
		}
		for s := range leases {
			sums[s] += i.own[s]
			held += i.held[s]
			if leases[s] != i.own[s]+asked[s] {
				w.fault("instance %d has %d leases at server %d, for %d sessions and %d calls", i.n, leases[s], s, i.own[s], asked[s])
			}
		}
		live += len(i.sessions)
	}
	for s := range sums {
		members += w.redis.sizes[s]
		if sums[s] != w.load[s] {
			w.fault("the instances have %d sessions at server %d, and it has %d", sums[s], s, w.load[s])
		}
		if w.redis.sizes[s] > w.sc.capacity && w.sc.cut == nil {
			w.fault("Redis has %d at server %d", w.redis.sizes[s], s)
		}
	}
	if live != w.live {
		w.fault("the instances have %d sessions together, and %d live", live, w.live)
	}
	if w.m.looking {
		w.m.looks++
		w.m.sessions += live
		w.m.spread += w.spread()
	}
}

// spread is the deviation of the loads from their mean, in parts of it, on average over the groups.
func (w *world) spread() (sum float64) {
	for g := range w.sc.idcs {
		var mean, square float64
		for _, n := range w.load[g*w.sc.servers : (g+1)*w.sc.servers] {
			mean += float64(n)
			square += float64(n) * float64(n)
		}
		mean /= float64(w.sc.servers)
		sum += math.Sqrt(max(square/float64(w.sc.servers)-mean*mean, 0)) / mean
	}
	return sum / float64(w.sc.idcs)
}

// result is what came of a scenario.
type result struct {
	*scenario
	counters
	sessions int     // on average
	spread   float64 // on average
	over     int
	allowed  int // what it may be where an instance is cut off, under Share
	tried    int
	p50, p99 time.Duration // from a call's arrival to its place, where Redis was asked
}

func (w *world) result() (*result, error) {
	w.look()
	if w.faults != nil {
		return nil, fmt.Errorf("%s", strings.Join(w.faults, "\n"))
	}
	r := &result{scenario: w.sc, counters: w.m.window, over: w.m.over, tried: w.m.tried, allowed: w.allowed(), sessions: w.m.sessions / w.m.looks, spread: w.m.spread / float64(w.m.looks)}
	if slices.Sort(w.m.waits); len(w.m.waits) > 0 {
		r.p50, r.p99 = w.m.waits[len(w.m.waits)/2], w.m.waits[len(w.m.waits)*99/100]
	}
	return r, nil
}

// allowed is by how much a limit may be passed under Share. Where all are cut off, the parts are all there is; else the others
// go by what Redis has, and do not know of the shares.
func (w *world) allowed() (most int) {
	for s := range w.load {
		n := w.shares[s]
		if len(w.sc.cut) == w.sc.idcs {
			n = w.parts[s] - w.sc.capacity
		}
		most = max(most, n)
	}
	return most
}

func part100(n, of int) string { return fmt.Sprintf("%.2f %%", 100*float64(n)/float64(max(of, 1))) }

// table is the results in Markdown.
func table(results []*result) string {
	var b strings.Builder
	b.WriteString("| | calls/s | sessions | in their own IDC | asked per call | picked again | refused | most above a limit | spread | wait, p50 and p99 |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range results {
		fmt.Fprintf(&b, "| %s | %.0f | %d | %s | %.2f | %s | %s | %d | %.1f %% | %.0f and %.0f ms |\n", r.name, float64(r.calls)/r.measured.Seconds(),
			r.sessions, part100(r.local, r.placed), float64(r.asked)/float64(r.calls), part100(r.repicked, r.calls), part100(r.refused, r.calls), r.over,
			100*r.spread, r.p50.Seconds()*1e3, r.p99.Seconds()*1e3)
	}
	return b.String()
}
