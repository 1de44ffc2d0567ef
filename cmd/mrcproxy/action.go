package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mrcproxy/internal/api"
)

const scopeHelp = `

What is meant:
  backend URI          one server, by its URI or id, with --cluster where it stands in several
  group CLUSTER/IDC    the servers of a cluster in one data centre
  idc NAME             all servers in a data centre`

var verbs = map[string]string{
	"drain":   "Give servers no new sessions; those that they have go on",
	"disable": "Give servers no new sessions, and do not probe them",
	"enable":  "End a drain or disable of exactly this scope",
}

// actionCommand is drain, disable or enable.
func actionCommand(verb string) *cobra.Command {
	var r remote
	var o output
	var a api.Action
	var until string
	var wait time.Duration
	c := &cobra.Command{
		Use:       verb + " backend|group|idc NAME",
		Short:     verbs[verb],
		Long:      verbs[verb] + "." + scopeHelp,
		Args:      twoArgs,
		ValidArgs: []string{"backend", "group", "idc"},
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := r.client()
			if err != nil {
				return err
			}
			if err := scopeOf(&a.Scope, args); err != nil {
				return err
			}
			if until != "" {
				if a.Until, err = time.Parse(time.RFC3339, until); err != nil {
					return usage("--until must be a time such as 2026-07-01T06:00:00+08:00, not %q", until)
				}
			}
			res, err := cl.Do(c.Context(), verb, a)
			if err != nil {
				return err
			}
			if err := o.write(c.OutOrStdout(), res, func(w io.Writer) { writeResult(w, verb, res) }); err != nil {
				return err
			}
			if wait == 0 {
				return nil
			}
			said := c.OutOrStdout()
			if o.format != "table" {
				said = c.ErrOrStderr() // what scripts read is whole
			}
			return await(c.Context(), cl, verb, a.Scope, wait, said)
		},
	}
	r.flags(c)
	o.flag(c)
	f := c.Flags()
	f.StringVar(&a.Cluster, "cluster", "", "the cluster of a backend that stands in several")
	f.StringVar(&a.Reason, "reason", "", "why, for the log and the status page")
	if verb != "enable" {
		f.StringVar(&a.For, "for", "", "it ends by itself after this duration, such as 30m")
		f.StringVar(&until, "until", "", "it ends by itself at this time, such as 2026-07-01T06:00:00+08:00")
	}
	f.DurationVar(&wait, "wait", 0, "wait until no session is left there, or with enable until it is up, for so long at most; without a value 24h")
	f.Lookup("wait").NoOptDefVal = "24h"
	return c
}

func twoArgs(_ *cobra.Command, args []string) error {
	if len(args) != 2 {
		return usage("say what, as: backend URI, group CLUSTER/IDC or idc NAME")
	}
	return nil
}

func scopeOf(s *api.Scope, args []string) error {
	switch args[0] {
	case "backend":
		s.Backend = args[1]
	case "group":
		cluster, idc, ok := strings.Cut(args[1], "/")
		if !ok || cluster == "" || idc == "" {
			return usage("a group is CLUSTER/IDC, not %q", args[1])
		}
		s.Cluster, s.IDC = cluster, idc
	case "idc":
		s.IDC = args[1]
	default:
		return usage("say backend, group or idc, not %q", args[0])
	}
	return nil
}

func writeResult(w io.Writer, verb string, r api.Result) {
	done := map[string]string{"drain": "draining", "disable": "disabled", "enable": "enabled", "weight": "weighted"}[verb]
	if !r.Changed {
		done = "nothing to " + verb
	}
	fmt.Fprintf(w, "%s: %s with %s\n", done, many(r.Backends, "backend"), many(r.Sessions, "session"))
	if r.Warning != "" {
		fmt.Fprintln(w, "warning:", r.Warning)
	}
}

// await waits until the scope has no session, or after enable no server that is not up.
func await(ctx context.Context, cl *api.Client, verb string, s api.Scope, limit time.Duration, w io.Writer) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	t := time.NewTicker(500 * time.Millisecond)
	defer t.Stop()
	for {
		left, err := remaining(ctx, cl, verb, s)
		switch {
		case err != nil:
			return err
		case left == 0:
			_, err = fmt.Fprintln(w, map[bool]string{true: "up", false: "no session is left"}[verb == "enable"])
			return err
		}
		select {
		case <-limited.Done():
			if ctx.Err() != nil { // interrupted
				return ctx.Err()
			}
			if verb == "enable" {
				return noError(fmt.Sprintf("after %v: not up: %s", limit, many(left, "backend")))
			}
			return noError(fmt.Sprintf("after %v: %s left", limit, many(left, "session")))
		case <-t.C:
		}
	}
}

// remaining is what await waits to be gone.
func remaining(ctx context.Context, cl *api.Client, verb string, s api.Scope) (left int, err error) {
	q := url.Values{}
	if s.Cluster != "" {
		q.Set("cluster", s.Cluster)
	}
	if s.IDC != "" {
		q.Set("idc", s.IDC)
	}
	var l []api.Backend
	if err := cl.Get(ctx, "backends", q, &l); err != nil {
		return 0, err
	}
	for _, b := range l {
		switch {
		case s.Backend != "" && s.Backend != b.URI && s.Backend != b.ID:
		case verb != "enable":
			left += b.Sessions
		case b.State != "up":
			left++
		}
	}
	return left, nil
}

func weightCommand() *cobra.Command {
	var r remote
	var o output
	var a api.Action
	c := &cobra.Command{
		Use:   "weight BACKEND NUMBER|file",
		Short: "Give a server another weight than its configuration has, or that of the file again",
		Args:  cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := r.client()
			if err != nil {
				return err
			}
			a.Backend = args[0]
			if args[1] != "file" {
				n, err := strconv.Atoi(args[1])
				if err != nil {
					return usage("a weight is a number or the word file, not %q", args[1])
				}
				a.Weight = &n
			}
			res, err := cl.Do(c.Context(), "weight", a)
			if err != nil {
				return err
			}
			return o.write(c.OutOrStdout(), res, func(w io.Writer) { writeResult(w, "weight", res) })
		},
	}
	r.flags(c)
	o.flag(c)
	c.Flags().StringVar(&a.Cluster, "cluster", "", "the cluster of a backend that stands in several")
	c.Flags().StringVar(&a.Reason, "reason", "", "why, for the log")
	return c
}

func reloadCommand() *cobra.Command {
	var r remote
	var o output
	c := &cobra.Command{
		Use:   "reload",
		Short: "Have the daemon load its configuration again",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := r.client()
			if err != nil {
				return err
			}
			res, err := cl.Reload(c.Context())
			if err != nil {
				return err
			}
			return o.write(c.OutOrStdout(), res, func(w io.Writer) { writeChanges(w, res.Changes, res.NeedsRestart) })
		},
	}
	r.flags(c)
	o.flag(c)
	return c
}

func writeChanges(w io.Writer, changes, restart []string) {
	if len(changes) == 0 {
		fmt.Fprintln(w, "no changes")
	}
	for _, l := range changes {
		fmt.Fprintln(w, l)
	}
	if len(restart) > 0 {
		fmt.Fprintf(w, "these wait for a restart: %s\n", strings.Join(restart, ", "))
	}
}
