package transaction

import (
	"strconv"
	"testing"
)

// The client's transition table (RFC 3261 figures 5 and 6, RFC 6026 figure 2): each state is reached at t = 0 and meets one
// event at t = 7. The first interval is 100 ms, the timeout 60 s.
const (
	t1      = 100
	timeout = 60000
	at      = 7
	late    = at + Lifetime
)

// clientIn brings a client into a state. Beyond the machine's own there are: cancelling, a CANCEL is wanted and may not go
// yet; cancelled, it is out; and the two abandoned ones, without and with a provisional response.
func clientIn(state string, invite, reliable bool) *Client {
	c := &Client{}
	if state == "idle" {
		return c
	}
	c.Start(invite, reliable, t1, timeout, 0)
	final := 200
	if invite {
		final = 486
	}
	switch state {
	case "cancelling":
		c.Cancel(0)
	case "proceeding":
		c.Response(180, 0)
	case "cancelled":
		c.Response(180, 0)
		c.Cancel(0)
	case "completed":
		c.Response(final, 0)
	case "accepted":
		c.Response(200, 0)
	case "abandoned":
		c.Abandon(0)
	case "abandoned after 1xx":
		c.Response(100, 0)
		c.Abandon(0)
	case "terminated":
		c.Fail()
	}
	return c
}

// play gives one event to the machine; a number is a response.
func (c *Client) play(event string) Action {
	if code, err := strconv.Atoi(event); err == nil {
		return c.Response(code, at)
	}
	switch event {
	case "cancel":
		return c.Cancel(at)
	case "cancel answered":
		c.CancelResponse()
	case "abandon":
		return c.Abandon(at)
	case "fail":
		c.Fail()
	case "timer D", "timer K", "timer M":
		return c.Timer(c.Due())
	default:
		panic(event)
	}
	return 0
}

type clientStep struct {
	event    string
	state    ClientState
	act      Action
	udp, tcp Time // what is due next
}

type clientTable struct {
	state string
	steps []clientStep
}

func testClient(t *testing.T, invite bool, table []clientTable) {
	for _, c := range table {
		for _, s := range c.steps {
			t.Run(c.state+"/"+s.event, func(t *testing.T) {
				for _, reliable := range []bool{false, true} {
					due := s.udp
					if reliable {
						due = s.tcp
					}
					m := clientIn(c.state, invite, reliable)
					act := m.play(s.event)
					if m.State != s.state || act != s.act || m.Due() != due {
						t.Errorf("reliable %v: %v, action %06b, due %d; want %v, %06b, %d", reliable, m.State, act, m.Due(), s.state, s.act, due)
					}
					if m.Done() != (m.State == ClientTerminated || m.State == ClientIdle) || m.Answered() != (m.State >= ClientProceeding) {
						t.Errorf("done %v, answered %v in %v", m.Done(), m.Answered(), m.State)
					}
				}
			})
		}
	}
}

