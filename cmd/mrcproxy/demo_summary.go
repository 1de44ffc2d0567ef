package main

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"
)

// summary is the outcome of a demo; the command's help says what the keys mean.
type summary struct {
	Duration   float64                   `json:"duration_seconds"`
	Started    int                       `json:"sessions_started"`
	OK         int                       `json:"sessions_ok"`
	Lost       int                       `json:"sessions_lost"`
	Failed     int                       `json:"sessions_failed"`
	Left       int                       `json:"sessions_left"`
	Failovers  uint64                    `json:"failovers"`
	Kills      int                       `json:"kills"`
	Stall      float64                   `json:"longest_stall_ms"`
	Setup      setup                     `json:"setup_ms"`
	PerBackend map[string]backendSummary `json:"per_backend"`
	Failures   []failure                 `json:"failures,omitempty"`
}

// stallLimit in milliseconds is where stalls begin to look like servers that do not answer: below the proxy's timeouts.
const stallLimit = 300

// setup is the time from INVITE to 200, in milliseconds.
type setup struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

type backendSummary struct {
	Cluster    string `json:"cluster"`
	IDC        string `json:"idc"`
	Capacity   int    `json:"capacity"`
	Picked     uint64 `json:"picked"`
	Sessions   int    `json:"sessions"`
	FailedOver uint64 `json:"failed_over"`
	Kills      int    `json:"kills"`
}

// summarize is for when all sessions have ended.
func summarize(h *house, c *calls) *summary {
	t := h.tally()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &summary{
		Started: c.counts.started, OK: c.counts.ok, Lost: c.counts.lost, Failed: c.counts.failed, Left: h.app.Sessions(),
		Failovers: t.failovers, Stall: millis(h.stall), Setup: setupOf(c.setups), PerBackend: map[string]backendSummary{}, Failures: c.failed,
	}
	if s.Started > 0 {
		s.Duration = round(h.since(c.lastEnd).Seconds())
	}
	for _, b := range h.status().Backends {
		bs := backendSummary{Cluster: b.Cluster, IDC: b.IDC, Capacity: b.Capacity, Picked: b.Picked, FailedOver: t.givenUp(&b)}
		if i := slices.IndexFunc(h.servers, func(s *server) bool { return s.uri == b.URI }); i >= 0 {
			bs.Sessions, bs.Kills = c.served[h.servers[i]], h.servers[i].failures()
			s.Kills += bs.Kills
		}
		s.PerBackend[b.URI] = bs
	}
	return s
}

func setupOf(all []time.Duration) setup {
	sorted := slices.Sorted(slices.Values(all))
	return setup{P50: millis(quantile(sorted, .5)), P99: millis(quantile(sorted, .99)), Max: millis(quantile(sorted, 1))}
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func round(f float64) float64 { return math.Round(f*1000) / 1000 }

// write gives the summary to people, and as JSON to standard output when that is wanted.
func (s *summary) write(o demoOptions) error {
	if o.output != "json" || !o.quiet {
		if _, err := fmt.Fprint(o.human(), s.text()); err != nil {
			return fmt.Errorf("write summary: %w", err)
		}
	}
	if o.output != "json" {
		return nil
	}
	enc := json.NewEncoder(o.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(s); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}

func (s *summary) text() string {
	text := fmt.Sprintf("\n%d sessions in %.1f s: %d ok, %d failed.\n", s.Started, s.Duration, s.OK, s.Failed) +
		fmt.Sprintf("%d failovers. %d times a server was killed or silent, %d sessions ended with it.\n", s.Failovers, s.Kills, s.Lost) +
		fmt.Sprintf("From INVITE to 200: median %.1f ms, 99 %% within %.1f ms, longest %.1f ms.\n", s.Setup.P50, s.Setup.P99, s.Setup.Max)
	if s.Stall >= stallLimit {
		text += fmt.Sprintf("The machine was too busy: for %.0f ms nothing here ran at all.\n", s.Stall)
	}
	if s.Left > 0 {
		text += fmt.Sprintf("The proxy still holds %d sessions.\n", s.Left)
	}
	for _, f := range s.Failures {
		text += fmt.Sprintf("  failed at %.1fs: %s over %s, server %q, Call-ID %s: %s\n", f.At, f.Cluster, f.Network, f.Server, f.CallID, f.Why)
	}
	return text
}
