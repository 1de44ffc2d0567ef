package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"strings"

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
	c.Flags().StringVarP(&r.server, "server", "s", server, "the daemon's admin.listen, as a URL or host:port; also $MRCPROXY_SERVER")
	c.Flags().StringVar(&r.token, "token-file", "", "file with the daemon's admin.token; without it $MRCPROXY_ADMIN_TOKEN is used")
	c.Flags().StringVar(&r.ca, "cacert", "", "file with the authority of the daemon's certificate, for https")
}

// base is the daemon's URL.
func (r *remote) base() (string, error) {
	text := r.server
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	if u, err := url.Parse(text); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", usage("--server must be a URL such as http://127.0.0.1:9060") // it may hold a password
	}
	return text, nil
}

func (r *remote) client() (*api.Client, error) {
	base, err := r.base()
	if err != nil {
		return nil, err
	}
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
	return &api.Client{Base: base, Token: token, By: by, HTTP: &http.Client{Transport: t}}, nil
}
