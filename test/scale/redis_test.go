package scale

import "time"

// redis is the model of what internal/store keeps in Redis: a set of sessions for each server. That a session is in the set of
// its server is noted in the call. Nothing expires: the scenarios are shorter than a Session-Expires.
type redis struct {
	sizes    []int // by server
	capacity int
}

// admit is the script of that name: compare, then add.
func (r *redis) admit(c *call) bool {
	if !c.member && r.sizes[c.server] >= r.capacity {
		return false
	}
	r.put(c)
	return true
}

func (r *redis) put(c *call) {
	if !c.member {
		c.member = true
		r.sizes[c.server]++
	}
}

func (r *redis) remove(c *call) {
	if c.member {
		c.member = false
		r.sizes[c.server]--
	}
}

// exchange is what an instance asks of Redis at once, and the answers. There is one at a time for an instance.
type exchange struct {
	gone, asks, renewals []*call
	held                 []bool // by gone: it counted as there
	counts               bool
	lost                 bool // it never reaches Redis, or its answer never comes back

	admitted []bool // by ask
	sizes    []int  // by ask: after it
	all      []int  // with counts: by server
}

// perRound is how many renewals are made in one exchange, as in internal/store.
const perRound = 500

// execute has Redis do the exchange. What gives room comes first.
func (r *redis) execute(x *exchange) {
	for _, c := range x.gone {
		r.remove(c)
	}
	for _, c := range x.asks {
		x.admitted = append(x.admitted, r.admit(c))
		x.sizes = append(x.sizes, r.sizes[c.server])
	}
	for _, c := range x.renewals {
		if !c.over {
			r.put(c)
		}
	}
	if x.counts {
		x.all = append([]int(nil), r.sizes...)
	}
}

// lastProbe and timeout are how long it may take until an instance notices that Redis is back, or gone: internal/store asks
// once a second, and an exchange may take 50 ms.
const (
	lastProbe = time.Second
	timeout   = 50 * time.Millisecond
)
