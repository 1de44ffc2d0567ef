package transaction

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// The machines against a second reading of the RFCs: each state's row says what an event does, each timer is a line of RFC
// 3261 table 4. The reference knows no shortcuts; it shares nothing with the machines but the names of states and actions.

// clocks are timers that run, by their letter: when they fire.
type clocks map[string]Time

func (c clocks) due() Time {
	due := Never
	for _, at := range c {
		due = min(due, at)
	}
	return due
}

// fired stops a timer that is due, and says whether it was.
func (c clocks) fired(name string, now Time) bool {
	at, on := c[name]
	if !on || now < at {
		return false
	}
	delete(c, name)
	return true
}

func (c clocks) stop(names ...string) {
	for _, n := range names {
		delete(c, n)
	}
}

// refClient is RFC 3261 figures 5 and 6 with RFC 6026 figure 2, and the CANCEL of section 9.1 as the second transaction
// that it is. Timer B or F is the user's, and called "user".
type refClient struct {
	state            ClientState
	invite, reliable bool
	t1, a, e         Time // the intervals of timers A and E, and of the CANCEL's E
	cancel           Time
	clocks           clocks
	wanted, out      bool // the CANCEL
}

func newRefClient(invite, reliable bool, t1, timeout, now Time) *refClient {
	r := &refClient{state: Calling, invite: invite, reliable: reliable, t1: t1, a: t1, e: t1, clocks: clocks{"user": now + timeout}}
	if !reliable && invite {
		r.clocks["A"] = now + t1
	}
	if !reliable && !invite {
		r.clocks["E"] = now + t1
	}
	return r
}

// perhaps is a timer's length over an unreliable transport; 0 over a reliable one.
func perhaps(reliable bool, d Time) Time {
	if reliable {
		return 0
	}
	return d
}

func (r *refClient) response(code int, now Time) Action {
	early := r.state == Calling || r.state == ClientProceeding
	switch {
	case early && code < 200:
		r.state = ClientProceeding
		r.clocks.stop("A")
		if !r.invite {
			r.e = T2
		}
		if r.wanted && !r.out {
			return Forward | r.letOut(now)
		}
		return Forward
	case early:
		r.clocks.stop("A", "E", "again", "cancel", "user", "abandoned")
		r.out = false
		switch {
		case r.invite && code < 300:
			r.state, r.clocks["M"] = ClientAccepted, now+64*T1
			return Forward
		case r.invite:
			r.state, r.clocks["D"] = ClientCompleted, now+perhaps(r.reliable, 64*T1)
			return Forward | SendAck
		}
		r.state, r.clocks["K"] = ClientCompleted, now+perhaps(r.reliable, T4)
		return Forward
	case r.state == ClientCompleted && r.invite && code >= 300:
		return SendAck
	case r.state == ClientCompleted && r.invite && code >= 200, r.state == ClientAccepted && code/100 == 2:
		return Forward
	}
	return 0
}

func (r *refClient) letOut(now Time) Action {
	r.out, r.cancel = true, r.t1
	if !r.reliable {
		r.clocks["cancel"] = now + r.t1
	}
	return SendCancel
}

func (r *refClient) cancelIt(now Time) Action {
	if !r.invite || r.wanted || r.state > ClientProceeding {
		return 0
	}
	r.wanted = true
	if r.state == ClientProceeding {
		return r.letOut(now)
	}
	return 0
}

func (r *refClient) abandon(now Time) Action {
	if r.state > ClientProceeding {
		return 0
	}
	a := r.cancelIt(now)
	r.clocks.stop("A", "E", "again", "user")
	r.clocks["abandoned"] = now + 64*T1
	return a
}

func (r *refClient) lose(now Time) {
	if r.state > ClientProceeding {
		return
	}
	r.wanted = true
	r.clocks.stop("A", "E", "user", "cancel")
	if _, already := r.clocks["abandoned"]; !already {
		r.clocks["abandoned"] = now + 64*T1
	}
}

func (r *refClient) goOn(end Time) {
	if r.state <= ClientProceeding {
		r.clocks.stop("user")
		r.clocks["abandoned"] = end
	}
}

func (r *refClient) sendAgain(at Time) {
	if r.state <= ClientProceeding {
		r.clocks["again"] = at
	}
}

func (r *refClient) timer(now Time) (a Action) {
	for _, last := range []string{"D", "K", "M", "abandoned"} {
		if r.clocks.fired(last, now) {
			r.state, r.clocks = ClientTerminated, clocks{}
			return Terminate
		}
	}
	if r.clocks.fired("user", now) {
		a |= TimedOut
	}
	if r.clocks.fired("A", now) {
		r.a *= 2
		r.clocks["A"] = now + r.a
		a |= Resend
	}
	if r.clocks.fired("E", now) {
		if r.e *= 2; r.e > T2 {
			r.e = T2
		}
		r.clocks["E"] = now + r.e
		a |= Resend
	}
	if r.clocks.fired("again", now) {
		a |= Resend
	}
	if r.clocks.fired("cancel", now) {
		if r.cancel *= 2; r.cancel > T2 {
			r.cancel = T2
		}
		r.clocks["cancel"] = now + r.cancel
		a |= SendCancel
	}
	return a
}

// refServer is RFC 3261 figures 7 and 8 with RFC 6026 figure 1.
type refServer struct {
	state            ServerState
	invite, reliable bool
	g                Time
	clocks           clocks
}

func (r *refServer) respond(code int, now Time) {
	if r.state != Trying && r.state != Proceeding {
		return
	}
	switch {
	case code < 200:
		r.state = Proceeding
	case r.invite && code < 300:
		r.state, r.clocks["L"] = Accepted, now+64*T1
	case r.invite:
		r.state, r.clocks["H"] = Completed, now+64*T1
		if !r.reliable {
			r.g, r.clocks["G"] = T1, now+T1
		}
	default:
		r.state, r.clocks["J"] = Completed, now+perhaps(r.reliable, 64*T1)
	}
}

