package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"mrcproxy/config"
	"mrcproxy/internal/api"
	"mrcproxy/internal/app"
)

func configCommand() *cobra.Command {
	return family("config", "Show and compare configurations", "", configShow(), configDiff())
}

func configShow() *cobra.Command {
	var r remote
	var o output
	var file string
	c := &cobra.Command{
		Use:   "show",
		Short: "Show the configuration that runs, or with -c that of a file, with every default and without secrets",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			text, err := shown(c, &r, file)
			if err != nil {
				return err
			}
			if o.format == "yaml" {
				_, err = io.WriteString(c.OutOrStdout(), text)
				return err
			}
			var v any
			if err := yaml.Unmarshal([]byte(text), &v); err != nil {
				return err
			}
			return o.write(c.OutOrStdout(), v, nil)
		},
	}
	r.flags(c)
	c.Flags().StringVarP(&file, "config", "c", "", "a configuration file, in the place of what runs")
	outputFlag(c, &o.format, "yaml or json", "yaml", "json")
	return c
}

func shown(c *cobra.Command, r *remote, file string) (string, error) {
	if file != "" {
		cfg, err := config.Load(file)
		if err != nil {
			return "", err
		}
		b, err := config.Render(cfg)
		return string(b), err
	}
	cl, err := r.client()
	if err != nil {
		return "", err
	}
	var v api.Config
	err = cl.Get(c.Context(), "config", nil, &v)
	return v.YAML, err
}

func configDiff() *cobra.Command {
	var r remote
	var o output
	c := &cobra.Command{
		Use:   "diff [OLD NEW]",
		Short: "Say what a reload would change, or how two files differ",
		Long: "Say what a reload would change: how the daemon's file differs from what it runs with. With two files, how the second differs from the first." +
			"\n\nExit status 0: they do not differ. 4: they do.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 0 && len(args) != 2 {
				return usage("give two files, or none")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			d, err := diff(c, &r, args)
			if err != nil {
				return err
			}
			if err := o.write(c.OutOrStdout(), d, func(w io.Writer) { writeChanges(w, d.Changes, d.NeedsRestart) }); err != nil || len(d.Changes) == 0 {
				return err
			}
			return errNo
		},
	}
	r.flags(c)
	o.flag(c)
	return c
}

func diff(c *cobra.Command, r *remote, files []string) (d api.Diff, err error) {
	if len(files) == 2 {
		old, err := config.Load(files[0])
		if err != nil {
			return d, err
		}
		next, err := config.Load(files[1])
		if err != nil {
			return d, err
		}
		return app.DiffOf(old, next), nil
	}
	cl, err := r.client()
	if err != nil {
		return d, err
	}
	err = cl.Get(c.Context(), "config/diff", nil, &d)
	return d, err
}

func check() *cobra.Command {
	var file string
	var strict bool
	c := &cobra.Command{
		Use:   "check",
		Short: "Check a configuration file",
		Long: `Check a configuration file as serve would read it, and warn of what can be used and is hardly meant: routes that nothing
reaches, servers without places, fallbacks that cannot hold the load, names that nothing has, times that are too short.

Exit status 0: it can be used. 1: it cannot, with every fault on a line of its own; or there are warnings, with --strict.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := config.Load(file)
			if err != nil {
				return err
			}
			if err := app.Check(cfg); err != nil {
				return errors.New(file + ": " + strings.ReplaceAll(err.Error(), "\n", "\n"+file+": "))
			}
			warnings := config.Warnings(cfg)
			for _, w := range warnings {
				fmt.Fprintln(c.ErrOrStderr(), "warning:", w)
			}
			backends := 0
			for _, cl := range cfg.Clusters {
				for _, g := range cl.Groups {
					backends += len(g.Backends)
				}
			}
			fmt.Fprintf(c.OutOrStdout(), "%s is valid: %s, %s, %s, %s\n", file, many(len(cfg.Listen), "listener"), many(len(cfg.Routes), "route"),
				many(len(cfg.Clusters), "cluster"), many(backends, "backend"))
			if strict && len(warnings) > 0 {
				return errors.New(many(len(warnings), "warning"))
			}
			return nil
		},
	}
	configFlag(c, &file)
	c.Flags().BoolVar(&strict, "strict", false, "fail when there are warnings")
	return c
}
