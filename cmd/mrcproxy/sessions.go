package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"mrcproxy/internal/api"
)

func sessionsCommand() *cobra.Command {
	var r remote
	var o output
	q := map[string]*string{"call_id": new(""), "cluster": new(""), "idc": new(""), "backend": new(""), "route": new(""), "limit": new(""), "after": new("")}
	c := &cobra.Command{
		Use:   "sessions",
		Short: "List established sessions",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := r.client()
			if err != nil {
				return err
			}
			var p api.SessionPage
			if err := cl.Get(c.Context(), "sessions", values(q), &p); err != nil {
				return err
			}
			return o.write(c.OutOrStdout(), p, func(w io.Writer) {
				cells(w, "ID", "CALL-ID", "ROUTE", "CLUSTER", "IDC", "BACKEND", "START")
				for _, s := range p.Sessions {
					cells(w, s.ID, s.CallID, s.Route, s.Cluster, s.IDC, s.Backend, when(s.Start))
				}
				fmt.Fprintf(w, "\n%d of %d sessions\n", len(p.Sessions), p.Total)
				if p.Next != "" {
					fmt.Fprintf(w, "more: --after %s\n", p.Next)
				}
			})
		},
	}
	r.flags(c)
	o.flag(c)
	f := c.Flags()
	f.StringVar(q["call_id"], "call-id", "", "only whose Call-ID has this in it")
	f.StringVar(q["cluster"], "cluster", "", "only at servers of this cluster")
	f.StringVar(q["idc"], "idc", "", "only at servers in this IDC")
	f.StringVar(q["backend"], "backend", "", "only at this server, by its URI or id")
	f.StringVar(q["route"], "route", "", "only by this route")
	f.StringVar(q["limit"], "limit", "", "how many, 1 to 1000 (default 100)")
	f.StringVar(q["after"], "after", "", "go on behind this id")
	c.AddCommand(endCommand())
	return c
}

func endCommand() *cobra.Command {
	var r remote
	c := &cobra.Command{
		Use:   "end ID",
		Short: "End a session with a BYE to both sides",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := r.client()
			if err != nil {
				return err
			}
			if err := cl.Terminate(c.Context(), args[0]); err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), "ended")
			return nil
		},
	}
	r.flags(c)
	return c
}

func eventsCommand() *cobra.Command {
	var r remote
	var o output
	var follow bool
	c := &cobra.Command{
		Use:   "events",
		Short: "Show what happened, and with -f what happens",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := r.client()
			if err != nil {
				return err
			}
			var l []api.Event
			if err := cl.Get(c.Context(), "events", nil, &l); err != nil {
				return err
			}
			after := uint64(0)
			for _, e := range l {
				after = e.ID
				if err := writeEvent(&o, c.OutOrStdout(), e); err != nil {
					return err
				}
			}
			if !follow {
				return nil
			}
			return cl.Follow(c.Context(), after, func(e api.Event) { _ = writeEvent(&o, c.OutOrStdout(), e) })
		},
	}
	r.flags(c)
	o.flag(c)
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what happens")
	return c
}

// writeEvent writes an event on a line of its own, in JSON too, so that a stream of them can be read.
func writeEvent(o *output, w io.Writer, e api.Event) error {
	if o.format == "json" {
		return writeLine(w, e)
	}
	return o.write(w, e, func(w io.Writer) {
		times := ""
		if e.Count > 1 {
			times = fmt.Sprintf(" x%d", e.Count)
		}
		fmt.Fprintf(w, "%s  %s%s%s%s: %s%s\n", when(e.At), e.Type, times, prefixed(" ", e.Cluster), prefixed(" ", e.Backend), e.Text, prefixed(", by ", e.By))
	})
}
