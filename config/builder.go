package config

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// builder turns the raw structs into a Config, and collects what is wrong with the values.
type builder struct {
	*schema
	env map[string]string // keys that the environment overrides, and the variables
}

// fail reports a fault of the value of path, unless the value or what holds it was refused before.
func (b *builder) fail(path, format string, args ...any) {
	if b.isBad(path) {
		return
	}
	e := &Error{Key: path, Msg: fmt.Sprintf(format, args...)}
	if name, ok := b.env[path]; ok {
		e.Env = name
	} else {
		e.File, e.Line = b.file, b.lineOf(path)
	}
	b.errs = append(b.errs, e)
}

// isBad reports whether path, or what holds it, was refused by the schema.
func (b *builder) isBad(path string) bool {
	for ; path != ""; path = parent(path) {
		if b.bad[path] {
			return true
		}
	}
	return false
}

// badWithin reports whether anything of path was refused by the schema.
func (b *builder) badWithin(path string) bool {
	for key := range b.bad {
		if key == path || strings.HasPrefix(key, path+".") || strings.HasPrefix(key, path+"[") {
			return true
		}
	}
	return b.isBad(path)
}

// lineOf is the line of path, or of the nearest that holds it; the first line if none does.
func (b *builder) lineOf(path string) int {
	for ; path != ""; path = parent(path) {
		if p, ok := b.places[path]; ok {
			return p.line
		}
	}
	return 1
}

// given reports whether the file or the environment gives path a value.
func (b *builder) given(path string) bool {
	p, ok := b.places[path]
	_, overridden := b.env[path]
	return overridden || ok && !p.null
}

// item is the path of a list's item i; where the list was written as its only item, or given by the environment, that of
// the list.
func (b *builder) item(list string, i int) string {
	if _, ok := b.places[index(list, i)]; ok && b.env[list] == "" {
		return index(list, i)
	}
	return list
}

// blame is the one of two keys in conflict that an error should name: the first that was given.
func (b *builder) blame(first, second string) string {
	if !b.given(first) && b.given(second) {
		return second
	}
	return first
}

func parent(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}

func (b *builder) build(raw *rawConfig) *Config {
	c := defaults()
	c.IDC = b.label("idc", raw.IDC)
	c.Listen = b.listen(raw.Listen)
	b.advertise(c, raw.Advertise)
	c.Secret = b.secret(raw.Secret)
	b.dataDir(c, raw.DataDir)
	b.tls(c, raw.TLS)
	if raw.Admin != nil {
		b.admin(c, raw.Admin)
		c.Admin.ProbeTargets = b.prefixes("admin.probe_targets", raw.Admin.ProbeTargets)
		c.Admin.Pprof = raw.Admin.Pprof != nil && *raw.Admin.Pprof
	}
	if raw.Log != nil {
		oneOf(b, "log.level", &c.Log.Level, raw.Log.Level, "debug", "info", "warn", "error")
		oneOf(b, "log.format", &c.Log.Format, raw.Log.Format, "json", "console")
	}
	if raw.Clients != nil {
		if b.given("clients.allow") && len(raw.Clients.Allow) == 0 {
			b.fail("clients.allow", "must not be empty: leave it out to admit everyone")
		}
		c.Clients.Allow = b.prefixes("clients.allow", raw.Clients.Allow)
		b.rate("clients.rate", &c.Clients.Rate, raw.Clients.Rate)
		b.rate("clients.total_rate", &c.Clients.TotalRate, raw.Clients.TotalRate)
		b.count("clients.max_connections", &c.Clients.MaxConnections, raw.Clients.MaxConns, 1)
	}
	if raw.Failover != nil {
		b.failover(&c.Failover, raw.Failover)
	}
	if raw.Health != nil {
		b.health("health", &c.Health, raw.Health)
	}
	if raw.Sessions != nil {
		b.duration("sessions.max", &c.Sessions.Max, raw.Sessions.Max, time.Second)
		b.duration("sessions.bye_timeout", &c.Sessions.ByeTimeout, raw.Sessions.ByeTimeout, time.Millisecond)
		if b.count("sessions.bye_answer", &c.Sessions.ByeAnswer, raw.Sessions.ByeAnswer, 0); c.Sessions.ByeAnswer != 200 && c.Sessions.ByeAnswer != 481 {
			b.fail("sessions.bye_answer", "must be 200 or 481, not %d", c.Sessions.ByeAnswer)
		}
		oneOf(b, "sessions.on_backend_down", &c.Sessions.OnBackendDown, raw.Sessions.OnDown, Keep, Release, Bye)
		if raw.Sessions.Journal != nil {
			c.Sessions.Journal = *raw.Sessions.Journal
		}
	}
	b.store(c, raw)
	if raw.Drain != nil {
		b.duration("drain.accept_for", &c.Drain.AcceptFor, raw.Drain.AcceptFor, 0)
		b.duration("drain.timeout", &c.Drain.Timeout, raw.Drain.Timeout, 0)
	}
	b.handover(c, raw.Handover)
	b.cdr(c, raw.CDR)
	b.hep(c, raw.HEP)
	b.otlp(c, raw.OTLP)
	c.Clusters = b.clusters(c, raw.Clusters)
	c.Routes = b.routes(raw.Routes)
	b.otherwise(c, raw.Otherwise)
	b.references(c, raw)
	return c
}

