package transaction

import (
	"strconv"
	"testing"
)

// serverIn brings a server into a state at t = 0.
func serverIn(state ServerState, invite, reliable bool) *Server {
	s := &Server{}
	if state == ServerNone {
		return s
	}
	s.Start(invite, reliable)
	switch state {
	case Proceeding:
		s.Respond(100, 0)
	case Completed:
		s.Respond(486, 0)
	case Confirmed:
		s.Respond(486, 0)
		s.Ack(0)
	case Accepted:
		s.Respond(200, 0)
	case Terminated:
		s.Respond(200, 0)
		s.Timer(Never)
	}
	return s
}

type serverStep struct {
	event    string // a number is a response of the user's
	state    ServerState
	act      Action
	udp, tcp Time // what is due next
}

func testServer(t *testing.T, invite bool, table map[ServerState][]serverStep) {
	for state, steps := range table {
		for _, c := range steps {
			t.Run(state.String()+"/"+c.event, func(t *testing.T) {
				for _, reliable := range []bool{false, true} {
					due := c.udp
					if reliable {
						due = c.tcp
					}
					s := serverIn(state, invite, reliable)
					if s.State != state {
						t.Fatalf("it is %v", s.State)
					}
					var act Action
					switch code, err := strconv.Atoi(c.event); {
					case err == nil:
						s.Respond(code, at)
					case c.event == "request":
						act = s.Request()
					case c.event == "ack":
						s.Ack(at)
					case c.event == "end":
						act = s.Timer(Never - 1)
					default:
						t.Fatal(c.event)
					}
					if s.State != c.state || act != c.act || s.Due() != due {
						t.Errorf("reliable %v: %v, action %06b, due %d; want %v, %06b, %d", reliable, s.State, act, s.Due(), c.state, c.act, due)
					}
					if s.Final() != (s.State >= Completed) {
						t.Errorf("final %v in %v", s.Final(), s.State)
					}
				}
			})
		}
	}
}

// TestServerInvite is RFC 3261 17.2.1 with RFC 6026 7.1.
func TestServerInvite(t *testing.T) {
	testServer(t, true, map[ServerState][]serverStep{
		Trying: {
			{"request", Trying, 0, Never, Never}, // there is nothing to send yet
			{"ack", Trying, 0, Never, Never},
			{"100", Proceeding, 0, Never, Never},
			{"199", Proceeding, 0, Never, Never},
			{"200", Accepted, 0, late, late},     // timer L
			{"299", Accepted, 0, late, late},     //
			{"300", Completed, 0, at + T1, late}, // timers G and H
			{"699", Completed, 0, at + T1, late}, //
			{"end", Trying, 0, Never, Never},     // it has no timer
		},
		Proceeding: {
			{"request", Proceeding, Resend, Never, Never},
			{"ack", Proceeding, 0, Never, Never},
			{"180", Proceeding, 0, Never, Never},
			{"200", Accepted, 0, late, late},
			{"486", Completed, 0, at + T1, late},
		},
		Completed: {
			{"request", Completed, Resend, T1, Lifetime},
			{"ack", Confirmed, 0, at + T4, at}, // timer I, 0 over a reliable transport
			{"180", Completed, 0, T1, Lifetime},
			{"200", Completed, 0, T1, Lifetime},
			{"500", Completed, 0, T1, Lifetime},                     // 17.2.1: any other final is dropped
			{"end", Terminated, TimedOut | Terminate, Never, Never}, // timer H: no ACK
		},
		Confirmed: {
			{"request", Confirmed, 0, T4, 0}, // absorbed
			{"ack", Confirmed, 0, T4, 0},
			{"200", Confirmed, 0, T4, 0},
			{"500", Confirmed, 0, T4, 0},
			{"end", Terminated, Terminate, Never, Never}, // timer I
		},
		Accepted: {
			{"request", Accepted, 0, Lifetime, Lifetime}, // RFC 6026 7.1: absorbed, the server resends its 2xx
			{"ack", Accepted, 0, Lifetime, Lifetime},     // the user's
			{"180", Accepted, 0, Lifetime, Lifetime},
			{"200", Accepted, 0, Lifetime, Lifetime}, // a retransmission passes, timer L does not start again
			{"486", Accepted, 0, Lifetime, Lifetime},
			{"end", Terminated, Terminate, Never, Never}, // timer L
		},
		Terminated: {
			{"request", Terminated, 0, Never, Never},
			{"ack", Terminated, 0, Never, Never},
			{"200", Terminated, 0, Never, Never},
			{"end", Terminated, 0, Never, Never},
		},
		ServerNone: {
			{"request", ServerNone, 0, Never, Never},
			{"ack", ServerNone, 0, Never, Never},
		},
	})
}

// TestServerNonInvite is RFC 3261 17.2.2.
func TestServerNonInvite(t *testing.T) {
	testServer(t, false, map[ServerState][]serverStep{
		Trying: {
			{"request", Trying, 0, Never, Never},
			{"100", Proceeding, 0, Never, Never},
			{"200", Completed, 0, late, at}, // timer J, 0 over a reliable transport
			{"481", Completed, 0, late, at},
			{"ack", Trying, 0, Never, Never},
		},
		Proceeding: {
			{"request", Proceeding, Resend, Never, Never},
			{"180", Proceeding, 0, Never, Never},
			{"200", Completed, 0, late, at},
		},
		Completed: {
			{"request", Completed, Resend, Lifetime, 0},
			{"ack", Completed, 0, Lifetime, 0},
			{"200", Completed, 0, Lifetime, 0},
			{"500", Completed, 0, Lifetime, 0},
			{"end", Terminated, Terminate, Never, Never},
		},
		Terminated: {
			{"request", Terminated, 0, Never, Never},
			{"200", Terminated, 0, Never, Never},
		},
	})
}

// TestNames: each state has a name of its own, as logs spell it.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for s := ServerNone; s <= Terminated; s++ {
		seen["server "+s.String()] = true
	}
	for s := ClientIdle; s <= ClientTerminated; s++ {
		seen["client "+s.String()] = true
	}
	if len(seen) != len(serverStates)+len(clientStates) {
		t.Errorf("%v", seen)
	}
	if a := Resend | TimedOut; !a.Has(Resend) || !a.Has(Resend|TimedOut) || a.Has(Resend|Forward) || a.Has(Forward) {
		t.Error("Has")
	}
}
