package health

import "time"

// parts is how many parts a window is kept in: it slides in steps of a tenth.
const parts = 10

// Recent counts calls over a sliding window. The zero value is empty.
type Recent struct {
	good, bad [parts]uint32
	part      int64 // its length, ns
	newest    int64 // number of the newest part, in parts since the epoch
}

// Counts are the calls in the window.
func (r Recent) Counts() (good, bad int) {
	for i := range parts {
		good, bad = good+int(r.good[i]), bad+int(r.bad[i])
	}
	return good, bad
}

// add counts a call at a time; one from before the window is not counted. Another window than before begins empty.
func (r Recent) add(at time.Time, window time.Duration, failed bool) Recent {
	part := max(int64(window)/parts, 1)
	n := at.UnixNano() / part
	switch {
	case part != r.part, n >= r.newest+parts:
		r = Recent{part: part, newest: n}
	case n <= r.newest-parts:
		return r
	}
	for ; r.newest < n; r.newest++ {
		next := (r.newest + 1) % parts
		r.good[next], r.bad[next] = 0, 0
	}
	if failed {
		r.bad[n%parts]++
	} else {
		r.good[n%parts]++
	}
	return r
}

// tooMany reports whether more calls failed than the policy allows.
func (r Recent) tooMany(p Policy) bool {
	good, bad := r.Counts()
	return good+bad >= p.ErrorVolume && float64(bad) > p.ErrorRate*float64(good+bad)
}
