package probe

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"regexp"
	"time"

	"mrcproxy/internal/mrcp"
)

// Deep is a session that a server is asked to serve.
type Deep struct {
	Resource string // mrcp.SpeechRecog or mrcp.SpeechSynth
	Method   string // mrcp.GetParams, Recognize or Speak
	// Of a recognition: what is said, in which grammar, what must come of it (nil: anything), with what confidence at least, 0
	// to 1.
	Audio      *Audio
	Grammar    string
	Expect     *regexp.Regexp
	Confidence float64
	// Text is what is to be spoken.
	Text string
	// Language is the Speech-Language; "" leaves it to the server.
	Language string
}

// Caller places sessions by the sockets and transport that calls use.
type Caller interface {
	// Local is the address that calls to a server leave from; invalid where any does.
	Local(d Dest) netip.Addr
	// Invite offers sdp to a server, and waits until ctx ends for the final answer. An error whose Timeout method is true says
	// that there was none. What comes of an INVITE that was given up is the Caller's to end.
	Invite(ctx context.Context, d Dest, sdp []byte) (Dialog, error)
}

// Dialog is an answered INVITE.
type Dialog interface {
	// Answer is the status code, and the SDP of a 200.
	Answer() (code int, sdp []byte)
	// Bye ends the session, if there is one, and waits for the answer until ctx ends.
	Bye(ctx context.Context) (code int, err error)
}

// Report is how a deep probe went.
type Report struct {
	Failure Failure
	Detail  string // for people; "" when all went well
	Code    int    // of the INVITE's final answer; 0 when there was none
	// Took is how long each step took; 0 for one that was not come to.
	Took       [Steps]time.Duration
	Result     string  // what was recognised
	Confidence float64 // of it, 0 to 1
	Packets    int     // of RTP that came
}

// byeTimeout is how long an answer to BYE is waited for, beyond the time of the probe if need be.
const byeTimeout = 2 * time.Second

// Session asks a server for a real session: INVITE, the MRCP connection, one method, BYE. The BYE is sent however the rest
// went.
type Session struct {
	Caller Caller
	// Trace, when not nil, is told what is sent and received of SDP and MRCP.
	Trace func(what, text string)
}

func (s Session) trace(what, text string) {
	if s.Trace != nil {
		s.Trace(what, text)
	}
}

// Probe makes one session, and returns when it is over: soon after ctx at the latest.
func (s Session) Probe(ctx context.Context, dest Dest, d *Deep) Report {
	r := &Report{}
	if err := s.run(ctx, r, dest, d); err != nil {
		var f failed
		if !errors.As(err, &f) {
			f = failed{Local, err.Error()}
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			f = failed{Cancelled, "cancelled"}
		}
		r.Failure, r.Detail = f.why, f.detail
	}
	return *r
}

func (s Session) run(ctx context.Context, r *Report, dest Dest, d *Deep) (err error) {
	local, err := s.local(dest)
	if err != nil {
		return err
	}
	m, err := openMedia(local)
	if err != nil {
		return err
	}
	defer m.conn.Close()
	sdp, err := offer(local, m.port(), d.Resource, rand.Uint64()>>2)
	if err != nil {
		return err
	}
	s.trace("SDP offer", string(sdp))
	var dialog Dialog
	if err := r.step(StepSIP, func() (err error) {
		dialog, err = s.invite(ctx, r, dest, sdp)
		return err
	}); err != nil {
		return err
	}
	var ch *channel
	defer func() { // after the BYE: UniMRCP ends a session whose connection closes by a BYE of its own
		if ch != nil {
			_ = ch.conn.Close()
		}
	}()
	defer func() {
		byeErr := r.step(StepBye, func() error { return bye(ctx, dialog) })
		if err == nil {
			err = byeErr
		}
	}()
	_, body := dialog.Answer()
	s.trace("SDP answer", string(body))
	a, err := parseAnswer(body, d.Method != mrcp.GetParams)
	if err != nil {
		return failed{BadAnswer, err.Error()}
	}
	m.remote, m.payload = a.audio, a.payload
	if err := r.step(StepConnect, func() (err error) {
		if ch, err = connect(ctx, local, a); err == nil {
			ch.trace = s.trace
		}
		return err
	}); err != nil {
		return err
	}
	return r.step(StepMethod, func() error { return d.do(ctx, r, ch, m) })
}

// step times a part.
func (r *Report) step(s Step, f func() error) error {
	start := time.Now()
	err := f()
	r.Took[s] = time.Since(start)
	return err
}

// local is our own address towards the server.
func (s Session) local(dest Dest) (netip.Addr, error) {
	if a := s.Caller.Local(dest); a.IsValid() {
		return a, nil
	}
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(dest.Addr)) // nothing is sent
	if err != nil {
		return netip.Addr{}, err
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), nil
}

func (s Session) invite(ctx context.Context, r *Report, dest Dest, sdp []byte) (Dialog, error) {
	dialog, err := s.Caller.Invite(ctx, dest, sdp)
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return nil, failure(Unanswered, "INVITE not answered: %s", shortly(err))
	case err != nil:
		return nil, failure(Unreachable, "INVITE: %s", shortly(err))
	}
	r.Code, _ = dialog.Answer()
	switch {
	case r.Code == 406 || r.Code == 480 || r.Code == 486 || r.Code == 503:
		return nil, failure(Refused, "INVITE answered %d", r.Code)
	case r.Code >= 300:
		return nil, failure(Rejected, "INVITE answered %d", r.Code)
	}
	return dialog, nil
}

// bye ends the session also when ctx has ended.
func bye(ctx context.Context, dialog Dialog) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), byeTimeout)
	defer cancel()
	if _, err := dialog.Bye(ctx); err != nil {
		return failure(ByeUnanswered, "BYE: %s", shortly(err))
	}
	return nil
}
