// Package freeswitch writes FreeSWITCH's side of a configuration: the MRCP profile, the gateway that watches the proxy, the
// distributor over several proxies, and a dialplan to try them with. It owns those templates. It touches no FreeSWITCH, and
// never writes a file.
package freeswitch

import (
	_ "embed" // the templates
	"encoding/xml"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"mrcproxy/config"
)

// Options say for what, and what the configuration does not know.
type Options struct {
	Cluster string
	// Proxies are host:port, or host with the port of the configuration's listener. Empty: the configuration's own address.
	Proxies []string
	// Transport is udp or tcp; empty: the first that the configuration listens on.
	Transport string
	// UserAgent is the profile's ua-name; empty: one that the cluster's route matches.
	UserAgent string
	// ClientIP is FreeSWITCH's address; empty: the variable local_ip_v4, which FreeSWITCH fills in.
	ClientIP string
	// ClientPort is the first profile's; the others have those after it.
	ClientPort int
	// RTPMin and RTPMax bound the RTP ports, which the profiles share.
	RTPMin, RTPMax int
}

// File is a file for FreeSWITCH.
type File struct {
	Path string // from FreeSWITCH's conf directory
	Text string
}

// profile is what the templates see of one proxy.
type profile struct {
	Name, Host, Port, Gateway    string
	ClientPort, RTPMin, RTPMax   int
	Cluster, Transport, ClientIP string
	UserAgent, User, Routes      string
}

//go:embed files.tmpl
var templates string

// Files gives the files for one cluster. The error says which option, or what in the configuration, is in the way.
func Files(c *config.Config, o Options) ([]File, error) {
	profiles, err := plan(c, o)
	if err != nil {
		return nil, err
	}
	t, err := template.New("").Funcs(template.FuncMap{"attribute": attribute, "comment": comment}).Parse(templates)
	if err != nil {
		return nil, err
	}
	var files []File
	add := func(path, name string, data any) error {
		var b strings.Builder
		if err := t.ExecuteTemplate(&b, name, data); err != nil {
			return err
		}
		files = append(files, File{path, strings.TrimLeft(b.String(), "\n")})
		return nil
	}
	for _, p := range profiles {
		if err := add("mrcp_profiles/"+p.Name+".xml", "profile", p); err != nil {
			return nil, err
		}
	}
	for _, p := range profiles {
		if err := add("sip_profiles/external/"+p.Name+".xml", "gateway", p); err != nil {
			return nil, err
		}
	}
	if len(profiles) > 1 {
		if err := add("autoload_configs/distributor.conf.xml", "distributor", profiles); err != nil {
			return nil, err
		}
	}
	return files, add("dialplan/default/"+o.Cluster+".xml", "dialplan", profiles)
}

// plan gives each proxy its profile.
func plan(c *config.Config, o Options) ([]profile, error) {
	if !slices.ContainsFunc(c.Clusters, func(cl config.Cluster) bool { return cl.Name == o.Cluster }) {
		return nil, fmt.Errorf("there is no cluster %q", o.Cluster)
	}
	transport, own, err := listener(c, o.Transport)
	if err != nil {
		return nil, err
	}
	ua, user, routes, err := identity(c, o)
	if err != nil {
		return nil, err
	}
	proxies := o.Proxies
	if len(proxies) == 0 {
		proxies = []string{own.String()}
	}
	share := (o.RTPMax - o.RTPMin + 1) / len(proxies) &^ 1 // an even number: a session has two ports
	if o.RTPMin < 1 || o.RTPMax > 65535 || share < 2 {
		return nil, fmt.Errorf("RTP ports %d to %d are not two for each of %d profiles", o.RTPMin, o.RTPMax, len(proxies))
	}
	if o.ClientPort < 1 || o.ClientPort+len(proxies)-1 > 65535 {
		return nil, fmt.Errorf("client port %d leaves no port for each of %d profiles", o.ClientPort, len(proxies))
	}
	var all []profile
	for i, text := range proxies {
		host, port, err := hostPort(text, own.Port())
		if err != nil {
			return nil, err
		}
		p := profile{Name: o.Cluster, Host: host, Port: port, Gateway: o.Cluster + "@" + net.JoinHostPort(host, port),
			ClientPort: o.ClientPort + i, RTPMin: o.RTPMin + i*share, RTPMax: o.RTPMin + (i+1)*share - 1,
			Cluster: o.Cluster, Transport: transport, ClientIP: o.ClientIP, UserAgent: ua, User: user, Routes: routes}
		if len(proxies) > 1 {
			p.Name = fmt.Sprintf("%s-%d", o.Cluster, i+1)
		}
		if transport == "tcp" {
			p.Gateway += ";transport=tcp"
		}
		if p.ClientIP == "" {
			p.ClientIP = "$${local_ip_v4}"
		}
		all = append(all, p)
	}
	return all, nil
}

// listener gives the transport, and the address that the configuration has for it.
func listener(c *config.Config, want string) (string, netip.AddrPort, error) {
	for i, l := range c.Listen {
		if l.Network != "tls" && (want == "" || l.Network == want) {
			return l.Network, netip.AddrPortFrom(c.Advertised(i), l.Addr.Port()), nil
		}
	}
	return "", netip.AddrPort{}, fmt.Errorf("the configuration does not listen on %s, and mod_unimrcp speaks udp and tcp only", want+map[bool]string{true: "udp or tcp"}[want == ""])
}

func hostPort(text string, port uint16) (string, string, error) {
	if a, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return a.String(), strconv.Itoa(int(port)), nil
	}
	if !strings.Contains(text, ":") {
		text = fmt.Sprintf("%s:%d", text, port)
	}
	host, p, err := net.SplitHostPort(text)
	if n, atoi := strconv.Atoi(p); err != nil || atoi != nil || n < 1 || n > 65535 || host == "" || strings.ContainsAny(host, " @;/") {
		return "", "", fmt.Errorf("a proxy must be host or host:port, not %q", text)
	}
	return host, p, nil
}

// attribute is for text in attributes.
func attribute(s string) (string, error) {
	var b strings.Builder
	err := xml.EscapeText(&b, []byte(s))
	return b.String(), err
}

// comment is for text in comments, which two hyphens would end.
func comment(s string) string { return strings.ReplaceAll(s, "--", "- -") }
