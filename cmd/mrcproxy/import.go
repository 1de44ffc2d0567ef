package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"mrcproxy/config"
	"mrcproxy/internal/migrate"
)

const importLong = `Write a configuration to standard output, made from the tables of another SIP proxy. What could not be carried over stands
in it as comments. Nothing else is read: what a script does with the tables is assumed, and the first comments say what.

Exit status 0: the configuration is one that serve accepts. 1: it is not, or a table cannot be read; standard error says
where and why.`

func importCommand() *cobra.Command {
	return family("import", "Make a configuration from the tables of OpenSIPS or Kamailio", importLong, importOpenSIPS(), importKamailio())
}

func importOpenSIPS() *cobra.Command {
	var o migrate.Options
	var balancer, dispatcher, dialplan string
	c := &cobra.Command{
		Use:   "opensips",
		Short: "Make a configuration from the tables load_balancer, dispatcher and dialplan",
		Long: importLong + `

A table is CSV whose first line names the columns (also with semicolons, or with tabs as from mysql --batch), or SQL with
INSERTs, as from mysqldump. The attrs of a dialplan rule name a group and the cluster: 91:LB:NAME for group 91 of
load_balancer, 90:DS:NAME for group 90 of dispatcher. Group 10091 stands in when no server of 91 can take a call.`,
		Example: "  mrcproxy import opensips --load-balancer lb.csv --dispatcher ds.csv --dialplan dp.csv > mrcproxy.yaml",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var t migrate.OpenSIPSTables
			for _, f := range []struct {
				name  string
				table **migrate.File
			}{{balancer, &t.LoadBalancer}, {dispatcher, &t.Dispatcher}, {dialplan, &t.Dialplan}} {
				if f.name == "" {
					continue
				}
				data, err := os.ReadFile(f.name)
				if err != nil {
					return err
				}
				*f.table = &migrate.File{Name: f.name, Data: data}
			}
			out, err := migrate.OpenSIPS(t, o)
			return imported(c, out, err)
		},
	}
	f := c.Flags()
	f.StringVar(&balancer, "load-balancer", "", "the table load_balancer, a file")
	f.StringVar(&dispatcher, "dispatcher", "", "the table dispatcher, a file")
	f.StringVar(&dialplan, "dialplan", "", "the table dialplan, a file; without it the routes are for you to write")
	c.MarkFlagsOneRequired("load-balancer", "dispatcher")
	importFlags(c, &o)
	return c
}

func importKamailio() *cobra.Command {
	var o migrate.Options
	c := &cobra.Command{
		Use:   "kamailio FILE",
		Short: "Make a configuration from a dispatcher.list",
		Long: importLong + `

Which call goes to which set stands in Kamailio's script. With one set, all go there; with several, the routes are for you
to write. Set 10001 stands in when no server of set 1 can take a call.`,
		Example: "  mrcproxy import kamailio /etc/kamailio/dispatcher.list > mrcproxy.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			data, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			out, err := migrate.Kamailio(migrate.File{Name: args[0], Data: data}, o)
			return imported(c, out, err)
		},
	}
	importFlags(c, &o)
	return c
}

func importFlags(c *cobra.Command, o *migrate.Options) {
	c.Flags().StringArrayVar(&o.Listen, "listen", nil, "SIP address to listen on, such as udp://10.1.0.5:5060; repeat it for more (default on loopback)")
	c.Flags().IntVar(&o.Escape, "escape", 10000, "what a group's number has more that stands in for another; 0: no group does")
}

// imported writes a configuration, and checks it as serve would.
func imported(c *cobra.Command, out []byte, err error) error {
	if err != nil {
		return err
	}
	if _, err := c.OutOrStdout().Write(out); err != nil {
		return err
	}
	if _, err := config.Parse("standard output", out); err != nil {
		return fmt.Errorf("serve would not accept this configuration: %w", err)
	}
	return nil
}
