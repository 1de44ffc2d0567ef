// Package config turns a YAML file into an immutable Config, or into an error that names the file, the line and the
// key path. It owns the file's syntax, its defaults and its validation. It never opens a socket, resolves a name or
// changes anything that runs, and it imports no other package of this module; only it knows viper.
package config

import (
	"net/netip"
	"regexp"
	"time"
)

// Config is one whole configuration, validated and with every default filled in. It is never changed after Load.
type Config struct {
	// IDC names the data centre that this instance stands in; a cluster's groups of the same IDC come first.
	IDC string
	// Listen are the SIP sockets, in the order given. At least one.
	Listen []Listener
	// Advertise is the address that peers can reach this instance at; invalid when not given. See Advertised.
	Advertise netip.Addr
	// Secret keys the signature on Record-Route: the first signs, all verify. Empty: one is made and kept in DataDir.
	Secret []string
	// DataDir holds what must outlive a restart (the generated secret, the journal).
	DataDir  string
	TLS      TLS
	Admin    Admin
	Log      Log
	Clients  Clients
	Failover Failover
	Health   Health
	Sessions Sessions
	Drain    Drain
	Handover Handover
	CDR      CDR
	HEP      HEP
	OTLP     OTLP
	// Store is where sessions are counted.
	Store       Store
	OnStoreLoss OnStoreLoss
	// Instances is how many instances count together.
	Instances int
	Routes    []Route
	Otherwise Otherwise
	Clusters  []Cluster
}

// Advertised is the address that listener i has in Via and Record-Route: its own Advertise, else the common one where the listener is bound to a
// wildcard or to an address of the same family (NAT), else the address it is bound to.
func (c *Config) Advertised(i int) netip.Addr {
	if own := c.Listen[i].Advertise; own.IsValid() {
		return own
	}
	a := c.Listen[i].Addr.Addr()
	if c.Advertise.IsValid() && (a.IsUnspecified() || a.Is4() == c.Advertise.Is4()) {
		return c.Advertise
	}
	return a
}

// Reaches reports whether a listener of the network and of the address's family exists: what we send leaves from one, and
// what a server sends in its turn comes to it.
func (c *Config) Reaches(network string, addr netip.Addr) bool {
	for i, l := range c.Listen {
		if l.Network == network && c.Advertised(i).Is4() == addr.Is4() {
			return true
		}
	}
	return false
}

// Listener is one SIP socket. Network is "udp", "tcp" or "tls".
type Listener struct {
	Network   string
	Addr      netip.AddrPort
	Advertise netip.Addr // for this listener alone; invalid when not given
	Readers   int        // sockets that share the work of a UDP listener; 1 where not given
}

// ListensOn reports whether one of the listeners has that network and address.
func (c *Config) ListensOn(network string, addr netip.AddrPort) bool {
	for _, l := range c.Listen {
		if l.Network == network && l.Addr == addr {
			return true
		}
	}
	return false
}

// TLS is the certificate that TLS listeners show and that we show to servers, and whom we trust. Empty fields are not
// given.
type TLS struct {
	Cert       string // PEM files
	Key        string
	ClientAuth string // none, request or require
	ClientCA   string // of clients' certificates
	ServerCA   string // of servers' certificates; the system's roots where empty
}

// Admin is the HTTP listener for the API, metrics and health; empty Listen turns it off.
type Admin struct {
	Listen string
	// Token lets a client in; empty: there is none.
	Token string
	// WebConfig is the file with TLS and users for the listener; empty for none.
	WebConfig string
	// ProbeTargets are the networks whose servers /probe may be asked for beside those of the clusters.
	ProbeTargets []netip.Prefix
	// Pprof serves net/http/pprof under /debug/pprof/.
	Pprof bool
}

// Log says how and how much is logged: Level debug|info|warn|error, Format json|console.
type Log struct {
	Level  string
	Format string
}

// Clients says who may start a session. An empty Allow admits everyone.
type Clients struct {
	Allow []netip.Prefix
	// Rate is how many requests a second each source address may send outside of dialogs; 0: any.
	Rate float64
	// TotalRate is the same for all sources together.
	TotalRate float64
	// MaxConnections is how many connections one source address may have open.
	MaxConnections int
}

