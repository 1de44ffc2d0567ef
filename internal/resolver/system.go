package resolver

import (
	"bufio"
	"bytes"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// settings are what resolv.conf says.
type settings struct {
	servers  []string // host:port
	search   []string // absolute, in lower case
	ndots    int
	timeout  time.Duration // of one try
	attempts int           // at each server
}

// defaults are the settings without a resolv.conf (resolv.conf(5)).
func defaults() settings {
	return settings{servers: []string{"127.0.0.1:53", "[::1]:53"}, ndots: 1, timeout: 5 * time.Second, attempts: 2}
}

// candidates are the absolute names that host may mean, in the order in which they are tried.
func (s settings) candidates(host string) []string {
	if dns.IsFqdn(host) {
		return []string{host}
	}
	plain := dns.Fqdn(host)
	var all []string
	for _, suffix := range s.search {
		if name := plain + suffix; len(name) <= 254 {
			all = append(all, name)
		}
	}
	if strings.Count(host, ".") >= s.ndots {
		return slices.Insert(all, 0, plain)
	}
	return append(all, plain)
}

// system reads resolv.conf and the hosts file, again when they change.
type system struct {
	resolvConf, hostsFile string
	fixed                 []string // servers in place of resolv.conf's

	mu        sync.Mutex
	conf      settings
	confFrom  stamp
	hosts     map[string][]netip.Addr
	hostsFrom stamp
}

// stamp tells whether a file has changed. The zero stamp is that of no file.
type stamp struct {
	mod  time.Time
	size int64
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{info.ModTime(), info.Size()}
}

// settings are those of now.
func (s *system) settings() settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.fixed) > 0 {
		conf := defaults()
		conf.servers = s.fixed
		return conf
	}
	if from := stampOf(s.resolvConf); s.conf.servers == nil || from != s.confFrom {
		s.conf, s.confFrom = readResolvConf(s.resolvConf), from
	}
	return s.conf
}

func readResolvConf(path string) settings {
	conf := defaults()
	file, err := dns.ClientConfigFromFile(path)
	if err != nil {
		return conf
	}
	conf.ndots, conf.attempts = file.Ndots, max(file.Attempts, 1)
	conf.timeout = time.Duration(max(file.Timeout, 1)) * time.Second
	for _, suffix := range file.Search {
		if suffix = strings.ToLower(dns.Fqdn(suffix)); suffix != "." {
			conf.search = append(conf.search, suffix)
		}
	}
	var servers []string
	for _, server := range file.Servers {
		servers = append(servers, net.JoinHostPort(server, file.Port))
	}
	if servers != nil {
		conf.servers = servers
	}
	return conf
}

// lookupHosts gives the addresses that the hosts file has for a name.
func (s *system) lookupHosts(host string) []netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if from := stampOf(s.hostsFile); s.hosts == nil || from != s.hostsFrom {
		s.hosts, s.hostsFrom = readHosts(s.hostsFile), from
	}
	return s.hosts[strings.TrimSuffix(host, ".")]
}

// readHosts reads hosts(5). Names are in lower case and without a dot at the end.
func readHosts(path string) map[string][]netip.Addr {
	hosts := make(map[string][]netip.Addr)
	data, err := os.ReadFile(path)
	if err != nil {
		return hosts
	}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		text, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(text)
		if len(fields) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		if err != nil {
			continue
		}
		for _, name := range fields[1:] {
			name = strings.TrimSuffix(strings.ToLower(name), ".")
			hosts[name] = append(hosts[name], addr.Unmap())
		}
	}
	return hosts
}
