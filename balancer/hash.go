package balancer

import "math"

// rendezvous is the eligible member that ranks highest for the request's hash; -1 when there is none. Each member's rank is
// -weight/ln(u) for a u in (0,1) of its own, which gives every member its part of the hashes, and moves a hash only when
// its member comes or goes (Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998).
func (g *group) rendezvous(o *order, q *query) int32 {
	best, bestRank := int32(-1), 0.0
	for i := range g.members {
		b := g.members[i].backend
		if o.best[o.size+i] < 0 {
			continue
		}
		weight := float64(b.weight.Load())
		if b.starting() {
			weight *= g.grownOrOver(b, q.Now)
		}
		u := (float64(mix(q.Hash^b.mixed)>>11) + 0.5) / (1 << 53)
		if weight <= bestRank*(1-u) { // -ln(u) is more than 1-u: no need to work out what is less
			continue
		}
		if rank := -weight / math.Log(u); rank > bestRank && q.admits(b) {
			best, bestRank = int32(i), rank
		}
	}
	return best
}

// mix is the finaliser of splitmix64: every bit of x changes half of the result's.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