// TestClientInvite is RFC 3261 17.1.1.2 with RFC 6026 7.2. Timer B is the user's timeout.
func TestClientInvite(t *testing.T) {
	testClient(t, true, []clientTable{
		{"calling", []clientStep{
			{"100", ClientProceeding, Forward, timeout, timeout}, // timer A stops
			{"199", ClientProceeding, Forward, timeout, timeout},
			{"200", ClientAccepted, Forward, late, late}, // timer M
			{"299", ClientAccepted, Forward, late, late},
			{"300", ClientCompleted, Forward | SendAck, late, at}, // timer D, 0 over a reliable transport
			{"699", ClientCompleted, Forward | SendAck, late, at},
			{"cancel", Calling, 0, t1, timeout}, // not before a provisional (9.1)
			{"cancel answered", Calling, 0, t1, timeout},
			{"abandon", Calling, 0, late, late}, // nothing is resent, no timeout reported
			{"fail", ClientTerminated, 0, Never, Never},
		}},
		{"cancelling", []clientStep{
			{"100", ClientProceeding, Forward | SendCancel, at + t1, timeout}, // now it may go (9.1)
			{"200", ClientAccepted, Forward, late, late},                      // too late for a CANCEL
			{"486", ClientCompleted, Forward | SendAck, late, at},
			{"cancel", Calling, 0, t1, timeout},
			{"cancel answered", Calling, 0, t1, timeout},
			{"abandon", Calling, 0, late, late},
		}},
		{"proceeding", []clientStep{
			{"180", ClientProceeding, Forward, timeout, timeout},
			{"200", ClientAccepted, Forward, late, late},
			{"500", ClientCompleted, Forward | SendAck, late, at},
			{"cancel", ClientProceeding, SendCancel, at + t1, timeout},
			{"cancel answered", ClientProceeding, 0, timeout, timeout},
			{"abandon", ClientProceeding, SendCancel, at + t1, late},
			{"fail", ClientTerminated, 0, Never, Never},
		}},
		{"cancelled", []clientStep{
			{"180", ClientProceeding, Forward, t1, timeout}, // the CANCEL goes on being resent
			{"200", ClientAccepted, Forward, late, late},    // they crossed
			{"487", ClientCompleted, Forward | SendAck, late, at},
			{"cancel", ClientProceeding, 0, t1, timeout}, // once
			{"cancel answered", ClientProceeding, 0, timeout, timeout},
			{"abandon", ClientProceeding, 0, t1, late},
			{"fail", ClientTerminated, 0, Never, Never},
		}},
		{"abandoned", []clientStep{
			{"100", ClientProceeding, Forward | SendCancel, at + t1, Lifetime},
			{"200", ClientAccepted, Forward, late, late}, // the user ends that session
			{"503", ClientCompleted, Forward | SendAck, late, at},
			{"cancel", Calling, 0, Lifetime, Lifetime},
			{"cancel answered", Calling, 0, Lifetime, Lifetime},
		}},
		{"abandoned after 1xx", []clientStep{
			{"180", ClientProceeding, Forward, t1, Lifetime},
			{"200", ClientAccepted, Forward, late, late},
			{"487", ClientCompleted, Forward | SendAck, late, at},
			{"cancel", ClientProceeding, 0, t1, Lifetime},
			{"cancel answered", ClientProceeding, 0, Lifetime, Lifetime},
		}},
		{"completed", []clientStep{
			{"180", ClientCompleted, 0, Lifetime, 0},
			{"200", ClientCompleted, Forward, Lifetime, 0}, // against the rules, but the server has a session that must end
			{"486", ClientCompleted, SendAck, Lifetime, 0}, // the ACK was lost; not to the user
			{"603", ClientCompleted, SendAck, Lifetime, 0},
			{"cancel", ClientCompleted, 0, Lifetime, 0}, // 9.1: no effect behind a final response
			{"cancel answered", ClientCompleted, 0, Lifetime, 0},
			{"abandon", ClientCompleted, 0, Lifetime, 0},
			{"timer D", ClientTerminated, Terminate, Never, Never},
			{"fail", ClientTerminated, 0, Never, Never},
		}},
		{"accepted", []clientStep{
			{"180", ClientAccepted, 0, Lifetime, Lifetime},
			{"200", ClientAccepted, Forward, Lifetime, Lifetime}, // each goes to the user
			{"299", ClientAccepted, Forward, Lifetime, Lifetime},
			{"486", ClientAccepted, 0, Lifetime, Lifetime},
			{"cancel", ClientAccepted, 0, Lifetime, Lifetime},
			{"cancel answered", ClientAccepted, 0, Lifetime, Lifetime},
			{"abandon", ClientAccepted, 0, Lifetime, Lifetime},
			{"timer M", ClientTerminated, Terminate, Never, Never},
			{"fail", ClientTerminated, 0, Never, Never},
		}},
		{"terminated", []clientStep{
			{"100", ClientTerminated, 0, Never, Never},
			{"200", ClientTerminated, 0, Never, Never},
			{"486", ClientTerminated, 0, Never, Never},
			{"cancel", ClientTerminated, 0, Never, Never},
			{"abandon", ClientTerminated, 0, Never, Never},
		}},
	})
	testClient(t, false, []clientTable{{"idle", []clientStep{{"100", ClientIdle, 0, 0, 0}, {"200", ClientIdle, 0, 0, 0}, {"cancel", ClientIdle, 0, 0, 0}}}})
}

// TestClientNonInvite is RFC 3261 17.1.2.2. Timer F is the user's timeout.
func TestClientNonInvite(t *testing.T) {
	testClient(t, false, []clientTable{
		{"calling", []clientStep{
			{"100", ClientProceeding, Forward, t1, timeout}, // timer E runs on; T2 counts from its next firing
			{"200", ClientCompleted, Forward, at + T4, at},  // timer K, 0 over a reliable transport
			{"481", ClientCompleted, Forward, at + T4, at},  // no ACK
			{"cancel", Calling, 0, t1, timeout},             // 9.1: only an INVITE is cancelled
			{"abandon", Calling, 0, late, late},
			{"fail", ClientTerminated, 0, Never, Never},
		}},
		{"proceeding", []clientStep{
			{"100", ClientProceeding, Forward, t1, timeout},
			{"200", ClientCompleted, Forward, at + T4, at},
			{"408", ClientCompleted, Forward, at + T4, at},
			{"cancel", ClientProceeding, 0, t1, timeout},
			{"abandon", ClientProceeding, 0, late, late},
			{"fail", ClientTerminated, 0, Never, Never},
		}},
		{"abandoned", []clientStep{
			{"100", ClientProceeding, Forward, Lifetime, Lifetime}, // it does not start again
			{"200", ClientCompleted, Forward, at + T4, at},
			{"cancel", Calling, 0, Lifetime, Lifetime},
		}},
		{"completed", []clientStep{
			{"100", ClientCompleted, 0, T4, 0},
			{"200", ClientCompleted, 0, T4, 0}, // a retransmission
			{"500", ClientCompleted, 0, T4, 0},
			{"cancel", ClientCompleted, 0, T4, 0},
			{"abandon", ClientCompleted, 0, T4, 0},
			{"timer K", ClientTerminated, Terminate, Never, Never},
			{"fail", ClientTerminated, 0, Never, Never},
		}},
		{"terminated", []clientStep{
			{"100", ClientTerminated, 0, Never, Never},
			{"200", ClientTerminated, 0, Never, Never},
			{"abandon", ClientTerminated, 0, Never, Never},
		}},
	})
}