// Failover bounds the placing of one INVITE.
type Failover struct {
	// FirstResponseTimeout is how long a server may stay silent after an INVITE before the next is tried.
	FirstResponseTimeout time.Duration
	// AnswerTimeout is how long a server that has sent a provisional response may take to its final one, from the INVITE
	// on, before the next is tried.
	AnswerTimeout time.Duration
	// Deadline is how long the client waits at most for a final response, all attempts together.
	Deadline time.Duration
	// MaxAttempts is how many servers one INVITE may be sent to.
	MaxAttempts int
	// ConnectTimeout bounds a TCP connect to a server.
	ConnectTimeout time.Duration
	// T1 is the first retransmission interval towards servers over UDP (RFC 3261 17.1.1.1 calls it T1).
	T1 time.Duration
	// TryingAfter is how long nothing may have been relayed before we send 100 Trying ourselves.
	TryingAfter time.Duration
	// TCPAbove is the size in bytes above which a request to a UDP server goes by TCP (RFC 3261 18.1.1); 0: none does, IP
	// fragments it.
	TCPAbove int
	// Reject is the code for a session that no server can take, 480 or 503.
	Reject int
	// RetryAfter is the value of Retry-After beside it, whole seconds.
	RetryAfter time.Duration
}

// Health says how servers are probed and when calls take one out.
type Health struct {
	Interval     time.Duration // between two probes of one server
	FastInterval time.Duration // the same while there is a doubt
	SlowInterval time.Duration // the same when it has been down for long
	Timeout      time.Duration // for one probe
	Jitter       float64       // share of Interval that is random, 0 to 1
	Rise         int           // successful probes in a row that bring a server up
	Fall         int           // failed probes in a row that take it down
	// UpCodes are the OPTIONS answers that count as up; a code not in it is a failed probe, except that 503 is draining.
	UpCodes CodeSet
	// EjectAfter is how many calls in a row must fail (no connection, no first response) to take a server out; 0: never.
	EjectAfter int
	// EjectFor is how long a server whose OPTIONS stays good is out after such an ejection; it doubles each time in a row up to EjectMax.
	EjectFor time.Duration
	EjectMax time.Duration
	// HoldFor is how long a server that refused a call (406, 480, 486, 503) is passed over where another can take it.
	HoldFor time.Duration
	// HoldMax is the most that HoldFor grows to: it doubles each time in a row.
	HoldMax time.Duration
	// SuspectAfter is how many refusals in a row that our own sessions do not explain make a server suspect; 0: never.
	SuspectAfter int
	// ErrorRate is the part of the calls, 0 to 1, within ErrorWindow, of which more must fail to take a server out, once there
	// are ErrorVolume of them; 0: never.
	ErrorRate   float64
	ErrorWindow time.Duration
	ErrorVolume int
	// MaxEjected is the part of a group, 0 to 1, that calls may take out while probes are good; one server in any case.
	MaxEjected float64
	Deep       Deep
}

// Sessions bounds established sessions.
type Sessions struct {
	// Max is the longest a session may hold its lease.
	Max time.Duration
	// ByeTimeout is how long a BYE may stay unanswered before the side that sent it is answered ByeAnswer.
	ByeTimeout time.Duration
	// ByeAnswer is 200 or 481.
	ByeAnswer int
	// OnBackendDown is what becomes of a server's sessions when it is declared dead.
	OnBackendDown OnBackendDown
	// Journal says that the sessions are written down in DataDir, to be counted again after a restart.
	Journal bool
}

// OnBackendDown is what becomes of a server's sessions when it is declared dead.
type OnBackendDown string

// Keep counts them until they end by themselves, Release ends counting them, Bye also ends them with a BYE to both sides.
const (
	Keep    OnBackendDown = "keep"
	Release OnBackendDown = "release"
	Bye     OnBackendDown = "bye"
)

// Drain says how a stop goes.
type Drain struct {
	// AcceptFor is how long new sessions are still taken after a stop was asked for.
	AcceptFor time.Duration
	// Timeout is how long, from then on, calls may wait for their answer.
	Timeout time.Duration
}

// Handover is where a running process can be asked for its sockets; empty Socket: nowhere.
type Handover struct {
	Socket string
}

// CDR is where a line is written for each call; empty File: nowhere.
type CDR struct {
	File string
	// Headers are the header fields of the INVITE that a line has, as the file spells them.
	Headers []string
}

