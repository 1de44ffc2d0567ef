package proxy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"net/netip"
	"sync"

	"mrcproxy/proxy/message"
	"mrcproxy/proxy/transport"
)

// cookie is what our Record-Route URI carries in its user part: both hops of the dialog, so that any instance with the
// secret routes a request in it without a table (RFC 3261 16.12 loose routing, with the targets pinned), and nobody
// without it has anything relayed.
type cookie struct {
	backend  uint32         // identity of the server
	tag      uint32         // hash of the From tag of the side that opened the dialog: tells the direction
	server   transport.Flow // to the server: no connection named
	client   transport.Flow // to the client: the address the INVITE came from
	callback uint16         // the port of the client's Via sent-by: where a TCP client listens (RFC 3261 18.2.2)
}

// macLen keeps 80 bits of the HMAC: a forger has to be online, and each try is one request.
const macLen = 10

const maxCookie = 1 + 1 + 1 + 4 + 4 + 2*18 + 2 + macLen

// keys sign and verify cookies. Several instances share the secrets; rotation: the first signs, all verify.
type keys struct{ list []*key }

type key struct {
	id   byte
	pool sync.Pool // of *signer
}

// signer is an HMAC with memory of its own: what an interface's method is given is taken to escape.
type signer struct {
	hash    hash.Hash
	in, sum []byte
}

func newKeys(secrets [][]byte) *keys {
	k := &keys{}
	for _, s := range secrets {
		sum := sha256.Sum256(append([]byte("mrcproxy key id\x00"), s...))
		secret := append([]byte(nil), s...)
		k.list = append(k.list, &key{id: sum[0], pool: sync.Pool{New: func() any { return &signer{hash: hmac.New(sha256.New, secret)} }}})
	}
	return k
}

func (k *key) mac(dst, body, callID []byte) []byte {
	s := k.pool.Get().(*signer)
	s.in = append(append(s.in[:0], body...), callID...)
	s.hash.Reset()
	_, _ = s.hash.Write(s.in)
	s.sum = s.hash.Sum(s.sum[:0])
	dst = append(dst, s.sum[:macLen]...)
	k.pool.Put(s)
	return dst
}

// tagHash is the same in every process.
func tagHash(tag []byte) uint32 {
	h := uint32(2166136261) // FNV-1a
	for _, c := range tag {
		h = (h ^ uint32(c)) * 16777619
	}
	return h
}

// The flags byte: two bits of transport for each side, then the address families.
const (
	cookieServer  = 0 // shift
	cookieClient  = 2 // shift
	cookieServer6 = 1 << 4
	cookieClient6 = 1 << 5
)

// protoBits and protoAt keep a transport in two bits.
func protoBits(p transport.Proto, shift int) byte { return byte(p-transport.UDP) & 3 << shift }

func protoAt(flags byte, shift int) transport.Proto {
	return transport.UDP + transport.Proto(flags>>shift&3)
}

// cookieCoding is base64 with "." for "C": a peer that looks for "CSeq" or "Call-ID" anywhere in a message, as SIPp 3.6 does, would
// find it in one cookie of 400,000. It is strict about the bits that its last character has to spare: a cookie has one spelling.
var cookieCoding = base64.NewEncoding("AB.DEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_").WithPadding(base64.NoPadding).Strict()

// append appends the cookie's text, which is unreserved characters only (RFC 3261 25.1), for the dialog of that Call-ID.
func (k *keys) append(dst []byte, c *cookie, callID []byte) []byte {
	var raw [maxCookie]byte
	b := append(raw[:0], k.list[0].id, 0, c.server.Local<<4|c.client.Local&15)
	b = binary.BigEndian.AppendUint32(b, c.backend)
	b = binary.BigEndian.AppendUint32(b, c.tag)
	flags := protoBits(c.server.Proto, cookieServer) | protoBits(c.client.Proto, cookieClient)
	b = appendAddr(b, c.server.Remote, &flags, cookieServer6)
	b = appendAddr(b, c.client.Remote, &flags, cookieClient6)
	b = binary.BigEndian.AppendUint16(b, c.callback)
	b[1] = flags
	b = k.list[0].mac(b, b, callID)
	return cookieCoding.AppendEncode(dst, b)
}

func appendAddr(b []byte, a netip.AddrPort, flags *byte, six byte) []byte {
	if a.Addr().Is4() {
		v4 := a.Addr().As4()
		b = append(b, v4[:]...)
	} else {
		*flags |= six
		v6 := a.Addr().As16()
		b = append(b, v6[:]...)
	}
	return binary.BigEndian.AppendUint16(b, a.Port())
}

// parse reads a cookie and verifies it for that Call-ID.
func (k *keys) parse(text, callID []byte) (c cookie, ok bool) {
	var raw [maxCookie + 2]byte
	if n := cookieCoding.DecodedLen(len(text)); n > maxCookie {
		return c, false
	}
	n, err := cookieCoding.Decode(raw[:], text)
	if err != nil || n < 11+macLen { // it skips line ends
		return c, false
	}
	body, mac := raw[:n-macLen], raw[n-macLen:n]
	if !k.verify(body, mac, callID) {
		return c, false
	}
	r := reader{b: body[1:], ok: true}
	flags := r.byte()
	local := r.byte()
	c.backend, c.tag = r.uint32(), r.uint32()
	c.server = transport.Flow{Proto: protoAt(flags, cookieServer), Local: local >> 4, Remote: r.addr(flags&cookieServer6 != 0)}
	c.client = transport.Flow{Proto: protoAt(flags, cookieClient), Local: local & 15, Remote: r.addr(flags&cookieClient6 != 0)}
	c.callback = r.uint16()
	return c, r.ok && len(r.b) == 0
}

func (k *keys) verify(body, mac, callID []byte) bool {
	for _, key := range k.list {
		if key.id != body[0] {
			continue
		}
		var want [macLen]byte
		if hmac.Equal(key.mac(want[:0], body, callID), mac) {
			return true
		}
	}
	return false
}

// reader takes numbers off a slice; ok turns false at its end.
type reader struct {
	b  []byte
	ok bool
}

func (r *reader) take(n int) []byte {
	if len(r.b) < n {
		r.ok, r.b = false, nil
		return make([]byte, n)
	}
	t := r.b[:n]
	r.b = r.b[n:]
	return t
}

func (r *reader) byte() byte     { return r.take(1)[0] }
func (r *reader) uint16() uint16 { return binary.BigEndian.Uint16(r.take(2)) }
func (r *reader) uint32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }

func (r *reader) addr(six bool) netip.AddrPort {
	var a netip.Addr
	if six {
		a = netip.AddrFrom16([16]byte(r.take(16)))
	} else {
		a = netip.AddrFrom4([4]byte(r.take(4)))
	}
	return netip.AddrPortFrom(a, r.uint16())
}

// ownRoute is one of our Record-Route URIs, met in a Route header.
func (k *keys) ownRoute(uri, callID []byte) (text []byte, c cookie, ok bool) {
	u, ok := message.ParseURI(uri)
	if !ok || len(u.User) == 0 {
		return nil, c, false
	}
	c, ok = k.parse(u.User, callID)
	return u.User, c, ok
}
