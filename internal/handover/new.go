package handover

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"mrcproxy/proxy"
	"mrcproxy/proxy/transport"
)

// Predecessor is a running process whose sockets are to be taken over, seen from the one that takes them.
type Predecessor struct {
	l         *link
	PID       int
	Listeners []Listener // their files are the caller's to close
	Admin     []*os.File // one, or none
	Kept      bool       // the service manager holds the sockets, too
	log       *zap.Logger
	out       *outbox
	local     []int // of our listeners: which it is there; -1: none
	here      []int // of its listeners: which it is here; -1: none
}

// ErrNobody says that no process answers at the path.
var ErrNobody = errors.New("no process to take over from")

// Dial asks the process that listens at path what it has. ErrNobody: there is none.
func Dial(path string, log *zap.Logger) (*Predecessor, error) {
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Net: "unixpacket", Name: path})
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
		return nil, ErrNobody
	case err != nil:
		return nil, fmt.Errorf("take over: %w", err)
	}
	p := &Predecessor{l: newLink(c), log: log, out: newOutbox()}
	if err := p.ask(); err != nil {
		p.Close()
		return nil, fmt.Errorf("take over: %w", err)
	}
	return p, nil
}

// Close ends the conversation: before Serving, the predecessor then goes on as if nothing had been.
func (p *Predecessor) Close() {
	for _, l := range p.Listeners {
		closeAll(l.Files)
	}
	closeAll(p.Admin)
	_ = p.l.c.Close()
}

func (p *Predecessor) ask() (err error) {
	if p.PID, err = p.l.peer(); err != nil {
		return err
	}
	if err := p.l.writeJSON(kindHello, greeting{version}); err != nil {
		return err
	}
	_ = p.l.c.SetReadDeadline(time.Now().Add(packLimit))
	defer p.l.c.SetReadDeadline(time.Time{})
	for {
		k, b, files, err := p.l.read()
		switch {
		case err != nil:
			return err
		case k == kindRefused:
			return fmt.Errorf("process %d refuses: %s", p.PID, b)
		case k == kindOffered:
			p.Admin = files
			var o offering
			err := json.Unmarshal(b, &o)
			p.Kept = o.Kept
			return err
		case k != kindListener:
			closeAll(files)
			return errPacket
		}
		l := Listener{Files: files}
		if err := json.Unmarshal(b, &l); err != nil {
			closeAll(files)
			return err
		}
		p.Listeners = append(p.Listeners, l)
	}
}

// Taken is what came with the sockets.
type Taken struct {
	Streams     []transport.Stream
	Generations []proxy.Generation
}

// Take has the predecessor stop reading. own says, for each of our listeners, which of its listeners that is, -1 for one
// that it does not have. After Take comes Serving, or Close.
func (p *Predecessor) Take(own []int) (*Taken, error) {
	p.local = own
	p.here = make([]int, len(p.Listeners))
	t := taking{Listeners: make([]bool, len(p.Listeners))}
	for i := range p.here {
		p.here[i] = -1
	}
	for i, n := range own {
		if n >= 0 {
			p.here[n], t.Listeners[n] = i, true
		}
	}
	if err := p.l.writeJSON(kindTake, t); err != nil {
		return nil, fmt.Errorf("take over: %w", err)
	}
	var got Taken
	if err := p.receive(&got); err != nil {
		for _, st := range got.Streams {
			_ = st.File.Close()
		}
		return nil, fmt.Errorf("take over: %w", err)
	}
	return &got, nil
}

func (p *Predecessor) receive(got *Taken) error {
	_ = p.l.c.SetReadDeadline(time.Now().Add(packLimit))
	defer p.l.c.SetReadDeadline(time.Time{})
	for {
		k, b, files, err := p.l.read()
		if err != nil {
			return err
		}
		if k == kindStream && len(files) == 1 {
			err = p.stream(got, b, files[0])
		} else {
			closeAll(files)
		}
		switch k {
		case kindStream:
		case kindKeys:
			err = addKeys(got, b)
		case kindYours:
			return nil
		default:
			err = errPacket
		}
		if err != nil {
			return err
		}
	}
}

