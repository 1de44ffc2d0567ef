package app

import (
	"crypto/tls"
	"net/netip"
	"strings"

	"mrcproxy/config"
	"mrcproxy/proxy/transport"
)

var clientAuth = map[string]transport.ClientAuth{"none": transport.ClientAuthNone, "request": transport.ClientAuthRequest, "require": transport.ClientAuthRequire}

func certificateFiles(c *config.Config) transport.CertificateFiles {
	return transport.CertificateFiles{Cert: c.TLS.Cert, Key: c.TLS.Key, ClientAuth: clientAuth[c.TLS.ClientAuth], ClientCA: c.TLS.ClientCA, ServerCA: c.TLS.ServerCA}
}

// clientTLS is how we connect to a server: its certificate must carry the name that the configuration has for it, or else
// its address (RFC 5922 7.1).
func (a *App) clientTLS(to netip.AddrPort) *tls.Config {
	c := a.certs.ClientConfig()
	for _, n := range namesOf(a.cfg.Load()) {
		if n.Network != "tls" {
			continue
		}
		for _, t := range a.names.Targets(n) {
			if t.Addr == to {
				c.ServerName = strings.TrimSuffix(n.Host, ".")
				return c
			}
		}
	}
	return c
}
