package resolver

import (
	"math"
	"time"
)

const (
	// The bounds of how long an answer is used before it is asked for again, whatever its TTL.
	leastTTL, mostTTL = time.Second, 5 * time.Minute
	// spread is the share of a TTL by which an answer is renewed early, at most: names and instances fall out of step.
	spread = 0.1
	// noSOA is how long it is believed that something does not exist when the answer does not say (RFC 2308 5 leaves
	// such answers to the resolver).
	noSOA = 5 * time.Second
	// hostsTTL is how often it is seen whether the hosts file has changed.
	hostsTTL = 5 * time.Second
	// The pause after a failed lookup doubles from leastPause to mostPause.
	leastPause, mostPause = time.Second, 30 * time.Second
)

// lifetime is how long an answer is used. ttl is in seconds, early in [0, 1) says where in the spread it falls.
func lifetime(ttl uint32, early float64) time.Duration {
	if ttl > math.MaxInt32 {
		ttl = 0 // RFC 2181 8
	}
	d := min(time.Duration(ttl)*time.Second, mostTTL)
	return max(time.Duration(float64(d)*(1-spread*early)), leastTTL)
}

// pause is the time to the next lookup after failures in a row. early is in [0, 1).
func pause(failures int, early float64) time.Duration {
	d := mostPause
	if shift := failures - 1; shift < 8 {
		d = min(leastPause<<max(shift, 0), mostPause)
	}
	return max(time.Duration(float64(d)*(1-spread*early)), leastPause)
}
