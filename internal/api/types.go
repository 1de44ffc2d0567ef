package api

import "time"

// Unlimited is a Capacity without a limit.
const Unlimited = -1

// Status is an instance at one moment.
type Status struct {
	Version string    `json:"version"`
	IDC     string    `json:"idc"`
	Started time.Time `json:"started"`
	Now     time.Time `json:"now"` // of the daemon's clock
	Ready   bool      `json:"ready"`
	Why     string    `json:"why,omitempty"` // not ready
	// Trouble is what is wrong with the instance itself, a sentence each; that a server is down is not.
	Trouble  []string  `json:"trouble,omitempty"`
	Sessions int       `json:"sessions"`
	Backends []Backend `json:"backends"`
	Names    []Name    `json:"names,omitempty"`
	Store    *Store    `json:"store,omitempty"` // nil: sessions are counted in this instance alone
}

// Store is how it stands with the store that sessions are counted in.
type Store struct {
	Up    bool      `json:"up"`    // it answers
	Exact bool      `json:"exact"` // limits hold over all instances together
	Since time.Time `json:"since"` // it has been up, or not
}

// Name is one name among the servers.
type Name struct {
	Name        string    `json:"name"`
	Addresses   int       `json:"addresses"`
	LastSuccess time.Time `json:"last_success,omitzero"`
	Error       string    `json:"error,omitempty"`
}

// Cluster is a cluster with the sums over its backends.
type Cluster struct {
	Name     string   `json:"name"`
	Policy   string   `json:"policy"`
	Fallback []string `json:"fallback"`
	// FellBack counts the sessions whose route named this cluster and that are at another, by that cluster.
	FellBack map[string]int `json:"fell_back,omitempty"`
	Licences *Licences      `json:"licences,omitempty"` // nil: no limit
	Waiting  int            `json:"waiting,omitempty"`  // INVITEs in the queue for a place
	Sums
	Groups []Group `json:"groups"`
}

// Group is the backends of a cluster in one IDC.
type Group struct {
	Cluster  string `json:"cluster"`
	IDC      string `json:"idc"`
	Priority int    `json:"priority"`
	Local    bool   `json:"local"` // of this instance's IDC
	// SpillLimit is how many sessions this instance may have in the IDC, which is not its own; nil: any number.
	SpillLimit *int `json:"spill_limit,omitempty"`
	Sums
}

// Licences are a cluster's sessions and how many there may be.
type Licences struct {
	Taken int `json:"taken"` // those of other instances included, as far as known
	Limit int `json:"limit"`
}

// Limit is how many sessions with an MRCP resource a backend accepts at once, and how many it has.
type Limit struct {
	Resource  string `json:"resource"`
	Sessions  int    `json:"sessions"`            // of this instance
	Elsewhere int    `json:"elsewhere,omitempty"` // of other instances, as far as known
	Capacity  int    `json:"capacity"`
}

// Sums are totals over backends.
type Sums struct {
	Backends int            `json:"backends"`
	States   map[string]int `json:"states"`   // how many backends are in each state
	Sessions int            `json:"sessions"` // of this instance
	Capacity int            `json:"capacity"` // of the backends that take sessions; Unlimited when one of them has no limit
	Picked   uint64         `json:"picked"`
}

// Backend is one server of one cluster.
type Backend struct {
	ID       string    `json:"id"` // 8 hexadecimal digits, the same on every instance
	Cluster  string    `json:"cluster"`
	IDC      string    `json:"idc"`
	Priority int       `json:"priority"`
	URI      string    `json:"backend"`
	State    string    `json:"state"` // unknown, up, down, draining, disabled, removed
	Reason   string    `json:"reason,omitempty"`
	Since    time.Time `json:"since"`
	// Health is what probes and calls say, whatever the operator wants.
	Health    string    `json:"health"`
	Held      bool      `json:"held,omitempty"` // passed over for a moment, because it refused a session
	HeldUntil time.Time `json:"held_until,omitzero"`
	Sessions  int       `json:"sessions"`            // of this instance
	Elsewhere int       `json:"elsewhere,omitempty"` // of other instances, as far as known
	Capacity  int       `json:"capacity"`            // Unlimited where there is none
	Resources []Limit   `json:"resources,omitempty"` // what is limited by resource
	MaxCPS    int       `json:"max_cps,omitempty"`   // new sessions within a second; 0: any number
	Weight    int       `json:"weight"`
	// Conditions are what is so of it beside its state: suspect, ejected, engine_down, probation, slow_start.
	Conditions []string `json:"conditions,omitempty"`
	// FileWeight is the weight that the configuration has, where an operator has set another.
	FileWeight *int      `json:"file_weight,omitempty"`
	Picked     uint64    `json:"picked"`
	Wish       *Wish     `json:"wish,omitempty"` // of the operator, that holds for it
	Probes     []Probe   `json:"probes,omitempty"`
	Failures   []Failure `json:"failures,omitempty"`
	// Changes are the last changes of its health, the oldest first; where the load was asked for.
	Changes []Change `json:"changes,omitempty"`
	// Load is the number of sessions over the last 15 minutes, every 10 s, the newest last; where it was asked for.
	Load []int `json:"load,omitempty"`
}

