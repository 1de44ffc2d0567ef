package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mrcproxy/internal/sim"
)

// faults are those that a name is enough for.
var faults = []sim.Fault{sim.None, sim.Silent, sim.Zombie, sim.Slow, sim.Offline, sim.EngineDead, sim.EngineHangs, sim.EngineFails, sim.Misrecognises,
	sim.ChannelRefused, sim.ChannelDropped, sim.Deaf, sim.Mute}

func faultNames() []string {
	var l []string
	for _, f := range faults {
		l = append(l, strings.ReplaceAll(f.String(), " ", "-"))
	}
	return l
}

func simCommand() *cobra.Command {
	var o sim.ServerOptions
	var listen, fault string
	var count int
	c := &cobra.Command{
		Use:   "sim",
		Short: "Run simulated MRCP servers, to try a configuration on",
		Long: "Run simulated MRCP servers on consecutive ports, until SIGINT or SIGTERM: UDP and TCP, and with --mrcp a channel that recognises and\n" +
			"synthesises. Their addresses are printed as the backends of a configuration.\n\n" +
			"Faults: " + strings.Join(faultNames(), ", ") + ", or a code that every INVITE is refused with.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if o.Addr, err = netip.ParseAddrPort(listen); err != nil {
				return usage("--listen must be IP:port, not %q", listen)
			}
			f, err := faultOf(fault)
			if err != nil {
				return err
			}
			return runSim(c.Context(), o, count, f, c.OutOrStdout())
		},
	}
	fl := c.Flags()
	fl.StringVar(&listen, "listen", "127.0.0.1:8060", "address of the first; port 0: any that are free")
	fl.IntVar(&count, "count", 1, "how many")
	fl.IntVar(&o.Capacity, "capacity", 0, "sessions of each at once, above it 406; 0: no limit")
	fl.StringVar(&o.Resource, "resource", "", "the one resource served, such as speechrecog; default: any")
	fl.BoolVar(&o.MRCP, "mrcp", false, "speak MRCPv2 and RTP too")
	fl.StringVar(&o.Says, "says", "", "what is recognised (default \"hello world\")")
	fl.DurationVar(&o.AnswerAfter, "answer-after", 0, "from an INVITE to its answer")
	fl.StringVar(&fault, "fault", "none", "how they misbehave")
	_ = c.RegisterFlagCompletionFunc("fault", cobra.FixedCompletions(faultNames(), cobra.ShellCompDirectiveNoFileComp))
	return c
}

func faultOf(name string) (sim.Fault, error) {
	for i, known := range faultNames() {
		if name == known {
			return faults[i], nil
		}
	}
	if code, err := strconv.Atoi(name); err == nil && code >= 300 && code <= 699 {
		return sim.Refuse(code, 0), nil
	}
	return 0, usage("--fault must be one of %s, or a code from 300 to 699, not %q", strings.Join(faultNames(), ", "), name)
}

func runSim(ctx context.Context, o sim.ServerOptions, count int, f sim.Fault, w io.Writer) error {
	if count < 1 {
		return usage("--count must be at least 1, not %d", count)
	}
	fleet, err := sim.StartFleet(count, o)
	if err != nil {
		return err
	}
	defer fleet.Stop()
	fmt.Fprintln(w, "backends:")
	for _, s := range fleet.Servers {
		s.SetFault(f)
		capacity := ""
		if o.Capacity > 0 {
			capacity = fmt.Sprintf(", capacity: %d", o.Capacity)
		}
		fmt.Fprintf(w, "  - {uri: \"sip:%s\"%s}\n", s.Addr(), capacity)
	}
	<-ctx.Done()
	for _, s := range fleet.Servers {
		st := s.Stats()
		fmt.Fprintf(w, "%s: %s answered, %d refused, %d ended, %s left\n", s.Addr(), many(st.Answered, "INVITE"), st.Refused, st.Byes, many(st.Sessions, "session"))
	}
	return nil
}