// advertise checks that peers can reach what listens on a wildcard address.
func (b *builder) advertise(c *Config, raw *string) {
	if raw != nil {
		addr, err := netip.ParseAddr(*raw)
		switch addr = addr.Unmap(); {
		case err != nil:
			b.fail("advertise", "must be an IP address, not %q", *raw)
		case addr.IsUnspecified() || addr.IsMulticast() || addr.Zone() != "":
			b.fail("advertise", "must be an address that peers can reach, not %s", addr)
		default:
			c.Advertise = addr
		}
	}
	for i, l := range c.Listen {
		switch {
		case !l.Addr.Addr().IsUnspecified():
		case raw == nil:
			b.fail(index("listen", i), "a wildcard address needs advertise: the address that peers can reach")
		case l.Addr.Addr().Is4() && c.Advertise.Is6():
			b.fail("advertise", "must be an IPv4 address, because listen[%d] is one", i)
		}
	}
}

func (b *builder) secret(raw oneOrMany) []string {
	if b.given("secret") && len(raw) == 0 {
		b.fail("secret", "must not be empty: leave it out to have one made")
	}
	for i, one := range raw {
		path := b.item("secret", i)
		if len(one) < 16 {
			b.fail(path, "must be at least 16 characters long")
		}
		if slices.Contains(raw[:i], one) {
			b.fail(path, "is given twice")
		}
	}
	return raw
}

func (b *builder) dataDir(c *Config, raw *string) {
	if raw != nil {
		if c.DataDir = *raw; c.DataDir == "" {
			b.fail("data_dir", "must not be empty")
		}
		return
	}
	var err error
	if c.DataDir, err = defaultDataDir(os.Geteuid() == 0); err != nil {
		b.fail("data_dir", "%s", err)
	}
}

// handover puts the socket into the data directory where nothing else is said.
func (b *builder) handover(c *Config, raw *rawHandover) {
	if c.DataDir != "" {
		c.Handover.Socket = filepath.Join(c.DataDir, "handover.sock")
	}
	if raw != nil {
		b.pathOrOff("handover.socket", &c.Handover.Socket, raw.Socket)
	}
}

func (b *builder) admin(c *Config, raw *rawAdmin) {
	b.adminListen(c, raw.Listen)
	if raw.Token != nil {
		if c.Admin.Token = *raw.Token; len(c.Admin.Token) < 16 {
			b.fail("admin.token", "must be at least 16 characters long")
		}
	}
	if raw.WebConfig != nil {
		if c.Admin.WebConfig = *raw.WebConfig; c.Admin.WebConfig == "" {
			b.fail("admin.web_config", "must not be empty")
		}
	}
}

func (b *builder) adminListen(c *Config, raw *string) {
	if raw == nil {
		return
	}
	if *raw == "" || *raw == "off" {
		c.Admin.Listen = ""
		return
	}
	host, port, err := net.SplitHostPort(*raw)
	_, portErr := strconv.ParseUint(port, 10, 16)
	_, hostErr := netip.ParseAddr(host)
	if err != nil || portErr != nil || hostErr != nil && host != "" && host != "localhost" {
		b.fail("admin.listen", "must be IP:port, :port or off, not %q", *raw)
		return
	}
	c.Admin.Listen = *raw
	addr, err := netip.ParseAddrPort(*raw)
	if err == nil && addr.Port() != 0 && (c.ListensOn("tcp", addr) || c.ListensOn("tls", addr)) {
		b.fail("admin.listen", "is the address of a SIP listener")
	}
}

func (b *builder) otherwise(c *Config, raw *rawOtherwise) {
	if !b.given("otherwise") && raw == nil {
		return
	}
	if raw == nil {
		raw = &rawOtherwise{}
	}
	c.Otherwise = Otherwise{}
	if raw.Reject != nil {
		if c.Otherwise.Reject = *raw.Reject; *raw.Reject < 400 || *raw.Reject > 699 {
			b.fail("otherwise.reject", "must be 400 to 699, not %d", *raw.Reject)
		}
	}
	if raw.Cluster != nil {
		c.Otherwise.Cluster = *raw.Cluster
	}
	if raw.Reject != nil && raw.Cluster != nil {
		path := "otherwise"
		for _, key := range []string{"otherwise.reject", "otherwise.cluster"} {
			if b.env[key] != "" {
				path = key
			}
		}
		b.fail(path, "must have reject or cluster, not both")
	}
	if raw.Reject == nil && raw.Cluster == nil && !b.badWithin("otherwise") {
		b.fail("otherwise", "must have reject or cluster")
	}
}

// label reads an optional name for people that is compared as a whole.
func (b *builder) label(path string, raw *string) string {
	if raw == nil {
		return ""
	}
	if *raw == "" || strings.TrimSpace(*raw) != *raw || strings.ContainsFunc(*raw, func(r rune) bool { return !unicode.IsPrint(r) }) {
		b.fail(path, "must be a name without control characters or outer spaces, not %q", *raw)
	}
	return *raw
}
