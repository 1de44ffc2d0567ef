package proxy

import (
	"net/netip"
	"testing"
	"time"
)

// smallest are datagrams that are answered and could hardly be shorter.
var smallest = map[string]string{
	"no more than Via and CSeq": "X a SIP/2.0\r\nv:SIP/2.0/UDP a;rport\r\nCSeq:1 X\r\n\r\n",
	"wrong version":             "X a SIP/3.0\r\nv:SIP/2.0/UDP a;rport\r\nCSeq:1 X\r\n\r\n",
	"CSeq of another method":    "X a:b SIP/2.0\r\nv:SIP/2.0/UDP a;rport\r\nf:<a:b>;tag=1\r\nt:<a:b>\r\ni:1\r\nCSeq:1 Y\r\n\r\n",
	"OPTIONS":                   "OPTIONS sip:a SIP/2.0\r\nv:SIP/2.0/UDP a;rport\r\nf:<a:b>;tag=1\r\nt:<a:b>\r\ni:1\r\nCSeq:1 OPTIONS\r\n\r\n",
	"OPTIONS with Require":      "OPTIONS sip:a SIP/2.0\r\nv:SIP/2.0/UDP a;rport\r\nf:<a:b>;tag=1\r\nt:<a:b>\r\ni:1\r\nCSeq:1 OPTIONS\r\nRequire:a,b\r\n\r\n",
	"OPTIONS to another scheme": "OPTIONS a:b SIP/2.0\r\nv:SIP/2.0/UDP a;rport\r\nf:<a:b>;tag=1\r\nt:<a:b>\r\ni:1\r\nCSeq:1 OPTIONS\r\n\r\n",
	"MESSAGE":                   "MESSAGE sip:a SIP/2.0\r\nv:SIP/2.0/UDP a;rport\r\nf:<a:b>;tag=1\r\nt:<a:b>\r\ni:1\r\nCSeq:1 MESSAGE\r\n\r\n",
	"Route to somewhere":        "MESSAGE sip:a SIP/2.0\r\nv:SIP/2.0/UDP a;rport\r\nRoute:<sip:b;lr>\r\nf:<a:b>;tag=1\r\nt:<a:b>\r\ni:1\r\nCSeq:1 MESSAGE\r\n\r\n",
	"CANCEL of nothing":         "CANCEL sip:a SIP/2.0\r\nv:SIP/2.0/UDP a;rport\r\nf:<a:b>;tag=1\r\nt:<a:b>\r\ni:1\r\nCSeq:1 CANCEL\r\n\r\n",
	"BYE without a dialog":      "BYE sip:a SIP/2.0\r\nv:SIP/2.0/UDP a;rport\r\nf:<a:b>;tag=1\r\nt:<a:b>;tag=2\r\ni:1\r\nCSeq:1 BYE\r\n\r\n",
	"INVITE without hops":       "INVITE sip:a SIP/2.0\r\nv:SIP/2.0/UDP a;rport\r\nMax-Forwards:0\r\nf:<a:b>;tag=1\r\nt:<a:b>\r\ni:1\r\nCSeq:1 INVITE\r\n\r\n",
}

// TestAmplification: whoever forges the source of a datagram has one datagram sent there, little longer than the forged one.
// docs/operations.md promises the figures.
func TestAmplification(t *testing.T) {
	const more, times = 200, 3.5
	for name, raw := range smallest {
		for _, allow := range []string{"192.0.2.0/24", "127.0.0.0/8"} {
			s := setup{routing: func(r *Routing) { r.Allow = []netip.Prefix{netip.MustParsePrefix(allow)} }}
			inLab(t, s, func(l *lab) {
				c := l.udp(freeswitch)
				c.sendRaw(raw)
				answer := c.next()
				if answer == nil {
					t.Fatalf("%s: no answer", name)
				}
				if n := len(answer.String()); n > len(raw)+more || float64(n) > times*float64(len(raw)) {
					t.Errorf("%s: %d bytes were answered with %d:\n%s", name, len(raw), n, answer)
				}
				l.wait(40 * time.Second)
				c.none()
			})
		}
	}
}

// TestAmplificationOfClients: the failure of an INVITE is sent again until it is ACKed (RFC 3261 17.2.1), so a client that is
// allowed, or who forges its address, gets eleven.
func TestAmplificationOfClients(t *testing.T) {
	inLab(t, setup{routing: func(r *Routing) { r.Routes, r.Otherwise = nil, Otherwise{Reject: 488} }}, func(l *lab) {
		c := l.udp(freeswitch)
		inv := c.invite("fs-recog-udp-01-INVITE")
		l.wait(70 * time.Second)
		n := 0
		for m := c.next(); m != nil; m = c.next() {
			if n++; len(m.String()) > len(inv.String()) {
				t.Errorf("longer than the INVITE:\n%s", m)
			}
		}
		if n != 11 {
			t.Errorf("%d answers, want 11", n)
		}
	})
}
