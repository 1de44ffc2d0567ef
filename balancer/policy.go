package balancer

import (
	"fmt"
	"strings"
)

// Policy says how a backend is chosen among the eligible ones of a group.
type Policy uint8

const (
	// LeastLoad takes the backend with the fewest sessions for its capacity and weight; equals take turns.
	LeastLoad Policy = iota
	// Weighted takes the backend that has been picked the least for its weight: picks in proportion to the weights,
	// interleaved. What a backend missed while it could not be picked is not made up for.
	Weighted
	// Ordered takes the first in the order of the configuration.
	Ordered
	// Hash takes the backend that Request.Hash ranks highest (rendezvous hashing), in proportion to the weights: when one
	// comes or goes, only its own sessions move.
	Hash
	// Latency draws two and takes the one that has answered its INVITEs faster of late.
	Latency
)

var policies = []string{"least-load", "weighted", "ordered", "hash", "latency"}

// String returns the name used in the configuration.
func (p Policy) String() string {
	if int(p) < len(policies) {
		return policies[p]
	}
	return fmt.Sprintf("policy(%d)", uint8(p))
}

// ParsePolicy is the inverse of String.
func ParsePolicy(name string) (Policy, error) {
	for i, known := range policies {
		if name == known {
			return Policy(i), nil
		}
	}
	return 0, fmt.Errorf("unknown policy %q: want one of %s", name, strings.Join(policies, ", "))
}
