package store

import (
	"math/rand/v2"
	"testing"
)

// TestPart is the part of a limit for one instance of three.
func TestPart(t *testing.T) {
	for name, c := range map[string]struct {
		part        Part
		limit, want int
	}{
		"no limit":              {Part{5, 5, true}, -1, -1},
		"never counted":         {Part{9, 0, false}, 20, 6},
		"nothing is taken":      {Part{0, 0, true}, 20, 6},
		"it had more than most": {Part{15, 2, true}, 20, 16},
		"it had less":           {Part{2, 15, true}, 20, 3},
		"all that is taken":     {Part{20, 0, true}, 20, 20},
		"others have all":       {Part{0, 20, true}, 20, 0},
		"two free for three":    {Part{9, 9, true}, 20, 9},
		"three free":            {Part{9, 8, true}, 20, 10},
		"below the instances":   {Part{0, 0, true}, 2, 0},
		"twice the limit":       {Part{30, 10, true}, 20, 15},
		"limit of 0":            {Part{3, 0, true}, 0, 0},
		"limit of 0, nobody":    {Part{0, 0, true}, 0, 0},
	} {
		if n := c.part.Of(c.limit, 3); n != c.want {
			t.Errorf("%s: %d, want %d", name, n, c.want)
		}
	}
}

// TestPartsAgreed: the parts of instances that counted the same, beside sessions whose instance is gone, are no more than the
// limit; each keeps what it had, and gets one more when there is one for each.
func TestPartsAgreed(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		own := make([]int, 1+r.IntN(9))
		dead, all := r.IntN(5), 0
		for i := range own {
			own[i] = r.IntN(1 + r.IntN(40))
			all += own[i]
		}
		limit, sum := r.IntN(200), 0
		for i := range own {
			n := Part{own[i], all - own[i] + dead, true}.Of(limit, len(own))
			sum += n
			if free := limit - all - dead; free >= 0 && n < own[i] || free >= len(own) && n == own[i] {
				t.Fatalf("%v and %d under %d: instance %d may have %d", own, dead, limit, i, n)
			}
		}
		if sum > limit || all+dead <= limit && sum+dead > limit {
			t.Fatalf("%v and %d under %d: %d together", own, dead, limit, sum)
		}
	}
}

// TestPartsInFlight: where instances have not counted since, the parts are more than the limit by no more than the mean of
// what each has not heard of.
func TestPartsInFlight(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	above := 0
	for range 5000 {
		const limit = 60
		n, all := 2+r.IntN(5), 0
		parts, unheard := make([]Part, n), make([]int, n)
		for i := range parts {
			parts[i].Counted = true
		}
		for range r.IntN(300) {
			i := r.IntN(n)
			p := &parts[i]
			switch op := r.IntN(10); {
			case op < 5 && all < limit: // admitted, and told the count
				all++
				p.Own++
				for j := range unheard {
					unheard[j]++
				}
				*p, unheard[i] = Part{p.Own, all - p.Own, true}, 0
			case op < 8 && p.Own > 0:
				all--
				p.Own--
			case op == 9:
				*p, unheard[i] = Part{p.Own, all - p.Own, true}, 0
			}
		}
		sum, most := 0, 0
		for i, p := range parts {
			sum += p.Of(limit, n)
			most += unheard[i]
		}
		if (sum-limit)*n > most {
			t.Fatalf("%+v, unheard %v: %d under %d", parts, unheard, sum, limit)
		}
		if sum > limit {
			above++
		}
	}
	if above == 0 {
		t.Error("the sum was never above the limit: nothing was tested")
	}
}
