package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"mrcproxy/config"
	"mrcproxy/internal/app"
)

func serve() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the proxy",
		Long:  "Run the proxy until SIGINT or SIGTERM. SIGHUP, or a change of the file, reloads the configuration.",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return runServe(c.Context(), file)
		},
	}
	configFlag(c, &file)
	return c
}

func configFlag(c *cobra.Command, file *string) {
	c.Flags().StringVarP(file, "config", "c", "/etc/mrcproxy/mrcproxy.yaml", "configuration file")
}

func runServe(ctx context.Context, file string) error {
	first, err := config.Load(file)
	if err != nil {
		return err
	}
	log, level, flush, err := app.NewLogger(first.Log)
	if err != nil {
		return err
	}
	defer flush()
	a, err := app.New(app.Options{
		Load:  func() (*config.Config, error) { return config.Load(file) },
		Watch: file, Log: log, Level: level, Version: version, Revision: revision(),
	})
	if err != nil {
		return err
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hup:
				_ = a.Reload("SIGHUP") // logged there
			}
		}
	}()
	return a.Run(ctx)
}

// revision is the commit that the binary was built from, where the build knows it.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}

func check() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "check",
		Short: "Check a configuration file",
		Long:  "Check a configuration file as serve would read it. Exit status 0: it can be used; 1: it cannot, with every fault on a line of its own.",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := config.Load(file)
			if err != nil {
				return err
			}
			if err := app.Check(cfg); err != nil {
				return err
			}
			backends := 0
			for _, cl := range cfg.Clusters {
				for _, g := range cl.Groups {
					backends += len(g.Backends)
				}
			}
			fmt.Fprintf(c.OutOrStdout(), "%s is valid: %d listeners, %d routes, %d clusters, %d backends\n", file, len(cfg.Listen), len(cfg.Routes), len(cfg.Clusters), backends)
			return nil
		},
	}
	configFlag(c, &file)
	return c
}
