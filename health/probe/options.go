// Package probe holds the ways to ask a server whether it works: by OPTIONS (Options), and by a session with an MRCP channel
// and audio (Session). A prober names what a server answered; it keeps no state between probes and schedules nothing. SIP
// goes out by a sender it is given; the sockets of a session's MRCP and RTP are its own, and closed when it returns.
package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"mrcproxy/health"
)

// Dest is where a probe goes.
type Dest struct {
	// URI is the server's SIP URI as configured.
	URI string
	// Network is "udp" or "tcp".
	Network string
	Addr    netip.AddrPort
}

// Info is the Info of a health.Target that is probed by Options.
type Info struct {
	Dest Dest
	// Up says which status codes show that the server works; nil leaves it to Options.UpCodes.
	Up func(code int) bool
}

// Sender sends one OPTIONS (RFC 3261 11) to a server by the same socket and transport as calls, and waits for its
// final answer until ctx ends. The code is the answer's status; err says that there was none.
type Sender interface {
	Options(ctx context.Context, d Dest) (code int, err error)
}

// Options probes with a SIP OPTIONS request outside of any dialog. It needs a target whose Info is an Info.
type Options struct {
	Sender Sender
	// UpCodes says which status codes show that the server works, where the target's Info does not; nil means AnyAnswer.
	UpCodes func(t health.Target, code int) bool
}

var _ health.Prober = Options{}

// AnyAnswer takes any final answer as a sign of life except 408 and 5xx: many servers refuse OPTIONS and are well.
func AnyAnswer(code int) bool {
	return code >= 200 && code != 408 && (code < 500 || code > 599)
}

// Probe implements health.Prober. A 503 means draining, whatever codes are accepted.
func (o Options) Probe(ctx context.Context, t health.Target) health.Result {
	info, ok := t.Info.(Info)
	if !ok {
		return health.Result{Reason: fmt.Sprintf("nowhere to send OPTIONS: target info is %T", t.Info)}
	}
	code, err := o.Sender.Options(ctx, info.Dest)
	res := health.Result{Code: code}
	switch {
	case err != nil:
		res.Code, res.Reason = 0, reason(err)
	case code == 503:
		res.Draining, res.Reason = true, "OPTIONS answered 503"
	case o.up(t, info, code):
		res.OK = true
	default:
		res.Reason = fmt.Sprintf("OPTIONS answered %d", code)
	}
	return res
}

func (o Options) up(t health.Target, info Info, code int) bool {
	switch {
	case info.Up != nil:
		return info.Up(code)
	case o.UpCodes != nil:
		return o.UpCodes(t, code)
	}
	return AnyAnswer(code)
}

// reason says in few words why there was no answer; addresses are left out, as the target is known.
func reason(err error) string {
	var errno syscall.Errno
	var op *net.OpError
	var timeout net.Error
	switch {
	case errors.As(err, &errno) && !errno.Timeout():
		return errno.Error() // "connection refused", "no route to host"
	case errors.As(err, &op) && op.Op == "dial" && op.Timeout():
		return "connection timed out"
	case errors.Is(err, context.Canceled):
		return "OPTIONS cancelled"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "OPTIONS unanswered"
	}
	return "OPTIONS failed: " + err.Error()
}
