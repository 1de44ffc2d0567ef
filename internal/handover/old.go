package handover

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"mrcproxy/proxy"
	"mrcproxy/proxy/transport"
)

// Engine is what has the sockets: *proxy.Proxy.
type Engine interface {
	proxy.Elder
	Sockets() []transport.Socket
	Halt(taken []bool, send func(transport.Flow, []byte) error) []transport.Stream
	Generations() []proxy.Generation
	Resume(taken []bool, l []transport.Stream)
	Leave(l []transport.Stream)
}

// Options make a Server.
type Options struct {
	Path   string // of the unix socket
	Engine Engine
	Admin  syscall.RawConn // the admin listener; nil when there is none
	Kept   bool            // the service manager holds the sockets, too
	Log    *zap.Logger
	// Halted is called when nothing is read any more and the successor is about to: what only one process may have open is to
	// be closed. Then either Left is, when the process pid has the sockets, or Resumed.
	Halted, Resumed func()
	Left            func(pid int)
}

// Server gives the sockets to who asks for them.
type Server struct {
	o    Options
	ln   *net.UnixListener
	next string // where ln is until Run
}

// How long the other process may take: for its start, once it was told what there is, and for beginning to read.
const (
	startLimit = time.Minute
	packLimit  = 10 * time.Second
)

// Listen opens the unix socket, but not yet at its path, where a predecessor may be: Run moves it there.
func Listen(o Options) (*Server, error) {
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o700); err != nil {
		return nil, fmt.Errorf("hand-over socket: %w", err)
	}
	next := fmt.Sprintf("%s.%d", o.Path, os.Getpid())
	_ = os.Remove(next)
	ln, err := net.ListenUnix("unixpacket", &net.UnixAddr{Net: "unixpacket", Name: next})
	if err != nil {
		return nil, fmt.Errorf("hand-over socket: %w", err)
	}
	ln.SetUnlinkOnClose(false)
	if err := os.Chmod(next, 0o600); err != nil {
		_ = ln.Close()
		return nil, fmt.Errorf("hand-over socket: %w", err)
	}
	return &Server{o: o, ln: ln, next: next}, nil
}

// Close gives up a Server that Run is not called for.
func (s *Server) Close() error {
	_ = os.Remove(s.next)
	return s.ln.Close()
}

// Appear moves the socket to its path: from now on a successor finds us there.
func (s *Server) Appear() error { return os.Rename(s.next, s.o.Path) }

// Run waits for a successor, and when there is one, passes between it and the Engine what is the other's. It returns when
// ctx ends.
func (s *Server) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { _ = s.ln.Close() })()
	for {
		c, err := s.ln.AcceptUnix()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("hand-over socket: %w", err)
		}
		if s.serve(ctx, newLink(c)) {
			return nil
		}
	}
}

// serve talks to one process; it reports whether that has the sockets now.
func (s *Server) serve(ctx context.Context, l *link) bool {
	defer l.c.Close()
	defer context.AfterFunc(ctx, func() { _ = l.c.Close() })()
	pid, err := l.peer()
	if err != nil {
		s.o.Log.Error("hand-over refused", zap.Error(err))
		return false
	}
	log := s.o.Log.With(zap.Int("pid", pid))
	t, err := s.offer(l)
	if err != nil {
		if ctx.Err() == nil {
			log.Error("hand-over failed, this process goes on", zap.Error(err))
		}
		return false
	}
	begun := time.Now()
	out := newOutbox()
	streams := s.o.Engine.Halt(t.Listeners, func(f transport.Flow, b []byte) error {
		if !out.put(kindSend, append(appendFlow(make([]byte, 0, 48+len(b)), f), b...)) {
			return transport.ErrBusy
		}
		return nil
	})
	s.o.Halted()
	if err := s.give(l, streams); err != nil {
		s.o.Resumed()
		s.o.Engine.Resume(t.Listeners, streams)
		log.Error("hand-over failed, this process goes on", zap.Error(err))
		return false
	}
	_ = s.ln.Close()
	s.o.Engine.Leave(streams)
	log.Info("handed over", zap.Int("connections", len(streams)), zap.Float64("paused_ms", float64(time.Since(begun).Microseconds())/1000))
	s.o.Left(pid)
	s.relay(ctx, l, out, log)
	return true
}

