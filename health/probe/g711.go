package probe

import "math/bits"

// Payload types of G.711 (RFC 3551 6).
const (
	pcmu = 0
	pcma = 8
)

// encode is one sample in G.711: PCMA, or else PCMU.
func encode(payload byte, sample int16) byte {
	if payload == pcma {
		return encodeA(sample)
	}
	return encodeU(sample)
}

// decode is the sample that a byte of G.711 stands for.
func decode(payload, b byte) int16 {
	if payload == pcma {
		return decodeA(b)
	}
	return decodeU(b)
}

// bias is what mu-law adds to a sample, on the scale of 16 bits, so that every segment begins at a power of two.
const bias = 0x84

func encodeU(sample int16) byte {
	v, sign := int(sample), byte(0)
	if v < 0 {
		v, sign = -v, 0x80
	}
	v = min(v, 32635) + bias
	segment := bits.Len(uint(v)) - 8 // 0 to 7
	return ^(sign | byte(segment)<<4 | byte(v>>(segment+3))&0x0f)
}

func decodeU(b byte) int16 {
	b = ^b
	v := (int(b&0x0f)<<3+bias)<<(b>>4&7) - bias
	if b&0x80 != 0 {
		return int16(-v)
	}
	return int16(v)
}

func encodeA(sample int16) byte {
	v, sign := int(sample), byte(0x80) // set for what is not negative
	if v < 0 {
		v, sign = ^v, 0
	}
	if segment := bits.Len(uint(v)) - 8; segment > 0 {
		return (sign | byte(segment)<<4 | byte(v>>(segment+3))&0x0f) ^ 0x55
	}
	return (sign | byte(v>>4)) ^ 0x55
}

func decodeA(b byte) int16 {
	b ^= 0x55
	v := int(b&0x0f)<<4 + 8
	if segment := b >> 4 & 7; segment > 0 {
		v = (v + 0x100) << (segment - 1)
	}
	if b&0x80 == 0 {
		return int16(-v)
	}
	return int16(v)
}
