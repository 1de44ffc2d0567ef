package journal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net/netip"
	"time"

	"mrcproxy/internal/session"
)

// A record is one session: its fields in the order of appendRecord, numbers as varints, strings with their length before
// them, and a checksum at the end, as bbolt has none of what it keeps. Another order or meaning needs another name for the
// bucket.

// record is a session as it was written down.
type record struct {
	expires  int64 // Unix time in milliseconds; 0: never
	server   uint32
	learned  bool
	setup    time.Duration
	callID   string
	kind     session.Kind
	client   netip.AddrPort
	dialog   string
	attempts []attempt
	detail   *session.Detail
}

type attempt struct {
	server  uint32
	outcome string
	took    time.Duration
}

// keyLen is the length of a record's key: when the session began, in milliseconds of Unix time, and the session's key. So
// new records stand behind the old ones, and those that go lie close to each other.
const keyLen = 16

func appendKey(dst []byte, s *session.Session) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.Start.UnixMilli()))
	return binary.BigEndian.AppendUint64(dst, s.Key())
}

func parseKey(b []byte) (start time.Time, key uint64, ok bool) {
	if len(b) != keyLen {
		return start, 0, false
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(b))), binary.BigEndian.Uint64(b[8:]), true
}

// appendRecord writes s. The time it expires is told by the clock on the wall, which outlives the process.
func appendRecord(dst []byte, s *session.Session, now time.Time) []byte {
	expires := int64(0)
	if at := s.Expires(); !at.IsZero() {
		expires = now.Add(at.Sub(now)).UnixMilli() // now's own wall clock: it may have been set since at was computed
	}
	dst = binary.AppendUvarint(dst, uint64(expires))
	dst = binary.AppendUvarint(dst, uint64(s.Backend().ID()))
	learned := uint64(0)
	if s.Learned {
		learned = 1
	}
	dst = binary.AppendUvarint(dst, learned)
	dst = binary.AppendUvarint(dst, uint64(s.Setup))
	for _, text := range [...]string{s.CallID, s.Route, s.Cluster, s.Resource, s.Client.String(), s.Dialog} {
		dst = appendText(dst, text)
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.Attempts)))
	for _, a := range s.Attempts {
		dst = binary.AppendUvarint(dst, uint64(a.Backend.ID()))
		dst = appendText(dst, a.Outcome)
		dst = binary.AppendUvarint(dst, uint64(a.Took))
	}
	return seal(appendDetail(dst, s.Detail))
}

// appendDetail appends what a call's record has beside: nothing where there is none, and as before there was one.
func appendDetail(dst []byte, d *session.Detail) []byte {
	if d == nil {
		return dst
	}
	dst = appendText(dst, d.Resource)
	dst = binary.AppendUvarint(dst, uint64(len(d.Channels)))
	for _, c := range d.Channels {
		dst = appendText(dst, c)
	}
	dst = binary.AppendUvarint(dst, uint64(len(d.Headers)))
	for _, h := range d.Headers {
		dst = appendText(appendText(dst, h.Name), h.Value)
	}
	return dst
}

// parser takes numbers and strings off a slice; bad turns true where there is none.
type parser struct {
	b   []byte
	bad bool
}

// detail is what appendDetail wrote.
func (p *parser) detail() *session.Detail {
	if len(p.b) == 0 {
		return nil
	}
	d := &session.Detail{Resource: p.text()}
	for n := p.number(); n > 0 && !p.bad; n-- {
		d.Channels = append(d.Channels, p.text())
	}
	for n := p.number(); n > 0 && !p.bad; n-- {
		d.Headers = append(d.Headers, session.Header{Name: p.text(), Value: p.text()})
	}
	return d
}

func seal(b []byte) []byte { return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b)) }

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

var errRecord = errors.New("not a record")

// parseRecord reads what appendRecord wrote; nothing of it stays in b.
func parseRecord(b []byte) (r record, err error) {
	n := len(b) - 4
	if n < 0 || binary.BigEndian.Uint32(b[n:]) != crc32.ChecksumIEEE(b[:n]) {
		return r, errRecord
	}
	p := parser{b: b[:n]}
	r.expires, r.server = int64(p.number()), uint32(p.number())
	r.learned, r.setup = p.number() == 1, time.Duration(p.number())
	r.callID = p.text()
	r.kind = session.Kind{Route: p.text(), Cluster: p.text(), Resource: p.text()}
	r.client, _ = netip.ParseAddrPort(p.text())
	r.dialog = p.text()
	for n := p.number(); n > 0 && !p.bad; n-- {
		r.attempts = append(r.attempts, attempt{server: uint32(p.number()), outcome: p.text(), took: time.Duration(p.number())})
	}
	r.detail = p.detail()
	if p.bad || len(p.b) > 0 {
		return record{}, errRecord
	}
	return r, nil
}

func (p *parser) number() uint64 {
	v, n := binary.Uvarint(p.b)
	if n <= 0 {
		p.bad, p.b = true, nil
		return 0
	}
	p.b = p.b[n:]
	return v
}

func (p *parser) text() string {
	n := p.number()
	if n > uint64(len(p.b)) {
		p.bad, p.b = true, nil
		return ""
	}
	s := string(p.b[:n])
	p.b = p.b[n:]
	return s
}
