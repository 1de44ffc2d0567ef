package main

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"mrcproxy/config"
	"mrcproxy/internal/app"
	"mrcproxy/internal/systemd"
)

func serve() *cobra.Command {
	var file string
	var takeover bool
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the proxy",
		Long: "Run the proxy until SIGINT or SIGTERM. SIGHUP, or a change of the file, reloads the configuration. SIGHUP and SIGUSR1\n" +
			"open the file of call records anew. SIGUSR2 runs the binary again with --takeover: an upgrade.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return runServe(c.Context(), file, takeover)
		},
	}
	configFlag(c, &file)
	c.Flags().BoolVar(&takeover, "takeover", false, "take the sockets of the process that runs, if one does, without a message lost; it then ends")
	return c
}

func configFlag(c *cobra.Command, file *string) {
	c.Flags().StringVarP(file, "config", "c", "/etc/mrcproxy/mrcproxy.yaml", "configuration file")
}

// gcPercent is how much garbage may pile up before it is collected, in percent of what lives, unless GOGC says otherwise. Half
// of Go's default: a call leaves little garbage and 1.3 KB that live for 32 s, so that collecting twice as often costs
// nothing that can be measured, and a fifth of the memory is not needed (docs/benchmarks.md).
const gcPercent = 50

func runServe(ctx context.Context, file string, takeover bool) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	notify, err := systemd.NewNotifier()
	if err != nil {
		return err
	}
	defer notify.Close()
	passed, err := systemd.Sockets()
	if err != nil {
		return err
	}
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
		Takeover: takeover, Sockets: passed, Notify: notify, Watchdog: systemd.Watchdog(),
	})
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case s := <-signals:
				switch s {
				case syscall.SIGUSR1:
					a.ReopenFiles()
				case syscall.SIGUSR2:
					upgrade(log)
				default:
					_ = a.Reload("SIGHUP") // logged there
				}
			}
		}
	}()
	return a.Run(ctx)
}

// upgrade runs what now is at our path, with our arguments, to take over from us. Should it fail at that, we go on.
func upgrade(log *zap.Logger) {
	path, err := exec.LookPath(os.Args[0])
	if err != nil {
		log.Error("upgrade", zap.Error(err))
		return
	}
	args := os.Args[1:]
	if !slices.Contains(args, "--takeover") {
		args = append(slices.Clone(args), "--takeover")
	}
	c := exec.Command(path, args...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "WATCHDOG_PID=") { // it is to be the new process
			c.Env = append(c.Env, v)
		}
	}
	if err := c.Start(); err != nil {
		log.Error("upgrade", zap.Error(err))
		return
	}
	log.Info("upgrade: the new process starts", zap.String("path", path), zap.Int("pid", c.Process.Pid))
	go func() {
		if err := c.Wait(); err != nil {
			log.Error("upgrade: the new process has ended", zap.Error(err))
		}
	}()
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
