package trace

import (
	"encoding/binary"
	"io"
	"net/netip"

	"mrcproxy/proxy/transport"
)

// PcapType is the media type of what a Pcap writes.
const PcapType = "application/vnd.tcpdump.pcap"

const (
	linkRaw    = 101       // LINKTYPE_RAW: packets begin with their IP header
	maxIP      = 1<<16 - 1 // bytes of a packet
	maxSegment = 60000     // bytes of a message in one TCP segment
	maxStreams = 4096      // directions of connections whose sequence numbers are known
	firstSeq   = 1
)

// Pcap writes messages as a pcap file (https://www.tcpdump.org/manpages/pcap-savefile.5.html) of IP packets, which are made for
// it: a datagram for each message by UDP. A message by TCP is a segment, or some where it is longer than a packet, with
// sequence numbers that go on from the one before, so that readers put them together; there are no handshakes. What went by TLS
// is written as if by TCP, in clear.
type Pcap struct {
	w      io.Writer
	buf    []byte
	seqs   map[stream]uint32 // of the next byte
	packet uint16            // IPv4 identification
}

type stream struct{ src, dst netip.AddrPort }

// NewPcap makes one that writes to w.
func NewPcap(w io.Writer) *Pcap { return &Pcap{w: w, seqs: make(map[stream]uint32)} }

// Begin writes what stands before the first message.
func (p *Pcap) Begin() error {
	b := binary.BigEndian.AppendUint32(p.buf[:0], 0xa1b2c3d4) // times in microseconds
	b = binary.BigEndian.AppendUint16(b, 2)
	b = binary.BigEndian.AppendUint16(b, 4)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, 1<<18) // longest packet
	b = binary.BigEndian.AppendUint32(b, linkRaw)
	_, err := p.w.Write(b)
	return err
}

// Write writes one message.
func (p *Pcap) Write(m *Message) error {
	p.buf = p.buf[:0]
	if m.Proto == transport.UDP {
		p.add(m, 17, m.Text)
	} else {
		for text := m.Text; len(text) > 0; {
			n := min(len(text), maxSegment)
			p.add(m, 6, text[:n])
			text = text[n:]
		}
	}
	_, err := p.w.Write(p.buf)
	return err
}

// add appends a packet with its record header.
func (p *Pcap) add(m *Message, proto byte, payload []byte) {
	start := len(p.buf)
	p.buf = append(p.buf, make([]byte, 16)...)
	src, dst := m.Src, m.Dst
	four := src.Addr().Is4() && dst.Addr().Is4()
	head := 8
	if proto == 6 {
		head = 20
	}
	if four {
		payload = payload[:min(len(payload), maxIP-20-head)]
		p.ipv4(src.Addr(), dst.Addr(), proto, head+len(payload))
	} else {
		payload = payload[:min(len(payload), maxIP-head)]
		p.ipv6(src.Addr(), dst.Addr(), proto, head+len(payload))
	}
	at := len(p.buf)
	p.buf = binary.BigEndian.AppendUint16(p.buf, src.Port())
	p.buf = binary.BigEndian.AppendUint16(p.buf, dst.Port())
	if proto == 6 {
		p.tcp(stream{src, dst}, len(payload))
	} else {
		p.buf = binary.BigEndian.AppendUint16(p.buf, uint16(head+len(payload)))
		p.buf = append(p.buf, 0, 0)
	}
	p.buf = append(p.buf, payload...)
	sumAt := at + 6
	if proto == 6 {
		sumAt = at + 16
	}
	sum := checksum(pseudo(src.Addr(), dst.Addr(), proto, len(p.buf)-at), p.buf[at:])
	if sum == 0 && proto == 17 {
		sum = 0xffff // RFC 768: zero means none
	}
	binary.BigEndian.PutUint16(p.buf[sumAt:], sum)

	record, n := p.buf[start:], len(p.buf)-start-16
	binary.BigEndian.PutUint32(record, uint32(m.At.Unix()))
	binary.BigEndian.PutUint32(record[4:], uint32(m.At.Nanosecond()/1000))
	binary.BigEndian.PutUint32(record[8:], uint32(n))
	binary.BigEndian.PutUint32(record[12:], uint32(n))
}

// ipv4 appends the header (RFC 791) of a packet with n bytes behind it.
func (p *Pcap) ipv4(src, dst netip.Addr, proto byte, n int) {
	p.packet++
	at := len(p.buf)
	p.buf = append(p.buf, 0x45, 0)
	p.buf = binary.BigEndian.AppendUint16(p.buf, uint16(20+n))
	p.buf = binary.BigEndian.AppendUint16(p.buf, p.packet)
	p.buf = append(p.buf, 0, 0, 64, proto, 0, 0)
	p.buf = append(append(p.buf, src.AsSlice()...), dst.AsSlice()...)
	binary.BigEndian.PutUint16(p.buf[at+10:], checksum(0, p.buf[at:]))
}

// ipv6 appends the header (RFC 8200). An IPv4 address is mapped where the other is none.
func (p *Pcap) ipv6(src, dst netip.Addr, proto byte, n int) {
	p.buf = append(p.buf, 0x60, 0, 0, 0)
	p.buf = binary.BigEndian.AppendUint16(p.buf, uint16(n))
	p.buf = append(p.buf, proto, 64)
	s, d := src.As16(), dst.As16()
	p.buf = append(append(p.buf, s[:]...), d[:]...)
}

// tcp appends the header (RFC 9293) behind its ports.
func (p *Pcap) tcp(s stream, n int) {
	back := stream{s.dst, s.src}
	if len(p.seqs) >= maxStreams {
		clear(p.seqs)
	}
	seq := max(p.seqs[s], firstSeq)
	p.seqs[s] = seq + uint32(n)
	p.buf = binary.BigEndian.AppendUint32(p.buf, seq)
	p.buf = binary.BigEndian.AppendUint32(p.buf, max(p.seqs[back], firstSeq))
	p.buf = append(p.buf, 5<<4, 0x18, 0xff, 0xff, 0, 0, 0, 0) // PSH and ACK, the largest window
}

// pseudo is the sum of the header that checksums include (RFC 9293 3.1, RFC 8200 8.1).
func pseudo(src, dst netip.Addr, proto byte, n int) uint32 {
	s, d := src.As16(), dst.As16()
	from := 0
	if src.Is4() && dst.Is4() {
		from = 12
	}
	return sum(sum(uint32(proto)+uint32(n), s[from:]), d[from:])
}

func sum(s uint32, b []byte) uint32 {
	for ; len(b) > 1; b = b[2:] {
		s += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}

// checksum is RFC 1071's, beginning with a sum.
func checksum(s uint32, b []byte) uint16 {
	s = sum(s, b)
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return ^uint16(s)
}
