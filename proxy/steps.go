package proxy

import (
	"encoding/binary"
	"math/rand/v2"
	"time"
)

// Steps is when an INVITE came to what, of one that was drawn by Routing.Sample.
type Steps struct {
	Trace    [16]byte // names it; random, and not zero
	Received time.Time
	Routed   time.Time // the routes were looked at
	Picks    []Span    // asking for a server, also in vain; the first 32
	Attempts []Span    // of each of Invite.Attempts, in the same order; the last one's end is missing while it runs
}

// maxPicks bounds the picks that are told: a call that waits for a place asks again and again.
const maxPicks = 32

// Span is a time with two ends.
type Span struct{ Begin, End time.Time }

// draw begins the Steps of an INVITE; nil for those that are not drawn.
func (r *Routing) draw() *Steps {
	if r.Sample <= 0 || r.Sample < 1 && rand.Float64() >= r.Sample {
		return nil
	}
	s := &Steps{Received: time.Now()}
	binary.BigEndian.PutUint64(s.Trace[:], rand.Uint64())
	binary.BigEndian.PutUint64(s.Trace[8:], rand.Uint64()|1)
	return s
}

// The methods do nothing where there are no Steps.

func (s *Steps) routed() {
	if s != nil {
		s.Routed = time.Now()
	}
}

func (s *Steps) picked(begin time.Time) {
	if s != nil && len(s.Picks) < maxPicks {
		s.Picks = append(s.Picks, Span{begin, time.Now()})
	}
}

func (s *Steps) sent() {
	if s != nil {
		s.Attempts = append(s.Attempts, Span{Begin: time.Now()})
	}
}

func (s *Steps) ended() {
	if s != nil && len(s.Attempts) > 0 {
		s.Attempts[len(s.Attempts)-1].End = time.Now()
	}
}
