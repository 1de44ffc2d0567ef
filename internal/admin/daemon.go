package admin

import (
	"net/netip"

	"mrcproxy/internal/api"
	"mrcproxy/internal/trace"
)

// Daemon is what /api/v1 shows and changes; docs/openapi.yaml says what each call means. The methods may be called
// concurrently. An error that is an *api.Error is answered with its status, any other with 500.
type Daemon interface {
	Status() api.Status
	Clusters() []api.Cluster
	// Backends are all of them; with their load over the last minutes if asked for.
	Backends(load bool) []api.Backend
	Backend(id string) (api.Backend, error)
	// Loads is the number of sessions of each backend, by id.
	Loads() map[string]int
	Sessions(api.SessionQuery) (api.SessionPage, error)
	// Terminate ends a session on behalf of both sides.
	Terminate(id, by string) error
	Operator() api.Operator
	Do(Verb, api.Action) (api.Result, error)
	Config() (api.Config, error)
	// Diff is what a Reload would change.
	Diff() (api.Diff, error)
	Reload(by string) error
	// Route says what would become of an INVITE that came from source. It changes nothing.
	Route(invite []byte, source netip.Addr) (api.Route, error)
	// Trace gives SIP messages from now on, until the Watcher is closed.
	Trace(api.TraceQuery) (*trace.Watcher, error)
}

// Verb is what is done to a scope.
type Verb string

// The verbs.
const (
	Drain   Verb = "drain"
	Disable Verb = "disable"
	Enable  Verb = "enable"
	Weight  Verb = "weight"
	Probe   Verb = "probe"
)

// Events are what happened and happens.
type Events interface {
	// Since are those after that number, the oldest first.
	Since(id uint64) []api.Event
	// Watch tells when there are more, until cancel is called.
	Watch() (news <-chan struct{}, cancel func())
}
