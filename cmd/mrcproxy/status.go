package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mrcproxy/internal/api"
)

func trimmed(b []byte) string { return strings.TrimSpace(string(b)) }

func statusCommand() *cobra.Command {
	var r remote
	var o output
	var watch bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the running daemon: its clusters and their groups",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := r.client()
			if err != nil {
				return err
			}
			if !watch {
				return writeStatus(c.Context(), cl, &o, c.OutOrStdout())
			}
			return again(c.Context(), c.OutOrStdout(), func(w io.Writer) error { return writeStatus(c.Context(), cl, &o, w) })
		},
	}
	r.flags(c)
	o.flag(c)
	c.Flags().BoolVarP(&watch, "watch", "w", false, "show it again every second")
	return c
}

// again shows something in place of what it showed before, every second until ctx ends.
func again(ctx context.Context, w io.Writer, show func(io.Writer) error) error {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		var b bytes.Buffer
		switch err := show(&b); {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		fmt.Fprintf(w, "\x1b[H\x1b[2J%s", b.Bytes())
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// overview is what status shows.
type overview struct {
	Version  string        `json:"version"`
	IDC      string        `json:"idc"`
	Ready    bool          `json:"ready"`
	Why      string        `json:"why,omitempty"`
	Trouble  []string      `json:"trouble,omitempty"`
	Sessions int           `json:"sessions"`
	Clusters []api.Cluster `json:"clusters"`
	Wishes   []api.Wish    `json:"wishes"`
}

func writeStatus(ctx context.Context, cl *api.Client, o *output, w io.Writer) error {
	var s api.Status
	var v overview
	var op api.Operator
	if err := cl.Get(ctx, "status", nil, &s); err != nil {
		return err
	}
	if err := cl.Get(ctx, "clusters", nil, &v.Clusters); err != nil {
		return err
	}
	if err := cl.Get(ctx, "operator", nil, &op); err != nil {
		return err
	}
	v.Version, v.IDC, v.Ready, v.Why, v.Trouble, v.Sessions, v.Wishes = s.Version, s.IDC, s.Ready, s.Why, s.Trouble, s.Sessions, op.Wishes
	return o.write(w, v, func(w io.Writer) {
		ready := "ready"
		if !s.Ready {
			ready = "not ready: " + s.Why
		}
		idc := "no IDC"
		if s.IDC != "" {
			idc = "IDC " + s.IDC
		}
		fmt.Fprintf(w, "mrcproxy %s, %s, %s, %s\n", s.Version, idc, many(s.Sessions, "session"), ready)
		for _, t := range s.Trouble {
			fmt.Fprintln(w, t)
		}
		fmt.Fprintln(w)
		cells(w, "CLUSTER", "IDC", "SESSIONS", "BACKENDS")
		for _, c := range v.Clusters {
			for _, g := range c.Groups {
				cells(w, c.Name, g.IDC, places(g.Sessions, g.Capacity), states(g.States))
			}
		}
		for _, c := range v.Clusters {
			if l := limits(c); l != "" {
				fmt.Fprintf(w, "\ncluster %s: %s\n", c.Name, l)
			}
		}
		for _, wish := range op.Wishes {
			fmt.Fprintf(w, "\n%s by %s%s%s", describe(wish), wish.By, prefixed(": ", wish.Reason), prefixed(", until ", when(wish.Until)))
		}
		if len(op.Wishes) > 0 {
			fmt.Fprintln(w)
		}
	})
}

// limits is what bounds a cluster beside the places of its servers.
func limits(c api.Cluster) string {
	var l []string
	if c.Licences != nil {
		l = append(l, fmt.Sprintf("%d of %d licences", c.Licences.Taken, c.Licences.Limit))
	}
	for _, g := range c.Groups {
		if g.SpillLimit != nil {
			l = append(l, fmt.Sprintf("%d of %d sessions that may spill to %s", g.Sessions, *g.SpillLimit, g.IDC))
		}
	}
	if c.Waiting > 0 {
		l = append(l, fmt.Sprintf("%d wait for a place", c.Waiting))
	}
	return strings.Join(l, ", ")
}

// loadOf is a server's sessions, with what is limited by resource.
func loadOf(b api.Backend) string {
	s := places(b.Sessions+b.Elsewhere, b.Capacity)
	for _, r := range b.Resources {
		s += fmt.Sprintf(" %s %s", r.Resource, places(r.Sessions+r.Elsewhere, r.Capacity))
	}
	return s
}

// reason is why a server is in its state, and what is so of it beside.
func reason(b api.Backend) string {
	l := slices.DeleteFunc(slices.Clone(b.Conditions), func(c string) bool { return c == "ejected" || c == "engine_down" }) // its state and reason say so
	if b.Held {
		l = append(l, "held")
	}
	if len(l) == 0 {
		return b.Reason
	}
	return strings.ReplaceAll(strings.Join(l, ", "), "_", " ") + prefixed("; ", b.Reason)
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

func describe(w api.Wish) string {
	switch {
	case w.Backend != "":
		return w.Mode + " backend " + w.Backend + " of " + w.Cluster
	case w.Cluster != "":
		return w.Mode + " group " + w.Cluster + "/" + w.IDC
	}
	return w.Mode + " idc " + w.IDC
}

func states(m map[string]int) string {
	var l []string
	for _, s := range slices.Sorted(maps.Keys(m)) {
		l = append(l, fmt.Sprintf("%d %s", m[s], s))
	}
	return strings.Join(l, ", ")
}

func backendsCommand() *cobra.Command {
	var r remote
	var o output
	q := map[string]*string{"cluster": new(""), "idc": new(""), "state": new("")}
	c := &cobra.Command{
		Use:   "backends",
		Short: "List servers with their state and load",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := r.client()
			if err != nil {
				return err
			}
			var l []api.Backend
			if err := cl.Get(c.Context(), "backends", values(q), &l); err != nil {
				return err
			}
			return o.write(c.OutOrStdout(), l, func(w io.Writer) {
				cells(w, "STATE", "CLUSTER", "IDC", "BACKEND", "SESSIONS", "WEIGHT", "SINCE", "WHY")
				for _, b := range l {
					cells(w, b.State, b.Cluster, b.IDC, b.URI, loadOf(b), b.Weight, when(b.Since), reason(b))
				}
			})
		},
	}
	r.flags(c)
	o.flag(c)
	c.Flags().StringVar(q["cluster"], "cluster", "", "only of this cluster")
	c.Flags().StringVar(q["idc"], "idc", "", "only in this IDC")
	c.Flags().StringVar(q["state"], "state", "", "only in this state: unknown, up, down, draining, disabled, removed")
	return c
}

func values(q map[string]*string) url.Values {
	v := url.Values{}
	for k, s := range q {
		if *s != "" {
			v.Set(k, *s)
		}
	}
	return v
}
