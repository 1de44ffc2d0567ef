package config

import (
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// HEP is the capture server that every SIP message is sent to; empty Server: none.
type HEP struct {
	Server   string // udp://host:port or tcp://host:port
	ID       int    // of this instance at the server
	Password string // the server's authentication key; empty: none
}

// Target is the server's network, udp or tcp, and its host:port; both "" where there is none.
func (h HEP) Target() (network, address string) {
	network, address, _ = strings.Cut(h.Server, "://")
	return network, address
}

func (b *builder) hep(c *Config, raw *rawHEP) {
	if raw == nil {
		return
	}
	if raw.Server != nil && *raw.Server != "" && *raw.Server != "off" {
		c.HEP.Server = *raw.Server
		network, address := c.HEP.Target()
		if network != "udp" && network != "tcp" || !isHostPort(address) {
			b.fail("hep.server", "must be udp://host:port, tcp://host:port or off, not %q", *raw.Server)
		}
	}
	b.count("hep.id", &c.HEP.ID, raw.ID, 0)
	if raw.Password != nil {
		c.HEP.Password = *raw.Password
	}
	if len(c.HEP.Password) > 256 {
		b.fail("hep.password", "must not be longer than 256 characters")
	}
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([-A-Za-z0-9_.]*[A-Za-z0-9_.])?$`)

// isHostPort reports whether s is an IP address or a host's name, and a port.
func isHostPort(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	_, ipErr := netip.ParseAddr(host)
	return err == nil && n != 0 && (ipErr == nil || hostName.MatchString(host))
}