func (r *refServer) request() Action {
	if r.state == Proceeding || r.state == Completed {
		return Resend
	}
	return 0
}

func (r *refServer) ack(now Time) {
	if r.invite && r.state == Completed {
		r.state, r.clocks = Confirmed, clocks{"I": now + perhaps(r.reliable, T4)}
	}
}

func (r *refServer) timer(now Time) Action {
	for _, last := range []string{"H", "I", "J", "L"} {
		if r.clocks.fired(last, now) {
			r.state, r.clocks = Terminated, clocks{}
			if last == "H" {
				return TimedOut | Terminate
			}
			return Terminate
		}
	}
	if r.clocks.fired("G", now) {
		r.g = min(2*r.g, T2)
		r.clocks["G"] = now + r.g
		return Resend
	}
	return 0
}

var someCodes = []int{100, 180, 183, 199, 200, 202, 299, 300, 404, 408, 480, 486, 487, 503, 603, 699}

// pass is when the next event comes: now, soon, when a timer is due, or just off it.
func pass(dice *rand.Rand, now, due Time) Time {
	switch dice.IntN(4) {
	case 0:
		return now
	case 1:
		return now + dice.Int64N(3000)
	}
	if due == Never {
		return now + dice.Int64N(40000)
	}
	return max(now, due+dice.Int64N(3)-1)
}

// TestClientModel plays events in random order and at random times to a client transaction and to the reference.
func TestClientModel(t *testing.T) {
	for seed := range uint64(4000) {
		dice := rand.New(rand.NewPCG(seed, 1))
		invite, reliable := dice.IntN(3) > 0, dice.IntN(2) == 0
		t1, timeout := []Time{100, T1}[dice.IntN(2)], 1+dice.Int64N(40000)
		var c Client
		c.Start(invite, reliable, t1, timeout, 0)
		r := newRefClient(invite, reliable, t1, timeout, 0)
		log := fmt.Sprintf("seed %d: invite %v, reliable %v, T1 %d, timeout %d", seed, invite, reliable, t1, timeout)
		now := Time(0)
		for range 40 {
			now = pass(dice, now, c.Due())
			var got, want Action
			switch what := dice.IntN(12); {
			case what < 4:
				code := someCodes[dice.IntN(len(someCodes))]
				log += fmt.Sprintf("\n%6d: %d", now, code)
				got, want = c.Response(code, now), r.response(code, now)
			case what == 4:
				log += fmt.Sprintf("\n%6d: cancel", now)
				got, want = c.Cancel(now), r.cancelIt(now)
			case what == 5:
				log += fmt.Sprintf("\n%6d: CANCEL answered", now)
				c.CancelResponse()
				if r.out {
					r.clocks.stop("cancel")
				}
			case what == 6 && dice.IntN(4) == 0:
				log += fmt.Sprintf("\n%6d: abandon", now)
				got, want = c.Abandon(now), r.abandon(now)
			case what == 7 && dice.IntN(8) == 0 && invite:
				log += fmt.Sprintf("\n%6d: lose", now)
				c.Lose(now)
				r.lose(now)
			case what == 8 && dice.IntN(8) == 0 && !invite:
				end := now + dice.Int64N(40000)
				log += fmt.Sprintf("\n%6d: go on until %d", now, end)
				c.GoOn(end)
				r.goOn(end)
			case what == 9 && dice.IntN(4) == 0 && !invite && reliable:
				at := now + dice.Int64N(3000)
				log += fmt.Sprintf("\n%6d: again at %d", now, at)
				c.SendAgain(at)
				r.sendAgain(at)
			default:
				log += fmt.Sprintf("\n%6d: timer", now)
				got, want = c.Timer(now), r.timer(now)
			}
			if got != want || c.State != r.state || c.Due() != r.clocks.due() {
				t.Fatalf("%s\n%v, action %06b, due %d; want %v, %06b, %v", log, c.State, got, c.Due(), r.state, want, r.clocks)
			}
		}
	}
}

// TestServerModel is the same for a server transaction.
func TestServerModel(t *testing.T) {
	for seed := range uint64(4000) {
		dice := rand.New(rand.NewPCG(seed, 2))
		invite, reliable := dice.IntN(3) > 0, dice.IntN(2) == 0
		var s Server
		s.Start(invite, reliable)
		r := &refServer{state: Trying, invite: invite, reliable: reliable, clocks: clocks{}}
		log := fmt.Sprintf("seed %d: invite %v, reliable %v", seed, invite, reliable)
		now := Time(0)
		for range 40 {
			now = pass(dice, now, s.Due())
			var got, want Action
			switch what := dice.IntN(10); {
			case what < 3:
				code := someCodes[dice.IntN(len(someCodes))]
				log += fmt.Sprintf("\n%6d: %d", now, code)
				s.Respond(code, now)
				r.respond(code, now)
			case what == 3:
				log += fmt.Sprintf("\n%6d: request", now)
				got, want = s.Request(), r.request()
			case what == 4:
				log += fmt.Sprintf("\n%6d: ACK", now)
				s.Ack(now)
				r.ack(now)
			default:
				log += fmt.Sprintf("\n%6d: timer", now)
				got, want = s.Timer(now), r.timer(now)
			}
			if got != want || s.State != r.state || s.Due() != r.clocks.due() {
				t.Fatalf("%s\n%v, action %06b, due %d; want %v, %06b, %v", log, s.State, got, s.Due(), r.state, want, r.clocks)
			}
		}
	}
}