// Probe is one probe's result.
type Probe struct {
	At     time.Time `json:"at"`
	OK     bool      `json:"ok"`
	Code   int       `json:"code,omitempty"`
	Reason string    `json:"reason,omitempty"`
	MS     float64   `json:"ms"`
}

// Change is a change of a backend's health.
type Change struct {
	At       time.Time `json:"at"`
	From     string    `json:"from"`
	To       string    `json:"to"`
	Evidence string    `json:"evidence"` // what made the change, such as "call failed"
	Reason   string    `json:"reason"`
}

// Failure is a call that the backend did not take.
type Failure struct {
	At     time.Time `json:"at"`
	Kind   string    `json:"kind"` // failed: no connection or no answer; refused: 406, 480, 486, 503
	Reason string    `json:"reason"`
}

// Scope names what an operator's wish is about: an IDC, a group (cluster and IDC) or a backend (cluster and backend).
type Scope struct {
	Cluster string `json:"cluster,omitempty"`
	IDC     string `json:"idc,omitempty"`
	Backend string `json:"backend,omitempty"` // its URI, or its id alone
}

// Wish is what an operator wants of a scope.
type Wish struct {
	Scope
	Mode   string    `json:"mode"` // drain or disable
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"` // it ends by itself then
	Reason string    `json:"reason,omitempty"`
	By     string    `json:"by"`
}

// Weight is a weight that an operator set in the place of the configuration's.
type Weight struct {
	Cluster string    `json:"cluster"`
	Backend string    `json:"backend"`
	Weight  int       `json:"weight"`
	Since   time.Time `json:"since"`
	Reason  string    `json:"reason,omitempty"`
	By      string    `json:"by"`
}

// Operator is all that operators want at the moment.
type Operator struct {
	Wishes  []Wish   `json:"wishes"`
	Weights []Weight `json:"weights"`
	// Kept: it outlives a restart. If not, Why says what keeps it from that.
	Kept bool   `json:"kept"`
	Why  string `json:"why,omitempty"`
}

// Action asks for drain, disable, enable, weight or probe.
type Action struct {
	Scope
	Until  time.Time `json:"until,omitzero"` // drain and disable: when it ends by itself
	For    string    `json:"for,omitempty"`  // the same as a duration from now: 30m
	Weight *int      `json:"weight,omitempty"`
	Reason string    `json:"reason,omitempty"`
	By     string    `json:"by,omitempty"` // who asks, where the login does not tell
}

// Result is what an Action did.
type Result struct {
	Backends int    `json:"backends"` // how many the scope covers now
	Sessions int    `json:"sessions"` // that they have, of this instance
	Changed  bool   `json:"changed"`
	Warning  string `json:"warning,omitempty"`
}

// Attempt is one server that a session's INVITE was sent to.
type Attempt struct {
	Backend string  `json:"backend"`
	Outcome string  `json:"outcome"`
	MS      float64 `json:"ms"`
}

// Session is one established session.
type Session struct {
	ID       string    `json:"id"` // 16 hexadecimal digits
	CallID   string    `json:"call_id"`
	Route    string    `json:"route"`
	Cluster  string    `json:"cluster"`        // the backend's
	Wanted   string    `json:"wanted_cluster"` // the route's, another when it is a fallback
	IDC      string    `json:"idc"`            // the backend's
	Backend  string    `json:"backend"`
	Client   string    `json:"client,omitempty"`   // where its INVITE came from
	Resource string    `json:"resource,omitempty"` // that its SDP asked for, where a route looked
	Start    time.Time `json:"start"`
	Expires  time.Time `json:"expires,omitzero"` // when it ends unless it is refreshed
	// Learned: it began at another process, and Start is when this one learned of it.
	Learned bool `json:"learned,omitempty"`
	// Endable: Terminate can end it. What a BYE to both sides needs is known of each session whose INVITE's answer this
	// instance, or the one before it with the same journal, has seen.
	Endable  bool      `json:"endable"`
	SetupMS  float64   `json:"setup_ms"`
	Attempts []Attempt `json:"attempts"`
}

