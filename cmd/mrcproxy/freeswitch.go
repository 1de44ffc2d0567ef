package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"mrcproxy/config"
	"mrcproxy/internal/freeswitch"
)

const freeswitchLong = `Print FreeSWITCH's side of the configuration for one cluster: the MRCP profile of mod_unimrcp, a gateway that watches the
proxy with OPTIONS, and an extension to try it with. With several proxies, --proxy repeated, there is a profile and a
gateway for each, and the list of mod_distributor over them. Each file begins with a comment that names it, from
FreeSWITCH's conf directory on.`

func freeswitchCommand() *cobra.Command {
	var file string
	var o freeswitch.Options
	c := &cobra.Command{
		Use:   "freeswitch --cluster NAME",
		Short: "Print FreeSWITCH's side of the configuration",
		Long:  freeswitchLong,
		Example: `  mrcproxy freeswitch --cluster baidu
  mrcproxy freeswitch --cluster baidu --transport tcp --proxy 10.1.0.5 --proxy 10.1.0.6`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := config.Load(file)
			if err != nil {
				return err
			}
			files, err := freeswitch.Files(cfg, o)
			if err != nil {
				return err
			}
			for i, f := range files {
				if i > 0 {
					fmt.Fprintln(c.OutOrStdout())
				}
				fmt.Fprintf(c.OutOrStdout(), "<!-- conf/%s -->\n%s", f.Path, f.Text)
			}
			return nil
		},
	}
	configFlag(c, &file)
	f := c.Flags()
	f.StringVar(&o.Cluster, "cluster", "", "the cluster that the profile is for")
	f.StringArrayVar(&o.Proxies, "proxy", nil, "address of a proxy, with a port if it is another than the configuration's; repeat it for several (default: this one)")
	f.StringVar(&o.Transport, "transport", "", "udp or tcp (default: the first that the configuration listens on)")
	f.StringVar(&o.UserAgent, "ua-name", "", "User-Agent of the profile (default: from the cluster's route)")
	f.StringVar(&o.ClientIP, "client-ip", "", "address of FreeSWITCH (default: its variable local_ip_v4)")
	f.IntVar(&o.ClientPort, "client-port", 5090, "SIP port of the first profile; further ones have the ports after it")
	f.IntVar(&o.RTPMin, "rtp-port-min", 32000, "first RTP port")
	f.IntVar(&o.RTPMax, "rtp-port-max", 32999, "last RTP port; several profiles share the range")
	_ = c.MarkFlagRequired("cluster") // the flag is there
	return c
}
