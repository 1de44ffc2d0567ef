package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"

	"mrcproxy/internal/mrcp"
)

// failed is a Failure with its detail, as an error.
type failed struct {
	why    Failure
	detail string
}

func (f failed) Error() string { return f.detail }

func failure(why Failure, format string, args ...any) error {
	return failed{why, fmt.Sprintf(format, args...)}
}

// channel is the client's end of one MRCP control channel on a connection of its own (RFC 6787 4.2).
type channel struct {
	conn net.Conn
	in   *mrcp.Reader
	id   string // the channel identifier
	last uint32 // request-id

	trace func(what, text string)
}

// connect opens the connection to where the answer says that MRCP is served.
func connect(ctx context.Context, local netip.Addr, a answer) (*channel, error) {
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))}
	conn, err := dialer.DialContext(ctx, "tcp", a.control.String())
	var timeout interface{ Timeout() bool }
	switch {
	case err == nil:
		return &channel{conn: conn, in: mrcp.NewReader(conn), id: a.channel}, nil
	case ctx.Err() != nil || errors.As(err, &timeout) && timeout.Timeout():
		return nil, failure(ChannelTimeout, "MRCP connection to %s timed out", a.control)
	}
	return nil, failure(ChannelRefused, "MRCP connection to %s: %s", a.control, shortly(err))
}

// shortly is the system's own words for an error, where it has any.
func shortly(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}

// do sends a request and waits for its completion: the event of that name, or where that is "" the response. begun, which
// may be nil, is called when the request is in progress.
func (c *channel) do(ctx context.Context, method, completion string, fields mrcp.Header, body string, begun func()) (*mrcp.Message, error) {
	defer context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })()
	c.last++
	m := mrcp.Message{Kind: mrcp.Request, Name: method, RequestID: c.last, Body: []byte(body)}
	m.Header = append(mrcp.Header{{Name: mrcp.ChannelIdentifier, Value: c.id}}, fields...)
	b, err := m.Append(nil)
	if err != nil {
		return nil, failure(Local, "%s cannot be written: %v", method, err)
	}
	c.trace("MRCP sent", string(b))
	if _, err := c.conn.Write(b); err != nil {
		return nil, c.broken(ctx, err, MethodUnanswered, method)
	}
	waiting := MethodUnanswered
	for {
		m, err := c.in.Read()
		if err != nil {
			return nil, c.broken(ctx, err, waiting, method)
		}
		if text, err := m.Append(nil); err == nil {
			c.trace("MRCP received", string(text))
		}
		switch {
		case m.RequestID != c.last:
		case m.Kind == mrcp.Response && m.Status >= 300:
			return nil, failure(MethodFailed, "%s answered %d %s", method, m.Status, mrcp.StatusText(m.Status))
		case m.Kind == mrcp.Response && completion == "":
			return m, nil
		case m.Kind == mrcp.Response && m.State == mrcp.Complete:
			return nil, failure(NotCompleted, "%s was answered %d COMPLETE without %s", method, m.Status, completion)
		case m.Kind == mrcp.Response:
			waiting = NotCompleted
			if m.State == mrcp.InProgress && begun != nil {
				begun()
			}
		case m.Kind == mrcp.Event && m.Name == completion:
			return m, nil
		}
	}
}

// broken says why no message came; silence is what it is when nothing else is wrong.
func (c *channel) broken(ctx context.Context, err error, silence Failure, method string) error {
	var netErr net.Error
	switch {
	case ctx.Err() != nil || errors.As(err, &netErr) && netErr.Timeout():
		what := "not answered"
		if silence == NotCompleted {
			what = "not completed"
		}
		return failure(silence, "%s %s in time", method, what)
	case errors.Is(err, mrcp.ErrSyntax) || errors.Is(err, mrcp.ErrTooLong):
		return failure(BadMRCP, "in answer to %s: %v", method, err)
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return failure(ChannelLost, "the server closed the MRCP connection during %s", method)
	}
	return failure(ChannelLost, "MRCP connection during %s: %s", method, shortly(err))
}