// offer says what there is, and returns what the other process wants of it.
func (s *Server) offer(l *link) (t taking, err error) {
	b, err := l.expect(kindHello, packLimit)
	if err != nil {
		return t, err
	}
	var g greeting
	if err := json.Unmarshal(b, &g); err != nil {
		return t, err
	}
	if g.Version != version {
		_ = l.write(kindRefused, fmt.Appendf(nil, "it speaks version %d of the hand-over, this one %d", version, g.Version))
		return t, fmt.Errorf("the other process speaks version %d", g.Version)
	}
	sockets := s.o.Engine.Sockets()
	for i := range sockets {
		fds, err := sockets[i].Files()
		if err != nil {
			return t, err
		}
		if err := giveFiles(l, kindListener, Listener{Proto: sockets[i].Proto, Addr: sockets[i].Addr}, fds); err != nil {
			return t, err
		}
	}
	var admin []int
	if s.o.Admin != nil {
		if admin, err = transport.Duplicates(s.o.Admin); err != nil {
			return t, err
		}
	}
	if err := giveFiles(l, kindOffered, offering{s.o.Kept}, admin); err != nil {
		return t, err
	}
	if b, err = l.expect(kindTake, startLimit); err != nil {
		return t, err
	}
	if err := json.Unmarshal(b, &t); err != nil {
		return t, err
	}
	if len(t.Listeners) != len(sockets) {
		return t, errPacket
	}
	return t, nil
}

// giveFiles sends descriptors and closes them here.
func giveFiles(l *link, k kind, v any, fds []int) error {
	defer func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}()
	return l.writeJSON(k, v, fds...)
}

// give sends what the successor needs to read on, and waits until it does.
func (s *Server) give(l *link, streams []transport.Stream) error {
	_ = l.c.SetWriteDeadline(time.Now().Add(packLimit))
	defer l.c.SetWriteDeadline(time.Time{})
	for i := range streams {
		if err := giveStream(l, &streams[i]); err != nil {
			return err
		}
	}
	for _, g := range s.o.Engine.Generations() {
		if err := giveKeys(l, g); err != nil {
			return err
		}
	}
	if err := l.write(kindYours, nil); err != nil {
		return err
	}
	_, err := l.expect(kindServing, packLimit)
	return err
}

func giveStream(l *link, st *transport.Stream) error {
	fds, err := st.Duplicate()
	if err != nil {
		return err
	}
	inbound := byte(0)
	if st.Inbound {
		inbound = 1
	}
	b := append(appendFlow([]byte{inbound}, st.Flow), st.Read...)
	err = l.write(kindStream, b, fds...)
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
	return err
}

// keysInPacket is how many keys go into one packet.
const keysInPacket = 8192

func giveKeys(l *link, g proxy.Generation) error {
	head := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, g.Epoch), g.Seed)
	for rest := g.Keys; ; {
		n := min(len(rest), keysInPacket)
		b := head[:len(head):len(head)]
		for _, k := range rest[:n] {
			b = binary.BigEndian.AppendUint64(b, k)
		}
		if err := l.write(kindKeys, b); err != nil {
			return err
		}
		if rest = rest[n:]; len(rest) == 0 {
			return nil
		}
	}
}

// relay passes on what is the Engine's, and what it sends, until ctx ends or the successor does.
func (s *Server) relay(ctx context.Context, l *link, out *outbox, log *zap.Logger) {
	g, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, func() { _ = l.c.Close() })()
	g.Go(func() error { return out.run(ctx, l) })
	g.Go(func() error {
		for {
			k, b, files, err := l.read()
			closeAll(files)
			if err != nil {
				return err
			}
			if err := s.received(k, b); err != nil {
				return err
			}
		}
	})
	err := g.Wait()
	if n := out.lost.Load(); n > 0 {
		log.Warn("messages for the successor were lost", zap.Uint64("messages", n))
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		log.Warn("connection to the successor", zap.Error(err))
	}
}

// received is one packet from the successor.
func (s *Server) received(k kind, b []byte) error {
	switch k {
	case kindMessage:
		f, msg, err := cutFlow(b)
		if err == nil {
			s.o.Engine.Receive(msg, f)
		}
		return err
	case kindUnreachable:
		to, rest, err := cutAddr(b)
		if err != nil || len(rest) < 4 {
			return errPacket
		}
		s.o.Engine.Unreachable(rest[4:], to, syscall.Errno(binary.BigEndian.Uint32(rest)))
	case kindClosed:
		if len(b) < 8 {
			return errPacket
		}
		remote, why, err := cutAddr(b[8:])
		if err != nil {
			return err
		}
		s.o.Engine.Closed(binary.BigEndian.Uint64(b), remote, errors.New(string(why)))
	default:
		return fmt.Errorf("packet %q is not known", k)
	}
	return nil
}
