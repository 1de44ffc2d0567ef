package journal

import (
	"encoding/binary"
	"encoding/json"
	"net/netip"
	"time"

	"go.etcd.io/bbolt"

	"mrcproxy/balancer"
	"mrcproxy/internal/session"
)

// server is what is kept of a backend that sessions were at, so that they are counted though it is not configured now.
type server struct {
	Cluster string         `json:"cluster"`
	IDC     string         `json:"idc"`
	URI     string         `json:"uri"`
	Network string         `json:"network"`
	Addr    netip.AddrPort `json:"addr"`
	User    string         `json:"user,omitempty"`
}

func serverOf(b *balancer.Backend) server {
	return server{b.Cluster(), b.IDC(), b.URI(), b.Network(), b.Addr(), b.User()}
}

func serverKey(id uint32) []byte { return binary.BigEndian.AppendUint32(nil, id) }

// Restored says what was found in a journal.
type Restored struct {
	Sessions int // counted again
	Removed  int // of them, those at servers that are not configured
	Skipped  int // known already, or of no known server, or unreadable
}

// restore takes the sessions in a file into the table. It changes nothing in the file.
func (j *Journal) restore(db *bbolt.DB) (r Restored, err error) {
	err = db.View(func(tx *bbolt.Tx) error {
		list, sessions := tx.Bucket(serversBucket), tx.Bucket(sessionsBucket)
		if list == nil || sessions == nil {
			return nil // it was never written
		}
		servers := map[uint32]server{}
		err := list.ForEach(func(k, v []byte) error {
			var s server
			if len(k) == 4 && json.Unmarshal(v, &s) == nil { // else its sessions are skipped unless it is configured
				servers[binary.BigEndian.Uint32(k)] = s
			}
			return nil
		})
		if err != nil {
			return err
		}
		return sessions.ForEach(func(k, v []byte) error {
			switch ok, removed := j.restoreOne(k, v, servers); {
			case !ok:
				r.Skipped++
			case removed:
				r.Removed++
				fallthrough
			default:
				r.Sessions++
			}
			return nil
		})
	})
	return r, err
}

func (j *Journal) restoreOne(k, v []byte, servers map[uint32]server) (ok, removed bool) {
	start, key, ok := parseKey(k)
	rec, err := parseRecord(v)
	if !ok || err != nil {
		return false, false
	}
	lease, removed := j.lease(rec.server, servers, rec.kind.Resource)
	if lease == nil {
		return false, false
	}
	s := &session.Session{
		Kind: j.o.Table.Kind(rec.kind), CallID: rec.callID, Client: rec.client, Start: start, Setup: rec.setup, Lease: lease, Dialog: rec.dialog, Learned: rec.learned,
		Detail: rec.detail,
	}
	for _, a := range rec.attempts {
		if b := j.o.Servers.Lookup(a.server); b != nil {
			s.Attempts = append(s.Attempts, session.Attempt{Backend: b, Outcome: a.outcome, Took: a.took})
		}
	}
	expires := time.Time{}
	if rec.expires != 0 {
		expires = time.UnixMilli(rec.expires)
	}
	if !j.o.Table.Restore(key, s, expires) {
		lease.Release()
		return false, false
	}
	return true, removed
}

// lease takes one at the server of that identity, which may not be configured any more.
func (j *Journal) lease(id uint32, servers map[uint32]server, resource string) (l *balancer.Lease, removed bool) {
	if b := j.o.Servers.Lookup(id); b != nil {
		return j.o.Servers.Adopt(b, resource), false
	}
	s := servers[id]
	return j.o.Servers.Recall(s.Cluster, s.IDC, balancer.BackendSpec{
		URI: s.URI, Network: s.Network, Addr: s.Addr, User: s.User, Capacity: balancer.Unlimited, Weight: 1,
	}, resource), true
}
