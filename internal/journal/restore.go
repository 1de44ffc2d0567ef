package journal

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
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

// restore takes the sessions in the file into the table, and strikes out those that it does not take.
func (j *Journal) restore(db *bbolt.DB) (r Restored, err error) {
	var bad [][]byte
	used := map[uint32]bool{}
	err = db.View(func(tx *bbolt.Tx) error {
		servers := map[uint32]server{}
		err := tx.Bucket(serversBucket).ForEach(func(k, v []byte) error {
			var s server
			if len(k) != 4 || json.Unmarshal(v, &s) != nil {
				return nil // its sessions are skipped unless it is configured
			}
			servers[binary.BigEndian.Uint32(k)] = s
			return nil
		})
		if err != nil {
			return err
		}
		return tx.Bucket(sessionsBucket).ForEach(func(k, v []byte) error {
			ok, removed := j.restoreOne(k, v, servers, used)
			if !ok {
				bad = append(bad, append([]byte(nil), k...))
				r.Skipped++
				return nil
			}
			r.Sessions++
			if removed {
				r.Removed++
			}
			return nil
		})
	})
	if err != nil {
		return r, fmt.Errorf("read: %w", err)
	}
	return r, db.Update(func(tx *bbolt.Tx) error {
		sessions := tx.Bucket(sessionsBucket)
		for _, k := range bad {
			if err := sessions.Delete(k); err != nil {
				return err
			}
		}
		return forgetServers(tx.Bucket(serversBucket), used)
	})
}

// forgetServers strikes out the servers that no session is at.
func forgetServers(b *bbolt.Bucket, used map[uint32]bool) error {
	c := b.Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		if len(k) != 4 || !used[binary.BigEndian.Uint32(k)] {
			if err := c.Delete(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (j *Journal) restoreOne(k, v []byte, servers map[uint32]server, used map[uint32]bool) (ok, removed bool) {
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
	used[rec.server] = true
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
