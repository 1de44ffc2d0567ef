package transaction

// ClientState is a state of a client transaction.
type ClientState uint8

// The states of RFC 3261 17.1 and RFC 6026 7.2. Calling stands for the Trying of a non-INVITE, too.
const (
	ClientIdle ClientState = iota
	Calling
	ClientProceeding
	ClientCompleted
	ClientAccepted
	ClientTerminated
)

var clientStates = [...]string{"idle", "calling", "proceeding", "completed", "accepted", "terminated"}

// String is the state's name in lower case.
func (s ClientState) String() string { return clientStates[s] }

// Client is a client transaction, one branch of a forwarded request, with the CANCEL that may go after its INVITE. It is
// pure: times are given. How long to wait for an answer is the transaction user's to say (Start's timeout): what then
// happens to an INVITE is failover, not RFC 3261's timer B.
type Client struct {
	State     ClientState
	Invite    bool
	Reliable  bool
	cancel    bool // the transaction user wants it cancelled
	cancelled bool // the CANCEL is out and unanswered
	resendAt  Time // timers A and E, and SendAgain's; for a CANCEL that is out, its timer E
	interval  int32
	t1        int32
	endAt     Time // timers D, K, M
	TimeoutAt Time // when the transaction user gives up waiting for the final response
}

// Start begins the transaction with the request's sending; t1 is the first retransmission interval, timeout how long to
// wait before TimedOut.
func (c *Client) Start(invite, reliable bool, t1, timeout, now Time) {
	first := int32(min(t1, Lifetime)) // nothing is resent for longer
	*c = Client{State: Calling, Invite: invite, Reliable: reliable, t1: first, interval: first, resendAt: Never, endAt: Never, TimeoutAt: now + timeout}
	if !reliable {
		c.resendAt = now + t1
	}
}

// Answered reports whether any response has come.
func (c *Client) Answered() bool { return c.State >= ClientProceeding }

// Response is the arrival of a response to the request itself (CancelResponse is for the CANCEL's).
func (c *Client) Response(code int, now Time) Action {
	switch c.State {
	case Calling, ClientProceeding:
		if code < 200 {
			return c.provisional(now)
		}
		return c.final(code, now)
	case ClientCompleted:
		if c.Invite && code >= 300 {
			return SendAck // a retransmission: our ACK was lost
		}
		if c.Invite && code >= 200 {
			return Forward // a 2xx after a non-2xx: broken, but a session exists at the server
		}
	case ClientAccepted:
		if code >= 200 && code < 300 {
			return Forward // each retransmission of the 2xx goes to the user, who ACKs end to end (RFC 6026 7.2)
		}
	}
	return 0
}

func (c *Client) provisional(now Time) Action {
	c.State = ClientProceeding
	switch {
	case !c.Invite:
		c.interval = T2 // from the next retransmission on (17.1.2.2)
	case !c.cancelled: // else it is the CANCEL that is resent
		c.resendAt = Never
	}
	if c.cancel && !c.cancelled {
		return Forward | c.sendCancel(now)
	}
	return Forward
}

func (c *Client) final(code int, now Time) Action {
	c.resendAt, c.TimeoutAt, c.cancelled = Never, Never, false
	switch {
	case c.Invite && code < 300:
		c.State, c.endAt = ClientAccepted, now+Lifetime // timer M
		return Forward
	case c.Invite:
		c.State, c.endAt = ClientCompleted, now // timer D
		if !c.Reliable {
			c.endAt = now + Lifetime
		}
		return Forward | SendAck
	}
	c.State, c.endAt = ClientCompleted, now // timer K
	if !c.Reliable {
		c.endAt = now + T4
	}
	return Forward
}

// Cancel asks for the INVITE to be cancelled: at once when a provisional response is there, else as soon as one comes
// (9.1). The branch lives on for as long as an answer may still arrive.
func (c *Client) Cancel(now Time) Action {
	if !c.Invite || c.cancel || c.State > ClientProceeding {
		return 0
	}
	c.cancel = true
	if c.State == ClientProceeding {
		return c.sendCancel(now)
	}
	return 0
}

func (c *Client) sendCancel(now Time) Action {
	c.cancelled = true
	c.interval = c.t1
	c.resendAt = Never
	if !c.Reliable {
		c.resendAt = now + Time(c.t1)
	}
	return SendCancel
}

// CancelResponse is the arrival of the CANCEL's own final response.
func (c *Client) CancelResponse() {
	if c.cancelled {
		c.resendAt = Never
	}
}

// Abandon ends the waiting: nothing is resent but a CANCEL, no timeout is reported, and what still arrives within
// Lifetime is given to the transaction user.
func (c *Client) Abandon(now Time) Action {
	if c.State > ClientProceeding {
		return 0
	}
	a := c.Cancel(now)
	if !c.cancelled {
		c.resendAt = Never
	}
	c.TimeoutAt, c.endAt = Never, now+Lifetime
	return a
}

// GoOn is for a request whose user waits no more, but which the other side should still get: no timeout is reported, and it
// is sent again until end.
func (c *Client) GoOn(end Time) {
	if c.State <= ClientProceeding {
		c.TimeoutAt, c.endAt = Never, end
	}
}

// SendAgain has a request other than INVITE sent once more at that time: what carried it has failed, and over a stream nothing
// is resent by itself.
func (c *Client) SendAgain(at Time) {
	if !c.Invite && c.State <= ClientProceeding {
		c.resendAt = at
	}
}

// Fail ends the transaction at once: its transport did.
func (c *Client) Fail() {
	c.State, c.resendAt, c.TimeoutAt, c.endAt = ClientTerminated, Never, Never, Never
}

// Lose is the end of what carried an INVITE, without a final response: nothing more is sent by itself and no timeout is
// reported, but the INVITE may have arrived. What comes on another way within Lifetime is given to the transaction user,
// and a provisional response is answered with a CANCEL.
func (c *Client) Lose(now Time) {
	if c.State > ClientProceeding {
		return
	}
	c.cancel = true
	c.resendAt, c.TimeoutAt, c.endAt = Never, Never, min(c.endAt, now+Lifetime)
}

// Done reports whether the transaction is over or never began.
func (c *Client) Done() bool { return c.State == ClientTerminated || c.State == ClientIdle }

// Due is when Timer wants to be called next.
func (c *Client) Due() Time { return min(c.resendAt, c.endAt, c.TimeoutAt) }

// Timer does what is due at now.
func (c *Client) Timer(now Time) Action {
	if now >= c.endAt {
		c.State, c.resendAt, c.TimeoutAt, c.endAt = ClientTerminated, Never, Never, Never
		return Terminate
	}
	var a Action
	if now >= c.TimeoutAt {
		c.TimeoutAt = Never // the user starts it again, abandons, or fails it
		a |= TimedOut
	}
	if now >= c.resendAt {
		c.interval *= 2
		if !c.Invite || c.cancelled {
			c.interval = min(c.interval, T2)
		}
		c.resendAt = now + Time(c.interval)
		if c.Reliable {
			c.resendAt = Never
		}
		if c.cancelled {
			a |= SendCancel
		} else {
			a |= Resend
		}
	}
	return a
}