func (p *Predecessor) stream(got *Taken, b []byte, f *os.File) error {
	if len(b) < 1 {
		_ = f.Close()
		return errPacket
	}
	flow, rest, err := cutFlow(b[1:])
	if err != nil || !p.toHere(&flow) {
		_ = f.Close()
		return errPacket
	}
	got.Streams = append(got.Streams, transport.Stream{Flow: flow, Inbound: b[0] == 1, Read: append([]byte(nil), rest...), File: f})
	return nil
}

// toHere makes its listener's number ours.
func (p *Predecessor) toHere(f *transport.Flow) bool {
	if int(f.Local) >= len(p.here) || p.here[f.Local] < 0 {
		return false
	}
	f.Local = uint8(p.here[f.Local])
	return true
}

func addKeys(got *Taken, b []byte) error {
	if len(b) < 12 || len(b)%8 != 4 {
		return errPacket
	}
	epoch, seed := binary.BigEndian.Uint32(b), binary.BigEndian.Uint64(b[4:])
	n := len(got.Generations)
	if n == 0 || got.Generations[n-1].Epoch != epoch {
		got.Generations = append(got.Generations, proxy.Generation{Epoch: epoch, Seed: seed})
		n++
	}
	g := &got.Generations[n-1]
	for b = b[12:]; len(b) > 0; b = b[8:] {
		g.Keys = append(g.Keys, binary.BigEndian.Uint64(b))
	}
	return nil
}

// Serving tells the predecessor that its sockets are read here: it will not read them again.
func (p *Predecessor) Serving() error {
	if err := p.l.write(kindServing, nil); err != nil {
		return fmt.Errorf("take over: %w", err)
	}
	return nil
}

// Run passes on what is the predecessor's, and sends what it wants sent on connections that are ours now, until it ends or
// ctx does.
func (p *Predecessor) Run(ctx context.Context, send func(transport.Flow, []byte)) {
	g, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, func() { _ = p.l.c.Close() })()
	g.Go(func() error { return p.out.run(ctx, p.l) })
	g.Go(func() error {
		for {
			k, b, files, err := p.l.read()
			closeAll(files)
			if err != nil {
				return err
			}
			f, msg, err := cutFlow(b)
			if k != kindSend || err != nil {
				return errPacket
			}
			if p.toHere(&f) {
				send(f, msg)
			}
		}
	})
	err := g.Wait()
	if n := p.out.lost.Load(); n > 0 {
		p.log.Warn("messages for the predecessor were lost", zap.Int("pid", p.PID), zap.Uint64("messages", n))
	}
	if ctx.Err() != nil && err == nil || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		p.log.Info("the predecessor has ended", zap.Int("pid", p.PID))
		return
	}
	p.log.Warn("connection to the predecessor", zap.Int("pid", p.PID), zap.Error(err))
}

// Receive passes a message on (proxy.Elder).
func (p *Predecessor) Receive(msg []byte, from transport.Flow) {
	if int(from.Local) >= len(p.local) || p.local[from.Local] < 0 {
		return // it has no such listener: nothing of its can come there
	}
	from.Local = uint8(p.local[from.Local])
	p.out.put(kindMessage, append(appendFlow(make([]byte, 0, 48+len(msg)), from), msg...))
}

// Unreachable passes an ICMP error on (proxy.Elder).
func (p *Predecessor) Unreachable(head []byte, to netip.AddrPort, err error) {
	errno, _ := errors.AsType[syscall.Errno](err)
	p.out.put(kindUnreachable, append(binary.BigEndian.AppendUint32(appendAddr(nil, to), uint32(errno)), head...))
}

// Closed passes the end of a connection on (proxy.Elder).
func (p *Predecessor) Closed(conn uint64, remote netip.AddrPort, err error) {
	p.out.put(kindClosed, append(appendAddr(binary.BigEndian.AppendUint64(nil, conn), remote), err.Error()...))
}
