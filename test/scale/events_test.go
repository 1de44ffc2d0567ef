package scale

import "time"

// kind is what happens at an event.
type kind uint8

const (
	arrival kind = iota // of a call, in an IDC
	end                 // of a session
	execute             // an exchange reaches Redis
	reply               // an exchange is back
	count               // an instance wants to know how many sessions others have
	cut                 // instances are cut off from Redis
	noticed             // one of them notices
	heal                // Redis can be reached again
	back                // an instance notices
	begin               // of what is measured
	look                // at the loads, and whether all sums agree
	stop                // the end of what is measured
	finish
)

// event is something that happens at a time; of what it is about only what its kind needs is set.
type event struct {
	at   time.Duration
	kind kind
	n    int // of an IDC, or an instance
	call *call
	ex   *exchange
}

// events is a heap, the earliest on top.
type events []event

func (h *events) push(e event) {
	*h = append(*h, e)
	q := *h
	i := len(q) - 1
	for i > 0 && e.at < q[(i-1)/2].at {
		q[i] = q[(i-1)/2]
		i = (i - 1) / 2
	}
	q[i] = e
}

func (h *events) pop() event {
	q := *h
	top, last := q[0], q[len(q)-1]
	q[len(q)-1] = event{}
	q = q[:len(q)-1]
	*h = q
	i := 0
	for {
		c := 2*i + 1
		if c >= len(q) {
			break
		}
		if c+1 < len(q) && q[c+1].at < q[c].at {
			c++
		}
		if last.at <= q[c].at {
			break
		}
		q[i] = q[c]
		i = c
	}
	if len(q) > 0 {
		q[i] = last
	}
	return top
}
