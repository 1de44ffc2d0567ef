package proxy

import (
	"net/netip"
	"strings"
	"time"

	"mrcproxy/balancer"
	"mrcproxy/proxy/message"
)

// HashOn is what a cluster with the policy hash goes by.
type HashOn uint8

// What it can be.
const (
	HashNothing HashOn = iota
	HashCallID
	HashSource // the address that the INVITE came from
	HashHeader
)

// Cluster is what must be known of an INVITE for placing it in a cluster or its fallbacks.
type Cluster struct {
	Resources bool // the resources that its SDP asks for
	HashOn    HashOn
	Header    string // of HashHeader, in lower case

	Queue       time.Duration // how long it may wait for a place; 0: not at all
	QueueLength int           // how many may wait at a time
}

// complete fills in what the request's cluster needs to know of the INVITE.
func (r *Routing) complete(ask *balancer.Request, m *message.Message, src netip.Addr, o *offer) {
	c := r.Clusters[ask.Cluster]
	if c.Resources {
		for _, name := range o.of(m).resources {
			ask.Resources = append(ask.Resources, strings.ToLower(name))
		}
	}
	switch c.HashOn {
	case HashCallID:
		ask.Hash = hashOf(m.Bytes(m.CallID.Value))
	case HashSource:
		a := src.As16()
		ask.Hash = hashOf(a[:])
	case HashHeader:
		ask.Hash = hashOf(m.Field(c.Header))
	}
}

// hashOf is FNV-1a: the same in every instance, so that all choose alike.
func hashOf(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}
