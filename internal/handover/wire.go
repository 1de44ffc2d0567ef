package handover

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"mrcproxy/proxy/transport"
)

const version = 1

// kind is the first byte of a packet.
type kind byte

const (
	kindHello       kind = 'h'
	kindRefused     kind = 'r'
	kindListener    kind = 'l'
	kindOffered     kind = 'o'
	kindTake        kind = 't'
	kindStream      kind = 'c'
	kindKeys        kind = 'k'
	kindYours       kind = 'y'
	kindServing     kind = 's'
	kindMessage     kind = 'm'
	kindUnreachable kind = 'u'
	kindClosed      kind = 'd'
	kindSend        kind = 'x'
)

// Listener is one listener on offer.
type Listener struct {
	Proto transport.Proto
	Addr  netip.AddrPort // as bound
	Files []*os.File     `json:"-"`
}

// greeting is the content of hello.
type greeting struct{ Version int }

// offering is the content of offered: whether the service manager holds the sockets, too.
type offering struct{ Kept bool }

// taking is the content of take: which of the listeners, in the order of the offer.
type taking struct{ Listeners []bool }

const (
	maxPacket = 1 << 18 // bytes; the largest message on a stream, and what goes before it
	maxFiles  = 250     // in a packet; the kernel's limit is 253 (SCM_MAX_FD)
)

// link is one end of the conversation.
type link struct {
	c   *net.UnixConn
	buf []byte
	oob []byte
}

func newLink(c *net.UnixConn) *link {
	_ = c.SetReadBuffer(4 << 20) // as much as there may be
	_ = c.SetWriteBuffer(4 << 20)
	return &link{c: c, buf: make([]byte, maxPacket), oob: make([]byte, unix.CmsgSpace(4*maxFiles))}
}

// peer is the process at the other end. It is an error when that is another user's.
func (l *link) peer() (pid int, err error) {
	raw, err := l.c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	if e := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); e != nil {
		return 0, e
	}
	if err != nil {
		return 0, err
	}
	if int(cred.Uid) != os.Geteuid() {
		return 0, fmt.Errorf("process %d is of user %d, not %d", cred.Pid, cred.Uid, os.Geteuid())
	}
	return int(cred.Pid), nil
}

func (l *link) write(k kind, content []byte, fds ...int) error {
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	_, _, err := l.c.WriteMsgUnix(append([]byte{byte(k)}, content...), oob, nil)
	return err
}

func (l *link) writeJSON(k kind, v any, fds ...int) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return l.write(k, b, fds...)
}

// read gives the next packet, valid until the next call, and the files in it, the caller's to close.
func (l *link) read() (kind, []byte, []*os.File, error) {
	n, oobn, flags, _, err := l.c.ReadMsgUnix(l.buf, l.oob)
	if err != nil {
		return 0, nil, nil, err
	}
	files, err := filesOf(l.oob[:oobn])
	switch {
	case err != nil:
	case n == 0 || flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		err = errors.New("packet is cut short")
	default:
		return kind(l.buf[0]), l.buf[1:n], files, nil
	}
	closeAll(files)
	return 0, nil, nil, err
}

func filesOf(oob []byte) ([]*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var l []*os.File
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return l, err
		}
		for _, fd := range fds {
			l = append(l, os.NewFile(uintptr(fd), "inherited"))
		}
	}
	return l, nil
}

func closeAll(l []*os.File) {
	for _, f := range l {
		_ = f.Close()
	}
}

// expect reads a packet that must be of that kind, without files.
func (l *link) expect(want kind, within time.Duration) ([]byte, error) {
	_ = l.c.SetReadDeadline(time.Now().Add(within))
	defer l.c.SetReadDeadline(time.Time{})
	k, b, files, err := l.read()
	closeAll(files)
	switch {
	case err != nil:
		return nil, err
	case k == kindRefused:
		return nil, fmt.Errorf("the other process refuses: %s", b)
	case k != want:
		return nil, fmt.Errorf("packet %q where %q is due", k, want)
	}
	return b, nil
}

// appendFlow appends a flow: protocol, listener, connection, and the address behind its length.
func appendFlow(b []byte, f transport.Flow) []byte {
	b = append(b, byte(f.Proto), f.Local)
	b = binary.BigEndian.AppendUint64(b, f.Conn)
	return appendAddr(b, f.Remote)
}

func appendAddr(b []byte, a netip.AddrPort) []byte {
	at := len(b)
	b, _ = a.AppendBinary(append(b, 0)) // it never fails
	b[at] = byte(len(b) - at - 1)
	return b
}

var errPacket = errors.New("packet makes no sense")

func cutFlow(b []byte) (f transport.Flow, rest []byte, err error) {
	if len(b) < 10 {
		return f, nil, errPacket
	}
	f.Proto, f.Local, f.Conn = transport.Proto(b[0]), b[1], binary.BigEndian.Uint64(b[2:])
	f.Remote, rest, err = cutAddr(b[10:])
	return f, rest, err
}

func cutAddr(b []byte) (a netip.AddrPort, rest []byte, err error) {
	if len(b) < 1 || len(b) < 1+int(b[0]) || a.UnmarshalBinary(b[1:1+int(b[0])]) != nil {
		return a, nil, errPacket
	}
	return a, b[1+int(b[0]):], nil
}
