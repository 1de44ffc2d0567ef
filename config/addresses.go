package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// defaultPort is RFC 3261 19.1.2.
func defaultPort(network string) uint16 {
	if network == "tls" {
		return 5061
	}
	return 5060
}

func (b *builder) listen(texts []string) []Listener {
	var all []Listener
	for i, text := range texts {
		l, err := parseListener(text)
		switch {
		case err != nil:
			b.fail(index("listen", i), "%s", err)
		case l.Addr.Port() != 0 && (&Config{Listen: all}).ListensOn(l.Network, l.Addr):
			b.fail(index("listen", i), "%s is given twice", text)
		}
		all = append(all, l) // also where refused, so that indices stay those of the file
	}
	if len(texts) == 0 {
		b.fail("listen", "must have at least one address, such as udp://10.1.0.5:5060")
	}
	if len(texts) > maxListeners {
		b.fail("listen", "must have at most %d addresses, not %d", maxListeners, len(texts))
	}
	return all
}

// parseListener reads udp|tcp|tls://IP:port[?advertise=IP&readers=N].
func parseListener(text string) (Listener, error) {
	l := Listener{Readers: 1}
	network, rest, _ := strings.Cut(text, "://")
	switch network {
	case "udp", "tcp", "tls":
		l.Network = network
	case "sips", "ws", "wss", "sctp":
		return Listener{}, fmt.Errorf("%s is not supported, only udp, tcp and tls", network)
	default:
		return Listener{}, fmt.Errorf("must be udp://IP:port, tcp://IP:port or tls://IP:port, not %q", text)
	}
	rest, query, _ := strings.Cut(rest, "?")
	addr, err := netip.ParseAddrPort(rest)
	if err != nil {
		return Listener{}, fmt.Errorf("must be %s://IP:port, not %q", network, text)
	}
	l.Addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	if l.Addr.Addr().IsMulticast() {
		return Listener{}, fmt.Errorf("must not be a multicast address, not %q", text)
	}
	if err := l.options(query); err != nil {
		return Listener{}, err
	}
	return l, nil
}

// options reads what stands behind the question mark of a listener.
func (l *Listener) options(query string) error {
	if query == "" {
		return nil
	}
	for option := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(option, "=")
		var err error
		switch name {
		case "advertise":
			if l.Advertise, err = netip.ParseAddr(value); err != nil || l.Advertise.IsUnspecified() || l.Advertise.Zone() != "" {
				return fmt.Errorf("advertise must be an IP address that peers can reach, not %q", value)
			}
			l.Advertise = l.Advertise.Unmap()
		case "readers":
			if l.Readers, err = strconv.Atoi(value); err != nil || l.Readers < 1 || l.Readers > 64 || l.Network != "udp" {
				return fmt.Errorf("readers must be 1 to 64, for udp only, not %q", value)
			}
		default:
			return fmt.Errorf("has the option %q, but only advertise and readers are known", name)
		}
	}
	return nil
}

// ParseBackend reads the URI of a server: sip:[user@]host[:port][;transport=udp|tcp|tls]; sips: is another
// spelling of transport=tls. The error says what the URI must be or must not have.
func ParseBackend(text string) (Backend, error) {
	be := Backend{URI: text, Network: "udp", Capacity: Unlimited, Weight: 1}
	scheme, rest, _ := strings.Cut(text, ":")
	switch strings.ToLower(scheme) {
	case "sip":
	case "sips":
		be.Network = "tls"
	default:
		return be, fmt.Errorf("must be a SIP URI such as sip:10.1.1.180:8060;transport=tcp, not %q", text)
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		be.User, rest = rest[:i], rest[i+1:]
		if be.User == "" || strings.ContainsFunc(be.User, notUser) {
			return be, fmt.Errorf("has a user part that is not allowed in a SIP URI: %q", be.User)
		}
	}
	if strings.ContainsRune(rest, '?') {
		return be, fmt.Errorf("must not have header fields (after ?)")
	}
	hostport, params, hasParams := strings.Cut(rest, ";")
	if hasParams {
		network, err := parseTransport(params)
		switch {
		case err != nil:
			return be, err
		case be.Network == "tls" && network == "udp":
			return be, fmt.Errorf("sips cannot go over udp")
		case be.Network != "tls":
			be.Network = network
		}
	}
	if scheme = strings.ToLower(scheme); scheme == "sips" { // one spelling for one server
		user := ""
		if be.User != "" {
			user = be.User + "@"
		}
		be.URI = "sip:" + user + hostport + ";transport=tls"
	}
	err := be.parseHostPort(hostport) // first: it fills be in
	return be, err
}

