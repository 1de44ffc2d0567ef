package balancer

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"sync/atomic"
	"time"
)

// State is what the balancer has been told about a backend.
type State uint8

const (
	// Unknown has not been probed yet; the backend is used.
	Unknown State = iota
	// Up is used.
	Up
	// Down is not used.
	Down
	// Draining keeps its sessions and gets no new ones.
	Draining
	// Removed is no longer configured and keeps its sessions until they end. Seen in a View only.
	Removed
)

// String returns the state in lower case.
func (s State) String() string {
	switch s {
	case Unknown:
		return "unknown"
	case Up:
		return "up"
	case Down:
		return "down"
	case Draining:
		return "draining"
	case Removed:
		return "removed"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Backend is one server of one cluster, identified by the cluster's name and its URI. It survives Apply. All methods
// are safe for concurrent use.
type Backend struct {
	// Written under home.mu, but for removed, and read without it too.
	leases    atomic.Int64
	elsewhere atomic.Int64 // sessions of other instances
	capacity  atomic.Int64
	weight    atomic.Int64
	state     atomic.Uint32
	removed   atomic.Bool

	// Guarded by home.mu.
	group     *group // of the current layout; nil when removed
	index     int    // in group.members
	turn      uint64 // when last picked, in picks of the cluster: the lowest goes first among equals
	served    uint64 // turns that Weighted has given it
	rank      int    // how bad it is while down
	latency   float64
	pools     []pool // for resources
	part      part
	rate      rate
	holdUntil time.Time
	startedAt time.Time // when its slow start began; zero when it is not in one

	picked atomic.Uint64
	idc    atomic.Pointer[string]

	// Never changed.
	owner   *Balancer
	home    *cluster
	id      uint32
	mixed   uint64 // of id
	uri     string
	network string
	addr    netip.AddrPort
	user    string
}

// backendID is FNV-1a over the identity: the same in every process, so that it can be carried in messages.
func backendID(cluster, uri string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(cluster + "\x00" + uri))
	return h.Sum32()
}

func newBackend(owner *Balancer, home *cluster, s BackendSpec) *Backend {
	id := backendID(home.name, s.URI)
	return &Backend{
		owner: owner, home: home, id: id, mixed: mix(uint64(id)),
		uri: s.URI, network: s.Network, addr: s.Addr, user: s.User,
	}
}

// Cluster is the name of the cluster the backend belongs to.
func (b *Backend) Cluster() string { return b.home.name }

// URI is the SIP URI as configured.
func (b *Backend) URI() string { return b.uri }

// Network is "udp", "tcp" or "tls".
func (b *Backend) Network() string { return b.network }

// Addr is where the server listens for SIP.
func (b *Backend) Addr() netip.AddrPort { return b.addr }

// User is the user part of the URI, which may be empty.
func (b *Backend) User() string { return b.user }

// ID is a hash (FNV-1a, 32 bits) of cluster and URI, the same in every process.
func (b *Backend) ID() uint32 { return b.id }

// IDC is the data centre of the backend's group.
func (b *Backend) IDC() string { return *b.idc.Load() }

// load is what counts against the capacity: the sessions of all instances, as far as this one knows.
func (b *Backend) load() uint64 { return uint64(b.leases.Load() + b.elsewhere.Load()) }

// Idle reports whether the sessions known leave half of the capacity free: a server that is full then is so for a reason that
// is not ours. One without a limit is never explained by them.
func (b *Backend) Idle() bool { return 2*b.load() < uint64(b.capacity.Load()) }

// Elsewhere is the number of sessions that other instances were last known to have at the server.
func (b *Backend) Elsewhere() int { return int(b.elsewhere.Load()) }

// Sessions is the number of leases held.
func (b *Backend) Sessions() int { return int(b.leases.Load()) }

// Capacity is how many sessions the backend accepts at once, or Unlimited.
func (b *Backend) Capacity() int { return int(b.capacity.Load()) }

// Weight is the configured weight.
func (b *Backend) Weight() int { return int(b.weight.Load()) }

// State is what SetState was last told; a backend starts as Unknown.
func (b *Backend) State() State { return State(b.state.Load()) }

// free reports whether the backend takes sessions and has room. home.mu is held.
func (b *Backend) free() bool { return b.usable() && b.room() }

// room reports whether a session has a place, whatever the state. Unlimited is the largest number of all when unsigned.
// home.mu is held.
func (b *Backend) room() bool {
	return b.load() < uint64(b.capacity.Load()) && b.part.room(b.Sessions())
}

// usable reports whether the backend takes sessions at all.
func (b *Backend) usable() bool {
	return b.state.Load() <= uint32(Up) && b.weight.Load() > 0 && !b.removed.Load()
}

// held reports whether the backend is passed over at now. home.mu is held.
func (b *Backend) held(now time.Time) bool {
	if b.holdUntil.IsZero() {
		return false
	}
	if now.Before(b.holdUntil) {
		return true
	}
	b.holdUntil = time.Time{}
	return false
}
