package app

import (
	"errors"
	"net/netip"
	"os"

	"go.uber.org/zap"

	"mrcproxy/config"
	"mrcproxy/internal/handover"
	"mrcproxy/internal/systemd"
	"mrcproxy/proxy"
	"mrcproxy/proxy/transport"
)

// sockets are those that were open before us: a predecessor's, and the service manager's.
type sockets struct {
	before  *handover.Predecessor // nil: there is none
	own     []int                 // for each listener of the configuration: which of before's it is, -1 for none
	passed  []systemd.Socket
	used    []bool // of passed
	heir    bool   // the manager keeps some for who comes after us
	log     *zap.Logger
	current *config.Config
}

// findSockets asks the predecessor, if one is to be taken over from, and takes the manager's sockets.
func findSockets(c *config.Config, takeover bool, passed []systemd.Socket, log *zap.Logger) (*sockets, error) {
	s := &sockets{current: c, passed: passed, used: make([]bool, len(passed)), log: log}
	if !takeover {
		return s, nil
	}
	if c.Handover.Socket == "" {
		return nil, errors.New("take over: handover.socket is off in the configuration")
	}
	var err error
	s.before, err = handover.Dial(c.Handover.Socket, log)
	switch {
	case errors.Is(err, handover.ErrNobody):
		log.Info("no process to take over from", zap.String("socket", c.Handover.Socket))
		return s, nil
	case err != nil:
		return nil, err
	}
	s.heir = s.before.Kept
	return s, nil
}

// listener gives the open sockets of listener i of the configuration; none when it is to be opened.
func (s *sockets) listener(i int) []*os.File {
	l := s.current.Listen[i]
	proto := proxy.ProtoOf(l.Network)
	from := -1
	if s.before != nil {
		for n, b := range s.before.Listeners {
			if b.Proto == proto && b.Addr == l.Addr {
				from = n
			}
		}
	}
	s.own = append(s.own, from)
	if from >= 0 {
		files := s.before.Listeners[from].Files
		s.before.Listeners[from].Files = nil // transport closes them
		if n := l.Readers; proto == transport.UDP && n != len(files) {
			s.log.Warn("readers cannot change in a takeover: it waits for a restart", zap.Stringer("listen", l), zap.Int("readers", len(files)))
		}
		return files
	}
	files := s.manager(proto.Reliable(), l.Addr)
	switch {
	case len(files) > 0:
		s.heir = true
	case len(s.passed) > 0:
		s.log.Warn("no inherited socket for this listener: it is opened here", zap.Stringer("listen", l))
	}
	return files
}

// manager gives the manager's sockets with that address.
func (s *sockets) manager(stream bool, addr netip.AddrPort) (l []*os.File) {
	for i, p := range s.passed {
		if !s.used[i] && p.Stream == stream && p.Addr == addr {
			s.used[i] = true
			l = append(l, p.File)
		}
	}
	return l
}

// admin gives the open socket of the admin listener; nil when it is to be opened.
func (s *sockets) admin() *os.File {
	if s.before != nil && len(s.before.Admin) > 0 {
		return s.before.Admin[0]
	}
	if addr, err := netip.ParseAddrPort(s.current.Admin.Listen); err == nil {
		if l := s.manager(true, addr); len(l) > 0 {
			return l[0]
		}
	}
	return nil
}

// rest closes what nobody wanted, and says so.
func (s *sockets) rest() {
	for i, p := range s.passed {
		if !s.used[i] {
			s.log.Warn("inherited socket matches no listener of the configuration: not used", zap.Stringer("socket", p))
		}
		_ = p.File.Close() // what is used has a duplicate
	}
	if s.before == nil {
		return
	}
	for _, l := range s.before.Listeners {
		if l.Files != nil {
			s.log.Warn("the configuration has not this listener of the predecessor: it ends with that", zap.Stringer("proto", l.Proto), zap.Stringer("address", l.Addr))
			for _, f := range l.Files {
				_ = f.Close()
			}
		}
	}
	for _, f := range s.before.Admin {
		_ = f.Close()
	}
}
