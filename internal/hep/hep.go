// Package hep sends every SIP message to a capture server such as Homer, as HEPv3 over UDP or TCP. It owns the connection to that
// server and what waits for it. It makes no caller wait: while the server is slow or gone, messages are dropped and counted.
package hep

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"mrcproxy/internal/latest"
	"mrcproxy/internal/trace"
)

const (
	maxWaiting   = 16384            // messages
	maxBytes     = 16 << 20         // of them
	dialTimeout  = 5 * time.Second  // of a connection, its name's look-up included
	writeTimeout = 5 * time.Second  // that the server may take nothing for
	firstBackOff = time.Second      // from a failure to the next attempt; doubled each time
	lastBackOff  = 30 * time.Second // at most
	dialAgain    = time.Minute      // by UDP, whose server may have another address by then
	sayAgain     = 30 * time.Second // that it still fails
	endTimeout   = 5 * time.Second  // of what still waits at the end
)

// Target is where messages go to. The zero Target is nowhere.
type Target struct {
	Network  string // udp or tcp
	Address  string // host:port
	ID       uint32 // of this capture agent
	Password string // the server's authentication key; "" for none
}

// Stats are counts since New.
type Stats struct {
	Sent    uint64 // messages
	Dropped uint64 // messages that were not sent
	Errors  uint64 // times that the server could not be reached or written to
}

// Exporter sends messages while it has a Target. All methods are safe for concurrent use.
type Exporter struct {
	hub     *trace.Hub
	log     *zap.Logger
	backOff time.Duration // the first
	target  *latest.Value[Target]

	sent, dropped, errors atomic.Uint64

	// Of Run's goroutine.
	buf     []byte    // the message being sent
	held    bool      // it is to be sent still
	said    time.Time // when a failure was logged
	failed  time.Time // when one was last
	failing bool
}

// New makes an Exporter of what the hub shows, without a Target.
func New(hub *trace.Hub, log *zap.Logger) *Exporter {
	return &Exporter{hub: hub, log: log, backOff: firstBackOff, target: latest.New[Target]()}
}

// Use has messages from now on go to t.
func (e *Exporter) Use(t Target) { e.target.Set(t) }

// Stats are the counts so far.
func (e *Exporter) Stats() Stats {
	return Stats{Sent: e.sent.Load(), Dropped: e.dropped.Load(), Errors: e.errors.Load()}
}

// Run sends until ctx ends, and then what still waits, as long as the server takes it.
func (e *Exporter) Run(ctx context.Context) error {
	for {
		t := e.target.Get()
		if t == (Target{}) {
			select {
			case <-ctx.Done():
				return nil
			case <-e.target.Changed():
			}
			continue
		}
		w := e.hub.Watch(trace.Filter{}, maxWaiting, maxBytes)
		e.serve(ctx, t, w)
		w.Close()
		e.dropped.Add(uint64(len(w.C())))
		if ctx.Err() != nil {
			return nil
		}
	}
}

// serve sends what w gets to t, until there is another target or ctx ends.
func (e *Exporter) serve(ctx context.Context, t Target, w *trace.Watcher) {
	line := &line{Target: t, backOff: e.backOff}
	defer line.close()
	var counted uint64
	count := func() { // what found no room
		n := w.Dropped()
		e.dropped.Add(n - counted)
		counted = n
	}
	defer count()
	retry := time.NewTicker(e.backOff)
	defer retry.Stop()
	for {
		in := w.C()
		if line.resting() || e.held { // what comes waits, within its bounds
			in = nil
		}
		select {
		case m := <-in:
			e.take(line, w, m)
			e.send(ctx, line)
		case <-retry.C:
			if e.held && !line.resting() {
				e.send(ctx, line)
			}
			count()
		case <-e.target.Changed():
			e.giveUp()
			return
		case <-ctx.Done():
			e.end(context.WithoutCancel(ctx), line, w)
			return
		}
	}
}

// take encodes a message.
func (e *Exporter) take(l *line, w *trace.Watcher, m *trace.Message) {
	e.buf = appendPacket(e.buf[:0], m, l.ID, l.Password)
	e.held = true
	w.Taken(m)
}

// giveUp counts the message that is held as lost.
func (e *Exporter) giveUp() {
	if e.held {
		e.held = false
		e.dropped.Add(1)
	}
}

// end sends what waits, unless the server is known not to take it, or takes too long.
func (e *Exporter) end(ctx context.Context, l *line, w *trace.Watcher) {
	for begun := time.Now(); !l.resting() && time.Since(begun) < endTimeout; {
		if !e.held {
			if len(w.C()) == 0 {
				return
			}
			e.take(l, w, <-w.C())
		}
		e.send(ctx, l)
	}
	e.giveUp()
}

// send sends the message that is held. It is held on where the server may take it later: not a datagram, which may be what is wrong.
func (e *Exporter) send(ctx context.Context, l *line) {
	if err := l.write(ctx, e.buf); err != nil {
		if ctx.Err() != nil {
			l.rest = time.Time{} // it was given up for the end's sake
			return
		}
		e.errors.Add(1)
		if l.Network == "udp" {
			e.giveUp()
		}
		e.failed = time.Now()
		if !e.failing || e.failed.Sub(e.said) >= sayAgain {
			e.said = e.failed
			e.log.Warn("messages do not reach the HEP server", zap.String("server", l.Network+"://"+l.Address), zap.Error(err))
		}
		e.failing = true
		return
	}
	e.held = false
	e.sent.Add(1)
	// By UDP every other datagram to a server that is gone seems to go well: only time tells.
	if e.failing && (l.Network != "udp" || time.Since(e.failed) >= sayAgain) {
		e.failing = false
		e.log.Info("messages reach the HEP server again", zap.String("server", l.Network+"://"+l.Address))
	}
}

// line is the way to a server.
type line struct {
	Target
	backOff time.Duration
	conn    net.Conn // nil: there is none
	made    time.Time
	failed  int       // attempts in a row
	rest    time.Time // no attempt is made before
}

func (l *line) resting() bool { return time.Now().Before(l.rest) }

func (l *line) close() {
	if l.conn != nil {
		_ = l.conn.Close()
		l.conn = nil
	}
}

// write writes a packet, on a connection that is made if need be.
func (l *line) write(ctx context.Context, b []byte) error {
	fresh, err := l.dial(ctx)
	if err == nil {
		if err = l.put(b); err != nil && !fresh && l.Network == "tcp" { // the server has closed it, and may take another
			l.close()
			if _, err = l.dial(ctx); err == nil {
				err = l.put(b)
			}
		}
	}
	if err != nil {
		l.close()
		l.rest = time.Now().Add(min(l.backOff<<min(l.failed, 10), lastBackOff))
		l.failed++
		return err
	}
	l.failed = 0
	return nil
}

// dial sees to it that there is a connection, and says whether it is a new one.
func (l *line) dial(ctx context.Context) (fresh bool, err error) {
	if l.conn != nil && (l.Network != "udp" || time.Since(l.made) < dialAgain) {
		return false, nil
	}
	l.close()
	d := net.Dialer{Timeout: dialTimeout}
	l.conn, err = d.DialContext(ctx, l.Network, l.Address)
	l.made = time.Now()
	return true, err
}

// put writes all of b. A packet that was written in part is of no use to anybody: the connection is not used again.
func (l *line) put(b []byte) error {
	_ = l.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := l.conn.Write(b)
	return err
}