// SessionQuery filters and pages sessions. Empty fields are no condition.
type SessionQuery struct {
	CallID  string // a part of it
	Cluster string
	IDC     string
	Backend string // URI or id
	Route   string
	Limit   int
	After   string // the Next of the page before
}

// TraceQuery filters SIP messages. Empty fields are no condition.
type TraceQuery struct {
	CallID  string // a part of it
	Backend string // URI or id: what is received from it and sent to it
}

// The trailers of a trace: how many messages were written, and how many were not, because the client did not take them in time.
const (
	TraceMessages = "Mrcproxy-Messages"
	TraceDropped  = "Mrcproxy-Dropped"
)

// SessionPage is one page of sessions, ordered by ID.
type SessionPage struct {
	Sessions []Session `json:"sessions"`
	Total    int       `json:"total"`          // that match, over all pages
	Next     string    `json:"next,omitempty"` // for the next page; none when this is the last
}

// Event is something that happened.
type Event struct {
	ID      uint64    `json:"id"` // ascending
	At      time.Time `json:"at"`
	Type    string    `json:"type"` // state, failover, rejected, operator, config
	Cluster string    `json:"cluster,omitempty"`
	IDC     string    `json:"idc,omitempty"`
	Backend string    `json:"backend,omitempty"`
	Text    string    `json:"text"`              // for people
	CallID  string    `json:"call_id,omitempty"` // failover, rejected: one of the calls
	Count   int       `json:"count,omitempty"`   // failover, rejected: how many within the second
	By      string    `json:"by,omitempty"`      // operator, config
	// State is the backend as it is now: with state and operator events of one backend.
	State string `json:"state,omitempty"`
}

// Reload is the last load of the configuration.
type Reload struct {
	At           time.Time `json:"at"`
	OK           bool      `json:"ok"`
	Cause        string    `json:"cause"`
	Error        string    `json:"error,omitempty"`
	Changes      []string  `json:"changes"`
	NeedsRestart []string  `json:"needs_restart"`
}

// Config is the configuration that runs.
type Config struct {
	File   string    `json:"file"`
	Loaded time.Time `json:"loaded"` // when what runs was loaded
	YAML   string    `json:"yaml"`   // with defaults, without secrets
	Last   Reload    `json:"last_reload"`
}

// Diff is how the file differs from what runs.
type Diff struct {
	Changes      []string `json:"changes"`
	NeedsRestart []string `json:"needs_restart"`
}

// RouteStep is one route in a Route, in the order of the file, up to the one that matched.
type RouteStep struct {
	Route   string `json:"route"`
	Cluster string `json:"cluster"`
	Matched bool   `json:"matched"`
	Why     string `json:"why,omitempty"` // not
}

// Candidate is one backend in a Route, in the order in which they are tried.
type Candidate struct {
	Cluster  string `json:"cluster"`
	IDC      string `json:"idc"`
	Priority int    `json:"priority"`
	Level    int    `json:"level"` // its group's place in the order of trying, from 0
	Backend  string `json:"backend"`
	Sessions int    `json:"sessions"`
	Capacity int    `json:"capacity"`
	Weight   int    `json:"weight"`
	Usable   bool   `json:"usable"`
	Chosen   bool   `json:"chosen"`
	Why      string `json:"why"` // or why not
}

// Route is what would become of an INVITE.
type Route struct {
	CallID     string      `json:"call_id"`
	UserAgent  string      `json:"user_agent"`
	Source     string      `json:"source"`
	Resources  []string    `json:"resources"`
	Routes     []RouteStep `json:"routes"`
	Route      string      `json:"route,omitempty"`
	Cluster    string      `json:"cluster,omitempty"`
	Code       int         `json:"code,omitempty"` // of our answer, when no server gets it
	Why        string      `json:"why,omitempty"`  // so
	Backend    string      `json:"backend,omitempty"`
	IDC        string      `json:"idc,omitempty"`
	Candidates []Candidate `json:"candidates"`
}

// Error is what a request that failed is answered with.
type Error struct {
	Status  int    `json:"-"`
	Message string `json:"error"`
}

// Error implements error.
func (e *Error) Error() string { return e.Message }