// notUser reports whether r cannot stand in a user part (RFC 3261 25.1, user; no password).
func notUser(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.!~*'()&=+$,;?/%", r))
}

// parseHostPort reads an address, or a name, and a port.
func (be *Backend) parseHostPort(text string) error {
	host, port := text, ""
	bracketed := strings.HasPrefix(text, "[")
	if bracketed {
		end := strings.IndexByte(text, ']')
		if end < 0 || end+1 < len(text) && text[end+1] != ':' {
			return fmt.Errorf("must have the form sip:[IPv6]:port")
		}
		host, port = text[1:end], text[end+1:]
	} else {
		if strings.Count(text, ":") > 1 {
			return fmt.Errorf("an IPv6 address must stand in brackets, such as sip:[2001:db8::1]:5060")
		}
		if i := strings.IndexByte(text, ':'); i >= 0 {
			host, port = text[:i], text[i:]
		}
	}
	addr, err := netip.ParseAddr(host)
	switch {
	case host == "":
		return fmt.Errorf("must have a host: an IP address or a name")
	case err != nil && (bracketed || looksNumeric(host)), err == nil && bracketed != addr.Is6():
		return fmt.Errorf("%q is not an IP address", host)
	case err != nil && !isName(host):
		return fmt.Errorf("%q is not a host name: labels of letters, digits and hyphens with dots between, up to 63 characters each and 253 in all", host)
	case err == nil && (addr.Zone() != "" || addr.IsUnspecified() || addr.IsMulticast()):
		return fmt.Errorf("must be the address of one server, not %s", addr)
	}
	n := uint64(0)
	if port != "" {
		if n, err = strconv.ParseUint(port[1:], 10, 16); err != nil || n == 0 {
			return fmt.Errorf("must have a port of 1 to 65535, not %q", port[1:])
		}
	}
	if !addr.IsValid() {
		be.Host, be.Port = strings.ToLower(host), uint16(n)
		return nil
	}
	be.Addr = netip.AddrPortFrom(addr.Unmap(), cmp.Or(uint16(n), defaultPort(be.Network)))
	return nil
}

// isName reports whether a host is a name (RFC 1123 2.1). A dot at its end is allowed.
func isName(host string) bool {
	host = strings.TrimSuffix(host, ".")
	if len(host) > 253 {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || strings.ContainsFunc(label, notInLabel) {
			return false
		}
	}
	return true
}

func notInLabel(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-')
}

// looksNumeric reports whether a host was meant as an address: a name's last label is never a number.
func looksNumeric(host string) bool {
	host = strings.TrimSuffix(host, ".")
	return strings.Trim(host[strings.LastIndexByte(host, '.')+1:], "0123456789") == "" || strings.ContainsAny(host, ":/")
}

// parseTransport reads the parameters of a URI, of which only transport is known.
func parseTransport(params string) (string, error) {
	network := ""
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(param, "=")
		if !strings.EqualFold(name, "transport") {
			return "", fmt.Errorf("has the parameter %q, but only transport is supported", name)
		}
		if network != "" {
			return "", fmt.Errorf("has two transport parameters")
		}
		switch network = strings.ToLower(value); network {
		case "udp", "tcp", "tls":
		case "ws", "wss", "sctp":
			return "", fmt.Errorf("transport=%s is not supported, only udp, tcp and tls", network)
		default:
			return "", fmt.Errorf("transport must be udp, tcp or tls, not %q", value)
		}
	}
	return network, nil
}
