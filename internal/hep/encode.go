package hep

import (
	"encoding/binary"
	"net/netip"

	"mrcproxy/internal/trace"
	"mrcproxy/proxy/transport"
)

// The chunks that we write (HEPv3, https://github.com/sipcapture/HEP, vendor 0).
const (
	chunkFamily      = 1 // of the IP addresses: AF_INET or AF_INET6, as Linux numbers them
	chunkProtocol    = 2 // IP protocol number
	chunkSrc4        = 3
	chunkDst4        = 4
	chunkSrc6        = 5
	chunkDst6        = 6
	chunkSrcPort     = 7
	chunkDstPort     = 8
	chunkSeconds     = 9
	chunkMicros      = 10
	chunkType        = 11 // of the payload
	chunkAgent       = 12 // who captured it
	chunkKey         = 14
	chunkPayload     = 15
	chunkCorrelation = 17
)

const (
	typeSIP     = 1
	familyIPv4  = 2
	familyIPv6  = 10
	chunkHeader = 6 // bytes: vendor, type, length
	// maxPacket is the most that a packet has in bytes: its length has 16 bits, and a datagram needs room for its headers.
	maxPacket = 65507
	maxID     = 1024 // bytes of a Call-ID
)

// appendPacket appends a message as one HEPv3 packet, its Call-ID as the correlation id. What of a message is too long is left out.
func appendPacket(dst []byte, m *trace.Message, agent uint32, key string) []byte {
	p := packet{append(dst, "HEP3\x00\x00"...)}
	p.addresses(m.Src.Addr(), m.Dst.Addr())
	p.u16(chunkSrcPort, m.Src.Port())
	p.u16(chunkDstPort, m.Dst.Port())
	proto := byte(17)
	if m.Proto != transport.UDP {
		proto = 6
	}
	p.bytes(chunkProtocol, proto)
	p.u32(chunkSeconds, uint32(m.At.Unix()))
	p.u32(chunkMicros, uint32(m.At.Nanosecond()/1000))
	p.bytes(chunkType, typeSIP)
	p.u32(chunkAgent, agent)
	if key != "" {
		p.text(chunkKey, key)
	}
	if m.CallID != "" {
		p.text(chunkCorrelation, m.CallID[:min(len(m.CallID), maxID)])
	}
	room := maxPacket - (len(p.b) - len(dst)) - chunkHeader
	p.bytes(chunkPayload, m.Text[:min(len(m.Text), room)]...)
	binary.BigEndian.PutUint16(p.b[len(dst)+4:], uint16(len(p.b)-len(dst)))
	return p.b
}

type packet struct{ b []byte }

// addresses writes both as IPv6 where one is: an IPv4 address is mapped then.
func (p *packet) addresses(src, dst netip.Addr) {
	if src.Is4() && dst.Is4() {
		s, d := src.As4(), dst.As4()
		p.bytes(chunkFamily, familyIPv4)
		p.bytes(chunkSrc4, s[:]...)
		p.bytes(chunkDst4, d[:]...)
		return
	}
	s, d := src.As16(), dst.As16()
	p.bytes(chunkFamily, familyIPv6)
	p.bytes(chunkSrc6, s[:]...)
	p.bytes(chunkDst6, d[:]...)
}

// head appends the header of a chunk with n bytes behind it.
func (p *packet) head(kind uint16, n int) {
	p.b = binary.BigEndian.AppendUint16(p.b, 0)
	p.b = binary.BigEndian.AppendUint16(p.b, kind)
	p.b = binary.BigEndian.AppendUint16(p.b, uint16(chunkHeader+n))
}

func (p *packet) bytes(kind uint16, value ...byte) {
	p.head(kind, len(value))
	p.b = append(p.b, value...)
}

func (p *packet) text(kind uint16, value string) {
	p.head(kind, len(value))
	p.b = append(p.b, value...)
}

func (p *packet) u16(kind, v uint16) { p.bytes(kind, byte(v>>8), byte(v)) }

func (p *packet) u32(kind uint16, v uint32) {
	p.bytes(kind, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}
