// Package resolver keeps the addresses of names: it looks them up as RFC 3263 says, and again whenever an answer has
// grown old, so that whoever needs them reads them and never waits. It owns the DNS answers, their ages, and the good
// answer that is kept while DNS is broken. It knows nothing of clusters and sessions, and takes no name's last address
// away.
package resolver

import (
	"net"
	"net/netip"
	"strconv"
	"time"
)

// DefaultPort is the port where neither the name nor an SRV record gives one (RFC 3261 19.1.2).
const DefaultPort = 5060

// DefaultTLSPort is the same for TLS.
const DefaultTLSPort = 5061

// Name is what is looked up. It is comparable; two that are equal share one answer.
type Name struct {
	// Host is in lower case. With a dot at its end it is absolute: the search list of resolv.conf is not tried.
	Host string
	// Port is that of all addresses; 0: SRV records say, and where there are none it is DefaultPort.
	Port uint16
	// Network is "udp", "tcp" or "tls", and selects the SRV records.
	Network string
	// IPv4 and IPv6 are the kinds of addresses that are of use.
	IPv4, IPv6 bool
}

// String is the name as a SIP URI, for people.
func (n Name) String() string {
	s := "sip:" + n.Host
	if n.Port != 0 {
		s = "sip:" + net.JoinHostPort(n.Host, strconv.Itoa(int(n.Port)))
	}
	if n.Network != "udp" {
		s += ";transport=" + n.Network
	}
	return s
}

// service is the name of the SRV records (RFC 3263 4.1, 4.2).
func (n Name) service() string {
	if n.Network == "tls" {
		return "_sips._tcp"
	}
	return "_sip._" + n.Network
}

func (n Name) defaultPort() uint16 {
	if n.Network == "tls" {
		return DefaultTLSPort
	}
	return DefaultPort
}

// Target is one address of a name.
type Target struct {
	Addr netip.AddrPort
	// Priority and Weight are those of the SRV record (RFC 2782): the lowest priority is used first, and weights share
	// among equals. Both are 0 where there is no record.
	Priority, Weight uint16
}

// Stat is how it goes with one name.
type Stat struct {
	Name Name
	// Targets is how many addresses are known.
	Targets int
	// OK and Failed count the lookups. One that found less than all there is, because some question got no answer, is
	// failed, though what it found is used.
	OK, Failed uint64
	// LastSuccess is when a lookup last found everything; zero for never.
	LastSuccess time.Time
	// Err is what was wrong with the last lookup; nil if nothing was.
	Err error
}
