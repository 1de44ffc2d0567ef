package balancer

import (
	"net/netip"
	"slices"
	"time"
)

// Request is what a session asks of Pick.
type Request struct {
	// Cluster is the name of the cluster that its route names.
	Cluster string
	// Tried are the addresses of servers that have failed it: they are passed over, whatever their transport and cluster,
	// since it is the same server.
	Tried []netip.AddrPort
	// Now is the present time.
	Now time.Time
	// Resources are the MRCP resources that it asks for (RFC 6787 3.1), in lower case, such as "speechrecog": it counts
	// against the limit of each. Needed only where a limit is for a resource.
	Resources []string
	// Hash is what the policy Hash goes by: equal ones get the same backend.
	Hash uint64
	// Reserve is how many places it leaves free at every limit, for sessions that matter more.
	Reserve int
}

// query is what one pick asks for, and what it met.
type query struct {
	*Request
	useHeld bool // take held backends and groups, too
	sawHeld bool // something was passed over that is only held
	stale   bool // the snapshot has been replaced: try again with the next
}

// admits reports whether a backend that has room may be chosen. The cluster's mu is held.
func (q *query) admits(b *Backend) bool {
	if len(q.Tried) > 0 && slices.Contains(q.Tried, b.addr) || !b.accepts(q) {
		return false
	}
	if !q.useHeld && b.held(q.Now) {
		q.sawHeld = true
		return false
	}
	return true
}
