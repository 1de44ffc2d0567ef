package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	var o options
	var only string
	var growth bool
	flag.IntVar(&o.rounds, "rounds", 5, "rounds, in each of which every subject has its turn")
	flag.IntVar(&o.rate, "rate", 1500, "calls a second")
	flag.IntVar(&o.calls, "calls", 15000, "calls a turn")
	flag.DurationVar(&o.hold, "hold", 100*time.Millisecond, "from ACK to BYE")
	flag.StringVar(&o.network, "net", "udp", "udp or tcp, on both sides")
	flag.IntVar(&o.procs, "procs", 2, "workers of Kamailio; GOMAXPROCS of the forwarder, which mrcproxy chooses itself")
	flag.StringVar(&o.binary, "mrcproxy", "", "binary of mrcproxy; default: it is built from this tree")
	flag.StringVar(&o.against, "against", "", "another binary of mrcproxy, to be compared as the subject before")
	flag.StringVar(&only, "only", "", "subjects, separated by commas; default: all")
	flag.BoolVar(&growth, "growth", false, "compare mrcproxy with itself as things grow")
	flag.StringVar(&o.profile, "profile", "", "directory for a CPU profile of each turn of mrcproxy")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, choose(growth, only, o.against)); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options hold for all subjects of a run.
type options struct {
	rounds, rate, calls, procs int
	hold                       time.Duration
	network, binary, profile   string
	against                    string
}

// subject is what takes turns.
type subject struct {
	name     string
	proxy    string // mrcproxy, kamailio, kamailio-fm, forwarder
	backends int    // 0: the four of SIPp; more: one process with that many
	sockets  int    // 0: one of SIPp; more: a client with that many
	beside   string // whom it is compared with; default: the first of the run
	with     []string
	env      []string
}

func choose(growth bool, only, against string) []subject {
	all := []subject{
		{name: "mrcproxy", proxy: "mrcproxy"},
		{name: "kamailio-fm", proxy: "kamailio-fm"},
		{name: "kamailio", proxy: "kamailio"},
		{name: "forwarder", proxy: "forwarder"},
		{name: "before", proxy: "before"},
	}
	if growth {
		all = []subject{
			{name: "plain", proxy: "mrcproxy"},
			{name: "8 backends", proxy: "mrcproxy", backends: 8},
			{name: "100 backends", proxy: "mrcproxy", beside: "8 backends", backends: 100},
			{name: "1000 backends", proxy: "mrcproxy", beside: "8 backends", backends: 1000},
			{name: "1 socket", proxy: "mrcproxy", sockets: 1},
			{name: "100 sockets", proxy: "mrcproxy", beside: "1 socket", sockets: 100},
			{name: "5000 sockets", proxy: "mrcproxy", beside: "1 socket", sockets: 5000},
			{name: "scraped", proxy: "mrcproxy", with: []string{"scrape"}},
			{name: "page open", proxy: "mrcproxy", with: []string{"page"}},
			{name: "call records", proxy: "mrcproxy", with: []string{"cdr"}},
			{name: "HEP", proxy: "mrcproxy", with: []string{"hep"}},
			{name: "all of these", proxy: "mrcproxy", with: []string{"scrape", "page", "cdr", "hep"}},
			{name: "one core", proxy: "mrcproxy", env: []string{"GOMAXPROCS=1"}},
			{name: "two cores", proxy: "mrcproxy", env: []string{"GOMAXPROCS=2"}},
			{name: "GOGC=100", proxy: "mrcproxy", env: []string{"GOGC=100"}},
			{name: "GOGC=200", proxy: "mrcproxy", env: []string{"GOGC=200"}},
		}
	}
	if only == "" {
		return slices.DeleteFunc(all, func(s subject) bool { return s.proxy == "before" && against == "" })
	}
	var some []subject
	for _, name := range strings.Split(only, ",") {
		for _, s := range all {
			if s.name == name {
				some = append(some, s)
			}
		}
	}
	return some
}
