package balancer

import "time"

// A new measurement changes the latency of a backend by this part of the difference.
const smoothing = 1.0 / 8

// Observe tells how long a backend took from an INVITE to its 2xx. The policy Latency goes by the moving average.
func (b *Balancer) Observe(backend *Backend, took time.Duration) {
	c := backend.home
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := took.Seconds(); backend.latency == 0 {
		backend.latency = s
	} else {
		backend.latency += (s - backend.latency) * smoothing
	}
}

// fasterOfTwo draws two eligible members by weight and takes the faster; one that has never answered is taken for fast,
// equals go by their load. -1: none is eligible.
func (g *group) fasterOfTwo(o *order, q *query) int32 {
	x := g.draw(o, q, -1)
	if x < 0 {
		return -1
	}
	y := g.draw(o, q, x)
	if y < 0 {
		return x
	}
	a, b := g.members[x].backend, g.members[y].backend
	switch {
	case a.latency < b.latency:
		return x
	case a.latency > b.latency:
		return y
	case compareLoad(o.load(int(x)), o.keys[x].share, o.load(int(y)), o.keys[y].share) <= 0:
		return x
	}
	return y
}

// draw is a random eligible member other than not, each as likely as its weight; -1 when there is none. It throws darts; when
// none hits, because most members have no room or next to no weight, it takes the first from a random one on.
func (g *group) draw(o *order, q *query, not int32) int32 {
	n := len(g.members)
	for range 32 {
		i := int(g.random() * float64(n))
		b := g.members[i].backend
		if int32(i) == not || o.best[o.size+i] < 0 || g.random()*float64(g.widest) >= g.lightness(b, q) || !q.admits(b) {
			continue
		}
		return int32(i)
	}
	for i, from := 0, int(g.random()*float64(n)); i < n; i++ {
		at := (from + i) % n
		if int32(at) != not && o.best[o.size+at] >= 0 && q.admits(g.members[at].backend) {
			return int32(at)
		}
	}
	return -1
}

// lightness is the weight of a member, less while it is in its slow start.
func (g *group) lightness(b *Backend, q *query) float64 {
	weight := float64(b.weight.Load())
	if b.starting() {
		part := g.grownOrOver(b, q.Now)
		if part < 1 && g.memory.rests(b, part) {
			return 0
		}
		weight *= part
	}
	return weight
}

// random is a number in [0,1), from a sequence of the cluster's own.
func (g *group) random() float64 {
	c := g.layout.home
	c.drawn++
	return float64(mix(c.drawn)>>11) / (1 << 53)
}
