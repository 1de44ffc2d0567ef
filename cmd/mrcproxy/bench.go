package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"mrcproxy/config"
	"mrcproxy/internal/sim"
)

// answerLimit is how long a call may take beside its hold: a client gives an INVITE up after 32 s (RFC 3261 17.1.1.2), and its BYE too.
const answerLimit = 70 * time.Second

func benchCommand() *cobra.Command {
	var o output
	l := load{failures: map[string]int{}}
	var resource, agent string
	var sockets int
	c := &cobra.Command{
		Use:   "bench URI",
		Short: "Place sessions at a rate, and measure",
		Long: "Place real sessions, INVITE, ACK, hold, BYE, at a proxy or a server, as FreeSWITCH does, and say how many failed and how long\n" +
			"their set-up took. They take places: use it where no callers are. The exit status is 1 if any call failed.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			target, err := config.ParseBackend(args[0])
			switch {
			case err != nil:
				return usage("the URI %s", err)
			case target.Host != "" || target.Network == "tls":
				return usage("the URI must have an IP address, and UDP or TCP, not %q", args[0])
			case !(l.rate > 0 && l.rate <= maxRate):
				return usage("--rate must be more than 0 and at most %d, not %g", maxRate, l.rate)
			case l.lasts <= 0 || l.hold < 0 || l.concurrency < 1 || sockets < 1:
				return usage("--for, --concurrency and --sockets must be more than 0, and --hold not less")
			}
			defer l.close()
			if err := l.open(sockets, sim.ClientOptions{Proxy: target.Addr, Network: target.Network, Resource: resource, UserAgent: agent}); err != nil {
				return err
			}
			l.run(c.Context())
			r := l.report(args[0])
			if err := o.write(c.OutOrStdout(), r, r.table); err != nil {
				return err
			}
			if r.Failed > 0 || r.Calls == 0 {
				return fmt.Errorf("%d of %s failed", r.Failed, many(r.Calls, "call"))
			}
			return nil
		},
	}
	o.flag(c)
	f := c.Flags()
	f.Float64Var(&l.rate, "rate", 10, "calls a second")
	f.DurationVar(&l.lasts, "for", 10*time.Second, "how long new calls are placed")
	f.DurationVar(&l.hold, "hold", time.Second, "from a call's ACK to its BYE")
	f.IntVar(&l.concurrency, "concurrency", 1000, "calls at once; where they are as many, the next waits")
	f.IntVar(&sockets, "sockets", 1, "ports, over TCP connections, that the calls come from in turns")
	f.StringVar(&resource, "resource", "speechrecog", "what is asked for: speechrecog or speechsynth")
	f.StringVar(&agent, "user-agent", "ASR_MRCP_CLIENT_FS", "the User-Agent, for the proxy's routes")
	return c
}

const maxRate = 100_000

// load places calls, and keeps what became of them.
type load struct {
	clients     []*sim.Client // each with a socket of its own
	rate        float64
	lasts, hold time.Duration
	concurrency int

	began time.Time
	took  time.Duration // from the first call's placing to the last one's

	mu       sync.Mutex
	calls    int
	again    int             // requests sent again
	setups   []time.Duration // of those that went well
	failures map[string]int
}

// open gives it so many clients; close is due even if it fails.
func (l *load) open(sockets int, o sim.ClientOptions) error {
	for range sockets {
		c, err := sim.NewClient(o)
		if err != nil {
			return err
		}
		l.clients = append(l.clients, c)
	}
	return nil
}

func (l *load) close() {
	for _, c := range l.clients {
		_ = c.Close()
	}
}

// drain ends the calls that are up with BYE.
func (l *load) drain() {
	for _, c := range l.clients {
		c.Drain()
	}
}

// run places calls until it is time, or ctx ends, and returns when the last has ended.
func (l *load) run(ctx context.Context) {
	defer context.AfterFunc(ctx, l.drain)()
	var active sync.WaitGroup
	defer active.Wait()
	room := make(chan struct{}, l.concurrency)
	l.began = time.Now()
	end := time.NewTimer(l.lasts)
	defer end.Stop()
	next := time.NewTimer(0)
	defer next.Stop()
	for n := 0; float64(n) < l.rate*l.lasts.Seconds(); n++ { // a late timer adds none
		select {
		case <-ctx.Done():
			return
		case <-end.C:
			return
		case <-next.C:
		}
		select {
		case <-ctx.Done():
			return
		case <-end.C:
			return
		case room <- struct{}{}:
		}
		l.took = time.Since(l.began)
		client := l.clients[n%len(l.clients)]
		active.Go(func() {
			defer func() { <-room }()
			limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.hold+answerLimit)
			defer cancel()
			l.ended(client.Session(limited, l.hold))
		})
		next.Reset(time.Until(l.began.Add(time.Duration(float64(n+1) / l.rate * float64(time.Second)))))
	}
}

func (l *load) ended(r sim.Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	l.again += r.Retransmits
	if why := whyFailed(r); why != "" {
		l.failures[why]++
		return
	}
	l.setups = append(l.setups, r.Setup)
}

// whyFailed says in a few words what was wrong with a call; "" if nothing.
func whyFailed(r sim.Result) string {
	switch {
	case errors.Is(r.Err, sim.ErrNoAnswer) && r.Code == 0:
		return "no answer"
	case errors.Is(r.Err, sim.ErrNoAnswer):
		return "no answer to BYE"
	case r.Code/100 != 2 && r.Code != 0:
		return strconv.Itoa(r.Code)
	case r.Err != nil:
		return r.Err.Error()
	case !r.ServerBye && r.ByeCode != 200:
		return fmt.Sprintf("BYE %d", r.ByeCode)
	}
	return ""
}

// benchReport is what a run found. Times are in milliseconds, from INVITE to 200.
type benchReport struct {
	Target   string             `json:"target"`
	Calls    int                `json:"calls"`
	Failed   int                `json:"failed"`
	Failures map[string]int     `json:"failures"` // by code, or what went wrong
	Rate     float64            `json:"calls_per_second"`
	Setup    map[string]float64 `json:"setup_ms"`
	Again    int                `json:"sent_again"` // requests
}

func (l *load) report(target string) benchReport {
	r := benchReport{Target: target, Calls: l.calls, Failures: l.failures, Setup: map[string]float64{}, Again: l.again}
	for _, n := range l.failures {
		r.Failed += n
	}
	if l.calls > 1 && l.took > 0 {
		r.Rate = float64(int(float64(l.calls-1)/l.took.Seconds()*10+0.5)) / 10
	}
	slices.Sort(l.setups)
	for name, part := range map[string]float64{"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1} {
		r.Setup[name] = millis(quantile(l.setups, part))
	}
	return r
}

// quantile is the smallest of sorted times that a part of them does not exceed; 0 of none.
func quantile(sorted []time.Duration, part float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(int(math.Ceil(part*float64(len(sorted)))), 1)-1]
}

func (r benchReport) table(w io.Writer) {
	cells(w, "CALLS", "FAILED", "CALLS/S", "P50 MS", "P95 MS", "P99 MS", "MAX MS", "SENT AGAIN")
	cells(w, r.Calls, r.Failed, r.Rate, r.Setup["p50"], r.Setup["p95"], r.Setup["p99"], r.Setup["max"], r.Again)
	if r.Failed == 0 {
		return
	}
	fmt.Fprintln(w)
	cells(w, "FAILURE", "CALLS")
	for _, why := range slices.Sorted(maps.Keys(r.Failures)) {
		cells(w, why, r.Failures[why])
	}
}
