package main

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"mrcproxy/config"
	"mrcproxy/internal/api"
	"mrcproxy/internal/app"
)

func routeCommand() *cobra.Command {
	var r remote
	var o output
	var file, source string
	c := &cobra.Command{
		Use:   "route FILE|-",
		Short: "Say where an INVITE would go, and why",
		Long: `Read an INVITE, as it stands on the wire or as sngrep saves it, and say which route, cluster, group and server it would get,
and of each server on the way why not. The running daemon is asked, with the load and the health of now; with -c a
configuration file, as if no server had been probed and none had sessions; a name then stands for one server, and is not
looked up. Nothing is sent, and nothing changes.

Exit status 0: it would go to a server. 4: it would be turned away.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			invite, err := readInvite(c.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			a, err := askRoute(c, &r, file, source, invite)
			if err != nil {
				return err
			}
			if err := o.write(c.OutOrStdout(), a, func(w io.Writer) { writeRoute(w, a) }); err != nil || a.Code == 0 {
				return err
			}
			return errNo
		},
	}
	r.flags(c)
	o.flag(c)
	c.Flags().StringVarP(&file, "config", "c", "", "ask this configuration file, not a daemon")
	c.Flags().StringVar(&source, "source", "", "the address that the INVITE comes from (default: that of its topmost Via)")
	return c
}

// readInvite reads a message. Editors and terminals leave lines without the CR that SIP has (RFC 3261 7).
func readInvite(stdin io.Reader, name string) ([]byte, error) {
	var text []byte
	var err error
	if name == "-" {
		text, err = io.ReadAll(stdin)
	} else {
		text, err = os.ReadFile(name)
	}
	if err != nil || bytes.Contains(text, []byte("\r\n")) {
		return text, err
	}
	return bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")), nil
}

func askRoute(c *cobra.Command, r *remote, file, source string, invite []byte) (a api.Route, err error) {
	if source == "" {
		source = viaAddress(invite)
	}
	if file == "" {
		cl, err := r.client()
		if err != nil {
			return a, err
		}
		return cl.Route(c.Context(), invite, source)
	}
	cfg, err := config.Load(file)
	if err != nil {
		return a, err
	}
	src := netip.IPv4Unspecified()
	if source != "" {
		if src, err = netip.ParseAddr(source); err != nil {
			return a, usage("--source must be an IP address, not %q", source)
		}
	}
	return app.Explain(cfg, invite, src)
}

// viaAddress is the address in the topmost Via, "" where it has a name.
func viaAddress(invite []byte) string {
	for line := range strings.Lines(string(invite)) {
		name, value, ok := strings.Cut(line, ":")
		if name = strings.ToLower(strings.TrimSpace(name)); !ok || name != "via" && name != "v" {
			continue
		}
		fields := strings.Fields(value)
		if len(fields) < 2 {
			return ""
		}
		host, _, _ := strings.Cut(fields[1], ";")
		if a, err := netip.ParseAddrPort(host); err == nil {
			return a.Addr().String()
		}
		if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
			return a.String()
		}
		return ""
	}
	return ""
}

func writeRoute(w io.Writer, a api.Route) {
	fmt.Fprintf(w, "INVITE from %s, User-Agent %q, asks for %s\n", a.Source, a.UserAgent, orNothing(strings.Join(a.Resources, ", ")))
	for _, s := range a.Routes {
		if s.Matched {
			fmt.Fprintf(w, "route %s: matches, cluster %s\n", s.Route, s.Cluster)
		} else {
			fmt.Fprintf(w, "route %s: no: %s\n", s.Route, s.Why)
		}
	}
	if a.Route == "otherwise" && a.Cluster != "" {
		fmt.Fprintf(w, "otherwise: cluster %s\n", a.Cluster)
	}
	if len(a.Candidates) > 0 {
		cells(w, " ", "CLUSTER", "IDC", "BACKEND", "SESSIONS", "WEIGHT", "WHY")
	}
	for _, c := range a.Candidates {
		mark := map[bool]string{true: "->", false: "."}[c.Chosen]
		cells(w, mark, c.Cluster, c.IDC, c.Backend, places(c.Sessions, c.Capacity), c.Weight, c.Why)
	}
	if a.Code != 0 {
		fmt.Fprintf(w, "answer: %d, %s\n", a.Code, a.Why)
		return
	}
	in := ""
	if a.IDC != "" {
		in = " in " + a.IDC
	}
	fmt.Fprintf(w, "goes to %s%s\n", a.Backend, in)
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}
