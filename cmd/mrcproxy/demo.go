package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"
)

// demoOptions are what the flags of demo say.
type demoOptions struct {
	length    time.Duration // 0: until the context ends
	killEvery time.Duration // 0: never
	output    string        // table or json
	basePort  int           // 0: free ones
	rate      int           // sessions a second
	capacity  int           // of each server; 0: as many as rate, 20 at least
	quiet     bool
	out, err  io.Writer // standard output and error
}

const demoLong = `Run the proxy with simulated MRCP servers in two data centres, and a client that keeps placing sessions as FreeSWITCH
does, over UDP and over TCP. Everything is on 127.0.0.1 and in this one process. Now and then a server is killed (its
sockets close) or falls silent (they stay open, nothing comes), and runs again later; now and then all servers of a
cluster in the proxy's own data centre. Ctrl-C, or --for, ends it: nothing more is placed, the sessions that are held
end with BYE, and a summary follows.

The proxy's log and configuration are in a folder whose name is printed at the start. A change of the configuration
takes effect at once. The folder is removed at the end, unless a session failed.

Exit status 0 only if no session failed. A session is ok when its INVITE got 200 within 5 s, and its BYE 2xx within 3 s.
A session whose server was killed or silent at any time between the 200 and the end is also ok when its BYE got 481 within
3 s, or when the server sent a BYE: it has ended with its server, which no proxy can prevent. All others have failed:
also one whose BYE was not answered at all, whatever its server did, because FreeSWITCH blocks on that.

With -o json, standard output has the summary alone, and everything else goes to standard error:

  duration_seconds        from the first session to the end of the last
  sessions_started        sessions_ok + sessions_failed
  sessions_ok             see above
  sessions_lost           those of sessions_ok that ended with their server
  sessions_failed         see above; failures tells of the first 20
  sessions_left           that the proxy still held when all had ended: 0, or a licence has leaked
  failovers               times that a session was placed anew because a server failed or refused
  kills                   servers killed or made silent
  longest_stall_ms        the longest time that this process got no CPU; from 300 or so on, failures are the machine's
  setup_ms                INVITE to 200, of the sessions that got one: p50, p99, max
  per_backend             by URI: cluster, idc, capacity; picked, how often the proxy chose it; sessions, how many it had;
                          failed_over, how many were given up there and placed anew; kills`

func demo() *cobra.Command {
	var o demoOptions
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show the proxy at work with simulated servers",
		Long:  demoLong,
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.out, o.err = c.OutOrStdout(), c.ErrOrStderr()
			if err := o.check(); err != nil {
				return err
			}
			return runDemo(c.Context(), o)
		},
	}
	f := c.Flags()
	f.DurationVar(&o.length, "for", 0, "end after this time; 0: run until Ctrl-C")
	outputFlag(c, &o.output, "what standard output gets: table (all there is to see) or json (the summary)", "table", "json")
	f.IntVar(&o.basePort, "base-port", 0, "first of 10 consecutive ports: SIP (UDP and TCP), HTTP, 8 servers; 0: free ones")
	f.IntVar(&o.rate, "rate", 20, "sessions a second; each is held 0.5 to 3 s")
	f.IntVar(&o.capacity, "capacity", 0, "sessions that a server takes at once; 0: as many as --rate, at least 20")
	f.DurationVar(&o.killEvery, "kill-every", 5*time.Second, "time from one kill of a server to the next; 0: none")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "the summary alone")
	return c
}

func (o *demoOptions) check() error {
	switch {
	case o.basePort < 0 || o.basePort > 65535-demoPorts+1:
		return usage("--base-port must be 1 to %d, or 0, not %d", 65535-demoPorts+1, o.basePort)
	case o.rate < 1 || o.rate > 1000:
		return usage("--rate must be 1 to 1000, not %d", o.rate)
	case o.capacity < 0:
		return usage("--capacity must not be negative, not %d", o.capacity)
	case o.length < 0 || o.killEvery < 0:
		return usage("--for and --kill-every must not be negative")
	}
	if o.capacity == 0 {
		o.capacity = max(20, o.rate)
	}
	return nil
}

// drainTime is how long sessions may take to end when the demo does: a failover or two, and a BYE to a silent server.
const drainTime = 2500 * time.Millisecond

// runDemo is the demo from the first socket to the summary.
func runDemo(ctx context.Context, o demoOptions) (err error) {
	h, err := newHouse(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	calls, err := newCalls(h)
	if err != nil {
		return err
	}
	defer calls.close()
	con := newConsole(o)
	con.print(h.greeting()...)

	run, stop := context.WithCancel(ctx)
	defer stop()
	if o.length > 0 {
		defer time.AfterFunc(o.length, stop).Stop()
	}
	h.run()
	v := newView(h, calls, con)
	var work, show sync.WaitGroup
	blind := make(chan struct{})
	show.Go(func() { v.run(blind) })
	show.Go(func() { h.watchStalls(blind) })
	work.Go(func() { calls.place(run) })
	work.Go(func() { h.breakServers(run, o.killEvery, v.tell) })
	select {
	case <-run.Done():
		v.tell("ending: no new sessions, BYE to those that are held")
	case <-h.ended:
		v.tell("the proxy has ended")
		stop()
	}
	work.Wait()
	calls.drain(drainTime)
	close(blind)
	show.Wait()

	s := summarize(h, calls)
	err = s.write(o)
	if s.Failed > 0 {
		h.keep = true
		err = errors.Join(err, fmt.Errorf("%d of %d sessions failed; the log is %s", s.Failed, s.Started, h.logFile()))
	}
	return err
}
