package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"os/user"

	"github.com/spf13/cobra"

	"mrcproxy/internal/api"
)

// remote is which daemon a command asks.
type remote struct{ server, token, ca string }

func (r *remote) flags(c *cobra.Command) {
	server := os.Getenv("MRCPROXY_SERVER")
	if server == "" {
		server = "http://127.0.0.1:9060"
	}
	c.Flags().StringVarP(&r.server, "server", "s", server, "the daemon's admin.listen, as a URL; also $MRCPROXY_SERVER")
	c.Flags().StringVar(&r.token, "token-file", "", "file with the daemon's admin.token; without it $MRCPROXY_ADMIN_TOKEN is used")
	c.Flags().StringVar(&r.ca, "cacert", "", "file with the authority of the daemon's certificate, for https")
}

func (r *remote) client() (*api.Client, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableKeepAlives = true
	if r.ca != "" {
		pem, err := os.ReadFile(r.ca)
		if err != nil {
			return nil, err
		}
		t.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificate", r.ca)
		}
	}
	token := os.Getenv("MRCPROXY_ADMIN_TOKEN")
	if r.token != "" {
		b, err := os.ReadFile(r.token)
		if err != nil {
			return nil, err
		}
		token = trimmed(b)
	}
	by := "somebody"
	if u, err := user.Current(); err == nil {
		by = u.Username
	}
	return &api.Client{Base: r.server, Token: token, By: by, HTTP: &http.Client{Transport: t}}, nil
}
