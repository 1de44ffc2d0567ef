package sim

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// ServerOptions say what a Server is. The zero value is a server on a free port of
// 127.0.0.1 that serves any resource without limit.
type ServerOptions struct {
	Addr           netip.AddrPort // one concrete address; port 0: any free one. Default 127.0.0.1:0
	Resource       string         // the one resource served (speechrecog, …); "" serves any
	Capacity       int            // sessions at once, above it 406; 0 is unlimited
	AnswerAfter    time.Duration  // from INVITE to its final answer
	Networks       []string       // "udp", "tcp"; default both
	NoTrying       bool           // send no 100 before the final answer (UniMRCP does)
	SessionExpires time.Duration  // offered to a client that supports timers; default 600 s
	Expire         bool           // end a session whose Session-Expires passes without a refresh, as UniMRCP does (RFC 4028 10)
	MRCP           bool           // speak MRCPv2 and RTP; else nothing listens at the ports that answers name
	MRCPPort       uint16         // of MRCPv2, named in answers; default: with MRCP any free one, else the SIP port
	Says           string         // what a recogniser has heard when it heard speech; default "hello world"
	T1             time.Duration  // RFC 3261 T1, all other timers scale with it; default 500 ms
}

// ServerStats count what a Server saw and did since StartServer; Kill and Revive keep
// all but Sessions and Channels.
type ServerStats struct {
	Sessions    int // established now
	Invites     int // new INVITEs, retransmissions apart
	Retransmits int // INVITEs received again
	Answered    int // INVITEs answered 200
	Refused     int // INVITEs answered with another final, 487 apart
	Acks        int // sessions confirmed by an ACK
	Byes        int // BYEs that ended a session
	UnknownByes int // BYEs answered 481
	Cancels     int // CANCELs that ended an INVITE
	Options     int // OPTIONS received
	Refreshes   int // re-INVITEs and UPDATEs answered in a session
	Merged      int // INVITEs answered 482: the same one came on another branch
	Expired     int // sessions ended for want of a refresh
	HangUps     int // BYEs sent
	HangUpsDone int // BYEs sent that got a final answer
	Channels    int // MRCP connections that are open now
	Methods     int // MRCP requests received
}

// Server is one simulated MRCPv2 server, like unimrcpserver: UDP and TCP on one address.
// Its methods are safe for concurrent use.
type Server struct {
	o    ServerOptions
	addr netip.AddrPort

	mu      sync.Mutex // also guards what run points at
	stopped bool
	fault   Fault
	stats   ServerStats
	changed chan struct{} // closed and replaced when stats change
	run     *process      // nil while killed
}

// StartServer listens and serves until Stop. It fails when the address cannot be opened.
func StartServer(o ServerOptions) (*Server, error) {
	if !o.Addr.IsValid() {
		o.Addr = netip.MustParseAddrPort("127.0.0.1:0")
	}
	if o.Addr.Addr().IsUnspecified() {
		return nil, fmt.Errorf("start server on %s: its Contact needs a concrete address", o.Addr)
	}
	if len(o.Networks) == 0 {
		o.Networks = []string{"udp", "tcp"}
	}
	for _, n := range o.Networks {
		if n != "udp" && n != "tcp" {
			return nil, fmt.Errorf("start server on %s: transport %q is not simulated", o.Addr, n)
		}
	}
	if o.SessionExpires == 0 {
		o.SessionExpires = 600 * time.Second
	}
	if o.T1 == 0 {
		o.T1 = defaultT1
	}
	if o.Says == "" {
		o.Says = "hello world"
	}
	s := &Server{o: o, addr: o.Addr, changed: make(chan struct{})}
	if err := s.Revive(); err != nil {
		return nil, fmt.Errorf("start server on %s: %w", o.Addr, err)
	}
	return s, nil
}

// Addr is the address it serves, also while killed.
func (s *Server) Addr() netip.AddrPort { return s.addr }

// Kill closes its sockets at once and forgets its sessions, as kill -9 would: nobody is
// told. No effect on a killed server.
func (s *Server) Kill() {
	s.mu.Lock()
	p := s.run
	s.run = nil
	if p != nil {
		p.dead = true
	}
	s.count(&s.stats.Sessions, -s.stats.Sessions)
	s.count(&s.stats.Channels, -s.stats.Channels)
	s.mu.Unlock()
	if p != nil {
		p.end()
	}
}

// Revive listens again on the same address, with no sessions and the fault it had. It
// fails when the address was taken meanwhile, when the server lives, or after Stop.
func (s *Server) Revive() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped || s.run != nil {
		return errors.New("revive: the server is running or was stopped")
	}
	p := newProcess(s)
	if s.o.MRCP {
		if err := p.openMRCP(); err != nil {
			return fmt.Errorf("listen for MRCP: %w", err)
		}
	}
	ep, err := listen(s.addr, s.o.Networks, p.handle)
	if err != nil {
		p.dead = true
		if p.mrcp != nil {
			_ = p.mrcp.Close() // and its goroutine ends
		}
		return fmt.Errorf("listen on %s: %w", s.addr, err)
	}
	p.ep, s.addr = ep, ep.addr
	s.run = p
	return nil
}

// Stop kills it for good and returns when all its goroutines have ended. No BYE is sent;
// HangUp first for an orderly end.
func (s *Server) Stop() {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.Kill()
}

// SetFault makes it misbehave from now on; established sessions stay.
func (s *Server) SetFault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Flap alternates between the fault and none, beginning with the fault, every so often, until ctx ends; then there is none.
func (s *Server) Flap(ctx context.Context, every time.Duration, f Fault) {
	t := time.NewTicker(every)
	defer t.Stop()
	defer s.SetFault(None)
	for next, other := f, None; ; next, other = other, next {
		s.SetFault(next)
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// Sessions is the number of sessions established now, confirmed by an ACK or not.
func (s *Server) Sessions() int { return s.Stats().Sessions }

// Stats is the counts at this moment.
func (s *Server) Stats() ServerStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Await returns when ok holds for the counts, at once or after a change, or with the
// context's error.
func (s *Server) Await(ctx context.Context, ok func(ServerStats) bool) error {
	for {
		s.mu.Lock()
		st, changed := s.stats, s.changed
		s.mu.Unlock()
		if ok(st) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("await server %s (now %+v): %w", s.addr, st, context.Cause(ctx))
		}
	}
}

// HangUp ends n of its sessions, the oldest first, as UniMRCP does when their MRCP
// connection closes: BYE by the route set, over the INVITE's transport, for TCP on a
// connection it makes itself. It does not wait for the answers: see ServerStats.HangUpsDone.
func (s *Server) HangUp(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run == nil {
		return
	}
	oldest := make([]*dialog, 0, len(s.run.dialogs))
	for _, d := range s.run.dialogs {
		oldest = append(oldest, d)
	}
	slices.SortFunc(oldest, func(a, b *dialog) int { return a.serial - b.serial })
	for _, d := range oldest[:max(0, min(n, len(oldest)))] {
		s.run.hangUp(d)
	}
}

// count changes one of the counts and wakes those who await it. Call with mu held.
func (s *Server) count(c *int, by int) {
	if by == 0 {
		return
	}
	*c += by
	close(s.changed)
	s.changed = make(chan struct{})
}
