package balancer

import (
	"math"
	"math/bits"
	"time"
)

// compareLoad compares a/shareA with b/shareB, exactly: -1, 0 or 1.
func compareLoad(a, shareA, b, shareB uint64) int {
	hi, lo := a, b
	if shareA != shareB {
		aHi, aLo := bits.Mul64(a, shareB)
		bHi, bLo := bits.Mul64(b, shareA)
		if hi, lo = aHi, bHi; aHi == bHi {
			hi, lo = aLo, bLo
		}
	}
	switch {
	case hi < lo:
		return -1
	case hi > lo:
		return 1
	}
	return 0
}

// serve counts a turn of Weighted: the member with the least (2 served + 1) / weight is next, which is Webster's method
// of apportionment, exact over each round of the weights. One that comes back after a while is given its turn at once, and
// stands then where the others do. A turn in a slow start counts for several.
func (g *group) serve(b *Backend, now time.Time) {
	m, weight := g.memory, uint64(b.weight.Load())
	if m.weight > 0 {
		if hi, lo := bits.Mul64(m.turn, weight); hi < 2*m.weight {
			level, _ := bits.Div64(hi, lo, 2*m.weight)
			b.served = max(b.served, level)
		}
	}
	if key := 2*b.served + 1; m.weight == 0 || compareLoad(key, weight, m.turn, m.weight) > 0 {
		m.turn, m.weight = key, weight
	}
	b.served++
	if b.starting() {
		b.served += uint64(math.Round(1/g.grown(b, now))) - 1
	}
}
