package proxy

import (
	"bytes"
	"net/netip"
	"strings"
	"time"

	"github.com/pion/sdp/v3"

	"mrcproxy/balancer"
	"mrcproxy/proxy/message"
)

// Routing is everything of the configuration that the engine reads for a call. It is immutable: SetRouting swaps it.
type Routing struct {
	Allow     []netip.Prefix // who may start a session; empty: everyone
	Rate      Rate           // how often
	Routes    []Route
	Clusters  map[string]Cluster // by name; one that is not here needs nothing
	Otherwise Otherwise
	Failover  Failover
	Drain     Drain
	Record    Record
	Sample    float64 // the part of the INVITEs, 0 to 1, whose Steps are told
}

// Route sends the INVITEs that match every condition given to a cluster. nil and empty are no condition.
type Route struct {
	Name      string
	Cluster   string
	Reserve   int // places that its sessions leave free
	UserAgent Matcher
	MRCP      *bool
	Resource  string
	Source    []netip.Prefix
	User      Matcher
	Header    []HeaderMatch
}

// Matcher compares a header's value, or a user part.
type Matcher interface{ Match([]byte) bool }

// HeaderMatch wants a header of that name, in lower case, to be there and to match.
type HeaderMatch struct {
	Name    string
	Matcher Matcher
}

// Otherwise is what becomes of an INVITE that no route matches: a response code, or a cluster.
type Otherwise struct {
	Reject  int
	Cluster string
}

// Failover bounds the placing of an INVITE; see the configuration's section of that name.
type Failover struct {
	FirstResponse time.Duration // silence after which the next server is tried
	Answer        time.Duration // the same for a server that has sent a provisional response only
	Deadline      time.Duration // for the final response, all attempts together
	MaxAttempts   int
	TCPAbove      int           // bytes above which a request to a UDP server goes by TCP; 0: none does
	T1            time.Duration // first retransmission interval towards servers
	TryingAfter   time.Duration
	Reject        int           // the code when no server can take the session
	RetryAfter    time.Duration // beside it
	Bye           time.Duration // how long a BYE may stay unanswered
	ByeAnswer     int           // the code for who sent it then, 200 or 481
}

// Drain says how a stop goes.
type Drain struct {
	AcceptFor time.Duration // how long new sessions are still taken
	Timeout   time.Duration // from then on: how long requests may wait for their final response
}

// contains reports whether one of the prefixes has a; none given contains every address.
func contains(l []netip.Prefix, a netip.Addr) bool {
	for _, p := range l {
		if p.Contains(a) {
			return true
		}
	}
	return len(l) == 0
}

// route finds the route of an INVITE, and begins what it asks the balancer for: with the otherwise clause's cluster when none
// matches.
func (r *Routing) route(m *message.Message, src netip.Addr, o *offer) (name string, ask balancer.Request, ok bool) {
	for i := range r.Routes {
		if rt := &r.Routes[i]; rt.compare(m, src, o) == matches {
			return rt.Name, balancer.Request{Cluster: rt.Cluster, Reserve: rt.Reserve}, true
		}
	}
	return "otherwise", balancer.Request{Cluster: r.Otherwise.Cluster}, r.Otherwise.Cluster != ""
}

// condition is one that a route can have.
type condition uint8

const (
	matches condition = iota // none of them fails
	onUserAgent
	onSource
	onUser
	onHeader
	onMRCP
	onResource
)

// compare returns the first condition of the route that does not hold.
func (r *Route) compare(m *message.Message, src netip.Addr, o *offer) condition {
	if r.UserAgent != nil && !r.UserAgent.Match(m.Bytes(m.UserAgent.Value)) {
		return onUserAgent
	}
	if !contains(r.Source, src) {
		return onSource
	}
	if r.User != nil {
		u, ok := message.ParseURI(m.Bytes(m.URI))
		if !ok || !r.User.Match(u.User) {
			return onUser
		}
	}
	for _, h := range r.Header {
		v := m.Field(h.Name)
		if v == nil || !h.Matcher.Match(v) {
			return onHeader
		}
	}
	if r.MRCP != nil && o.of(m).mrcp != *r.MRCP {
		return onMRCP
	}
	if r.Resource != "" && !o.of(m).offers(r.Resource) {
		return onResource
	}
	return matches
}

// offer is what the SDP of an INVITE asks for (RFC 6787 4.2), read at most once and only when a route wants to know.
type offer struct {
	read      bool
	mrcp      bool
	resources []string
}

var sdpType = []byte("application/sdp")

func (o *offer) of(m *message.Message) *offer {
	if o.read {
		return o
	}
	o.read = true
	if t := m.Bytes(m.ContentType.Value); len(t) < len(sdpType) || !bytes.EqualFold(t[:len(sdpType)], sdpType) {
		return o
	}
	var d sdp.SessionDescription
	if d.Unmarshal(m.BodyBytes()) != nil {
		return o
	}
	for _, md := range d.MediaDescriptions {
		if md.MediaName.Media != "application" || !isMRCP(md.MediaName.Protos) {
			continue
		}
		o.mrcp = true
		for _, a := range md.Attributes {
			if a.Key == "resource" {
				o.resources = append(o.resources, strings.TrimSpace(a.Value))
			}
		}
	}
	return o
}

// isMRCP knows TCP/MRCPv2 and TCP/TLS/MRCPv2 (RFC 6787 4.2), which arrive split at the slashes.
func isMRCP(protos []string) bool {
	return len(protos) > 1 && strings.EqualFold(protos[0], "TCP") && strings.EqualFold(protos[len(protos)-1], "MRCPv2")
}

func (o *offer) offers(resource string) bool {
	for _, r := range o.resources {
		if strings.EqualFold(r, resource) {
			return true
		}
	}
	return false
}

// resources are the media resources of RFC 6787 3.1.
var resources = [...]string{"basicsynth", "speechsynth", "dtmfrecog", "speechrecog", "recorder", "speakverify"}

var channel = []byte("\na=channel:")

// resourceOf is the media resource that a server has given a channel of in its answer (RFC 6787 4.2); "" when it says none,
// or one that has no name there.
func resourceOf(m *message.Message) string {
	id, _ := nextLine(m.BodyBytes(), channel)
	_, name, _ := bytes.Cut(id, []byte("@"))
	for _, r := range resources {
		if strings.EqualFold(r, string(name)) {
			return r
		}
	}
	return ""
}