// Route sends what matches to a cluster. Routes are tried in order.
type Route struct {
	Name    string
	Match   Match
	Cluster string
	// Reserve is how many places its sessions leave free, at every limit, for those of other routes.
	Reserve int
}

// Match is a conjunction: every condition given must hold. A nil or empty field is no condition.
type Match struct {
	UserAgent *Pattern       // of the User-Agent header
	MRCP      *bool          // the body has an SDP line m=application ... MRCPv2
	Resource  string         // one of the a=resource values in the body, compared without case
	Source    []netip.Prefix // of the request's source address: one of them contains it
	User      *Pattern       // of the Request-URI's user part
	Header    []HeaderMatch  // each named header must be present and match
}

// HeaderMatch is one header's condition. Name is in lower case.
type HeaderMatch struct {
	Name    string
	Pattern *Pattern
}

// PatternKind is how a Pattern compares.
type PatternKind uint8

// The kinds: "abc" is Prefix, "=abc" Exact, "~abc" Regexp.
const (
	Prefix PatternKind = iota
	Exact
	Regexp
)

// Pattern compares one string.
type Pattern struct {
	Kind PatternKind
	Text string         // without the leading = or ~
	Re   *regexp.Regexp // Kind Regexp only
}

// Match reports whether b matches.
func (p *Pattern) Match(b []byte) bool {
	switch p.Kind {
	case Exact:
		return string(b) == p.Text
	case Regexp:
		return p.Re.Match(b)
	default:
		return len(b) >= len(p.Text) && string(b[:len(p.Text)]) == p.Text
	}
}

// Otherwise is what happens to an INVITE that no route matches: a Reject code (400 to 699), or a Cluster.
type Otherwise struct {
	Reject  int
	Cluster string
}

// Policy is how a cluster picks among the backends of a group.
type Policy string

// The policies.
const (
	LeastLoad Policy = "least-load"
	Weighted  Policy = "weighted"
	Ordered   Policy = "ordered"
	Hash      Policy = "hash"
	Latency   Policy = "latency"
)

// Cluster is a set of servers that can stand in for each other.
type Cluster struct {
	Name   string
	Policy Policy
	// HashOn is what the policy Hash goes by: "call-id", "source", or "header:" and the name of a header in lower case.
	HashOn   string
	Fallback []string // clusters tried, in order, when no backend of this one can take the session
	Licences int      // sessions at once over all backends; 0 where not given: no limit
	// Queue is how long a session waits for a place when all are taken; QueueLength is how many wait at most.
	Queue       time.Duration
	QueueLength int
	SlowStart   time.Duration // over what time the share of a new or returned backend grows
	Panic       bool          // try the least bad backend when all are down
	// FailbackAfter is how long a group that was out must be steady before it gets sessions again; FailbackRamp is over what
	// time they come back then.
	FailbackAfter, FailbackRamp time.Duration
	Spill                       Spill
	Groups                      []Group
	Health                      Health // the file's health section with this cluster's overrides
}

// Spill bounds the sessions in another IDC: a number, or a part of the capacity there. Both 0: no bound.
type Spill struct {
	Sessions int
	Percent  int
}

// Group is the servers of one IDC. Groups of the instance's own IDC are tried first, then by Priority (lower first), then
// in the order given.
type Group struct {
	IDC      string
	Priority int
	Backends []Backend
}

// Unlimited is the Capacity of a backend without a limit.
const Unlimited = -1

// Backend is one server, or a name that stands for one or more.
type Backend struct {
	URI       string         // as written in the file
	Network   string         // "udp", "tcp" or "tls", from the URI's scheme and transport parameter
	Addr      netip.AddrPort // port 5060 where the URI has none; invalid for a name
	Host      string         // the name in lower case, with the dot at its end if it has one; "" where the URI has an address
	Port      uint16         // of a name; 0 where the URI has none
	User      string         // the URI's user part, or ""
	Capacity  int            // sessions at once, for each address of a name; Unlimited where not given
	Resources map[string]int // the same for those that ask for an MRCP resource, by its name in lower case; nil where not given
	MaxCPS    int            // sessions placed within a second; 0 where not given: any number
	Weight    int            // 1 where not given; 0 takes no new sessions
}
