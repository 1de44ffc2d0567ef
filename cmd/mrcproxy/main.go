// Command mrcproxy is the one binary: a load balancer for MRCPv2 servers. It owns flags, signals and the logger, and has no
// logic of its own.
package main

import (
	"context"
	"fmt"
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
	if err := root().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "mrcproxy:", err)
		os.Exit(1)
	}
}

func root() *cobra.Command {
	c := &cobra.Command{
		Use:           "mrcproxy",
		Short:         "A SIP load balancer for MRCPv2 servers",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	c.AddCommand(serve(), check(), demo(), freeswitchCommand(), importCommand(), probeCommand())
	return c
}
