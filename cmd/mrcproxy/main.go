// Command mrcproxy is the one binary: a load balancer for MRCPv2 servers. It owns flags, signals and the logger, and has no
// logic of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(execute(ctx, root(), os.Stderr))
}

// execute carries a command line out and returns the exit code. What fails before the command itself has begun is a command
// line that makes no sense.
func execute(ctx context.Context, c *cobra.Command, stderr io.Writer) int {
	begun := false
	c.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		if err := errors.Join(c.ValidateRequiredFlags(), c.ValidateFlagGroups()); err != nil { // cobra looks at them later
			return err
		}
		begun = true
		return nil
	}
	err := c.ExecuteContext(ctx)
	if err != nil && !begun {
		err = usageError{err}
	}
	if err != nil && !wordless(err) {
		fmt.Fprintln(stderr, "mrcproxy:", err)
	}
	return exitCode(err)
}

// family is a command that only has others below it.
func family(use, short, long string, members ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Long: long, Args: cobra.ArbitraryArgs, RunE: func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usage("unknown command %q for %q", args[0], c.CommandPath())
		}
		return c.Help()
	}}
	c.AddCommand(members...)
	return c
}

func root() *cobra.Command {
	c := &cobra.Command{
		Use:           "mrcproxy",
		Short:         "A SIP load balancer for MRCPv2 servers",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	for verb := range verbs {
		c.AddCommand(actionCommand(verb))
	}
	c.AddCommand(statusCommand(), backendsCommand(), sessionsCommand(), eventsCommand(), traceCommand(), weightCommand(), reloadCommand(), routeCommand(), configCommand(),
		manCommand())
	c.AddCommand(serve(), check(), demo(), benchCommand(), freeswitchCommand(), importCommand(), probeCommand(), simCommand())
	return c
}
