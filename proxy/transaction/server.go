package transaction

// ServerState is a state of a server transaction.
type ServerState uint8

// The states of RFC 3261 17.2 and RFC 6026 7.1.
const (
	ServerNone ServerState = iota // there is no server half: we made the request
	Trying
	Proceeding
	Completed
	Confirmed
	Accepted
	Terminated
)

var serverStates = [...]string{"none", "trying", "proceeding", "completed", "confirmed", "accepted", "terminated"}

// String is the state's name in lower case.
func (s ServerState) String() string { return serverStates[s] }

// Server is a server transaction: pure, times are given.
type Server struct {
	State    ServerState
	Invite   bool
	Reliable bool // the request came over a reliable transport: nothing is resent
	interval int32
	resendAt Time
	endAt    Time
}

// Start begins the transaction with the request's arrival.
func (s *Server) Start(invite, reliable bool) {
	*s = Server{State: Trying, Invite: invite, Reliable: reliable, resendAt: Never, endAt: Never}
}

// Request is a retransmission of the request: it is answered with the last response, if there was one (17.2.1, 17.2.2).
func (s *Server) Request() Action {
	if s.State == Proceeding || s.State == Completed {
		return Resend
	}
	return 0
}

// Respond is a response of the transaction user's being sent. Further final responses in Accepted are retransmissions of
// the 2xx, or 2xx of a fork, and pass (RFC 6026 7.1).
func (s *Server) Respond(code int, now Time) {
	switch {
	case s.State >= Completed:
	case code < 200:
		s.State = Proceeding
	case s.Invite && code < 300:
		s.State, s.endAt = Accepted, now+Lifetime // timer L
	case s.Invite:
		s.State, s.endAt = Completed, now+Lifetime // timer H
		if !s.Reliable {
			s.interval, s.resendAt = T1, now+T1 // timer G
		}
	default:
		s.State, s.endAt = Completed, now // timer J
		if !s.Reliable {
			s.endAt = now + Lifetime
		}
	}
}

// Ack is the arrival of the ACK to a non-2xx final response.
func (s *Server) Ack(now Time) {
	if s.State != Completed || !s.Invite {
		return
	}
	s.State, s.resendAt, s.endAt = Confirmed, Never, now // timer I
	if !s.Reliable {
		s.endAt = now + T4
	}
}

// Final reports whether a final response has been sent.
func (s *Server) Final() bool { return s.State >= Completed }

// Due is when Timer wants to be called next.
func (s *Server) Due() Time {
	if s.State == ServerNone {
		return Never
	}
	return min(s.resendAt, s.endAt)
}

// Timer does what is due at now.
func (s *Server) Timer(now Time) Action {
	var a Action
	if now >= s.endAt {
		if s.State == Completed && s.Invite {
			a |= TimedOut // timer H: the ACK never came
		}
		s.State, s.resendAt, s.endAt = Terminated, Never, Never
		return a | Terminate
	}
	if now >= s.resendAt {
		s.interval = min(2*s.interval, T2)
		s.resendAt = now + Time(s.interval)
		a |= Resend
	}
	return a
}
