package store

import (
	"fmt"
	"time"
)

// Place is the pools that a session takes a place in.
type Place struct {
	cluster *cluster
	pools   []*pool
}

// cluster is the names of a cluster's keys, and whether its data is whole.
type cluster struct {
	name   string
	since  string // keys
	ended  string
	begun  int64     // when its counts began, as last seen
	whole  time.Time // when all instances have put their leases there
	counts []*pool   // to be counted
}

// pool is a set of sessions that a limit is for.
type pool struct {
	cluster   *cluster
	name      string
	key       string
	leases    [over]int // of this instance, by their state
	held      int       // that Redis has, some of which may be released
	elsewhere int       // that others have, as last counted
	counted   bool      // it was
	part      Part      // that holds while limits cannot be checked
	limit     int       // as last asked for; -1: none, or not known yet
	most      int       // as last told to Options.Parted
}

// Place is a place in pools of a cluster. One can serve for any number of sessions.
func (s *Store) Place(cluster string, pools ...string) *Place {
	s.mu.Lock()
	defer s.mu.Unlock()
	pl := &Place{cluster: s.cluster(cluster)}
	for _, name := range pools {
		pl.pools = append(pl.pools, s.pool(pl.cluster, name))
	}
	return pl
}

func (s *Store) cluster(name string) *cluster {
	c := s.clusters[name]
	if c == nil {
		c = &cluster{name: name, since: s.key(name, "since"), ended: s.key(name, "ended")}
		s.clusters[name] = c
	}
	return c
}

func (s *Store) pool(c *cluster, name string) *pool {
	key := s.key(c.name, name)
	p := s.pools[key]
	if p == nil {
		p = &pool{cluster: c, name: name, key: key, limit: -1, most: -1}
		s.pools[key] = p
	}
	return p
}

func (s *Store) key(cluster, name string) string {
	return fmt.Sprintf("%s:{%s}:%s", s.opts.Redis.Prefix, cluster, name)
}

// Count has these places counted, about ten times while a lease is renewed once, and no others.
func (s *Store) Count(places []*Place) {
	var t tell
	s.mu.Lock()
	s.count(places)
	s.allParts(&t, time.Now())
	s.mu.Unlock()
	s.opts.tell(&t)
}

func (s *Store) count(places []*Place) {
	for _, c := range s.clusters {
		c.counts = nil
	}
	wanted := map[*pool]bool{}
	for _, pl := range places {
		for _, p := range pl.pools {
			if !wanted[p] {
				wanted[p] = true
				p.limit = -1 // it may be another from here on
				p.cluster.counts = append(p.cluster.counts, p)
				s.pools[p.key] = p
			}
		}
	}
	for key, p := range s.pools {
		if p.leases == [over]int{} && !wanted[p] {
			delete(s.pools, key)
		}
	}
}
