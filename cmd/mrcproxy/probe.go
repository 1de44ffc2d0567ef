package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mrcproxy/config"
	"mrcproxy/internal/app"
)

// probeFlags are the settings of health.deep that can be given without a file.
type probeFlags struct {
	file, method, resource, audio, grammar, expect, text, language string
	confidence                                                     float64
	timeout                                                        time.Duration
	deep, verbose                                                  bool
}

func probeCommand() *cobra.Command {
	var f probeFlags
	var o output
	c := &cobra.Command{
		Use:   "probe BACKEND",
		Short: "Probe a server, once",
		Long: "Probe a server by OPTIONS, or with --deep by a session: INVITE, MRCP connection, one method, BYE. It needs no daemon, and\n" +
			"counts as a session, with its licence, at the server. BACKEND is a URI such as \"sip:10.1.1.180:8060;transport=tcp\"; with\n" +
			"-c, whose health sections then hold, also the name of a cluster, for all of its servers.\n" +
			"Exit status 0: it succeeded; 1: it failed.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return runProbe(c, args[0], f, &o) },
	}
	o.flag(c)
	fl := c.Flags()
	fl.StringVarP(&f.file, "config", "c", "", "configuration file; default: none")
	fl.BoolVar(&f.deep, "deep", false, "a session rather than OPTIONS")
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "show SDP and MRCP as sent and received; with -o json or yaml on standard error")
	fl.StringVar(&f.method, "method", "", "get-params, recognize or speak; default: of the file, else get-params")
	fl.StringVar(&f.resource, "resource", "", "speechrecog or speechsynth; default: by the method")
	fl.StringVar(&f.audio, "audio", "", "file of speech for recognize, mono at 8000 Hz")
	fl.StringVar(&f.grammar, "grammar", "", "grammar for recognize, or its URI; default: builtin:speech/transcribe")
	fl.StringVar(&f.expect, "expect", "", "regular expression that the result must match")
	fl.Float64Var(&f.confidence, "confidence", 0, "the least confidence of the result, 0 to 1")
	fl.StringVar(&f.text, "text", "", "text for speak; default: hello")
	fl.StringVar(&f.language, "language", "", "language of recognize and speak")
	fl.DurationVar(&f.timeout, "timeout", 0, "how long it may take; default: 10s with --deep, else 1s")
	return c
}

func runProbe(c *cobra.Command, target string, f probeFlags, format *output) error {
	all, err := f.targets(target)
	if err != nil {
		return err
	}
	failed := 0
	table := format.format == "table"
	talk := c.OutOrStdout()
	if !table {
		talk = c.ErrOrStderr()
	}
	views := []app.OnceView{}
	for _, o := range all {
		if f.verbose {
			o.Trace = func(what, text string) {
				fmt.Fprintf(talk, "--- %s\n%s\n", what, strings.TrimRight(strings.ReplaceAll(text, "\r\n", "\n"), "\n"))
			}
		}
		r, err := app.Probe(c.Context(), o)
		if err != nil {
			return fmt.Errorf("probe %s: %w", o.URI, err)
		}
		if table {
			fmt.Fprintf(talk, "%s\n  %s\n", o.URI, strings.Join(r.Lines(f.deep), "\n  "))
		}
		views = append(views, r.View(o.URI, f.deep))
		if !r.OK(f.deep) {
			failed++
		}
	}
	if !table {
		if err := format.write(c.OutOrStdout(), views, nil); err != nil {
			return err
		}
	}
	switch {
	case failed == 1 && len(all) == 1:
		return errors.New("the probe failed")
	case failed > 0:
		return fmt.Errorf("%d of %d probes failed", failed, len(all))
	}
	return nil
}

// targets are the servers that are meant, with how each is to be probed.
func (f probeFlags) targets(target string) ([]app.Once, error) {
	if f.file == "" {
		h, err := f.over(config.DefaultHealth())
		if err != nil {
			return nil, usageError{err}
		}
		return []app.Once{{URI: target, Health: h, Deep: f.deep}}, nil
	}
	cfg, err := config.Load(f.file)
	if err != nil {
		return nil, err
	}
	var all []app.Once
	for _, cl := range cfg.Clusters {
		h, err := f.over(cl.Health)
		if err != nil {
			return nil, err
		}
		for _, g := range cl.Groups {
			for _, b := range g.Backends {
				if cl.Name == target || b.URI == target && len(all) == 0 {
					all = append(all, app.Once{URI: b.URI, Health: h, TLS: cfg.TLS, Deep: f.deep})
				}
			}
		}
	}
	if len(all) == 0 {
		h, err := f.over(cfg.Health)
		if err != nil {
			return nil, err
		}
		if _, err := config.ParseBackend(target); err != nil {
			return nil, fmt.Errorf("%q is no cluster and no server of %s, and %w", target, f.file, err)
		}
		all = []app.Once{{URI: target, Health: h, TLS: cfg.TLS, Deep: f.deep}}
	}
	return all, nil
}

// over lays what was given on the command line over a health section.
func (f probeFlags) over(h config.Health) (config.Health, error) {
	for dst, src := range map[*string]string{&h.Deep.Method: f.method, &h.Deep.Resource: f.resource, &h.Deep.Audio: f.audio,
		&h.Deep.Grammar: f.grammar, &h.Deep.Text: f.text, &h.Deep.Language: f.language} {
		if src != "" {
			*dst = src
		}
	}
	if f.expect != "" {
		re, err := regexp.Compile(f.expect)
		if err != nil {
			return h, usage("--expect: %w", err)
		}
		h.Deep.Expect.Re = re
	}
	if f.confidence != 0 {
		h.Deep.Confidence = f.confidence
	}
	if f.timeout != 0 {
		h.Timeout, h.Deep.Timeout = f.timeout, f.timeout
	}
	return h, h.Deep.Check()
}
