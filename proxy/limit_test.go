package proxy

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

func addr(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
}

// TestLimiter: each source has its own second's worth, and all together have theirs.
func TestLimiter(t *testing.T) {
	now := time.Unix(1000, 0)
	l := newLimiter(Rate{PerSource: 10, Total: 25})
	count := func(src uint32, n int) (admitted int) {
		for range n {
			if l.admit(addr(src), now) {
				admitted++
			}
		}
		return admitted
	}
	for i, want := range []int{10, 10, 5, 0} { // the third and the fourth source meet the total
		if got := count(uint32(i), 50); got != want {
			t.Errorf("source %d: %d admitted, want %d", i, got, want)
		}
	}
	now = now.Add(500 * time.Millisecond)
	if got := count(0, 50); got != 5 {
		t.Errorf("after half a second %d admitted, want 5", got)
	}
	if l := newLimiter(Rate{}); !l.admit(addr(1), now) || len(l.sources) != 0 {
		t.Error("no rate is a bound")
	}
	if l := newLimiter(Rate{PerSource: 0.5}); !l.admit(addr(1), now) || l.admit(addr(1), now) || !l.admit(addr(1), now.Add(2*time.Second)) {
		t.Error("0.5/s is not one in two seconds")
	}
}

// TestLimiterSources: forged sources fill a bounded table, which is emptied again, and never cost the memory of all.
func TestLimiterSources(t *testing.T) {
	now := time.Unix(1000, 0)
	l := newLimiter(Rate{PerSource: 2})
	for i := range uint32(maxSources + 1000) {
		if got := l.admit(addr(i), now); got != (i < maxSources) {
			t.Fatalf("source %d: admitted %v", i, got)
		}
	}
	if !l.admit(addr(7), now) {
		t.Error("a source that is known has lost its bucket")
	}
	now = now.Add(2 * time.Second)
	if !l.admit(addr(1<<30), now) || len(l.sources) > 2 {
		t.Errorf("%d sources are left when all buckets are full", len(l.sources))
	}
}

func BenchmarkAdmit(b *testing.B) {
	l := newLimiter(Rate{PerSource: 1e9, Total: 1e9})
	now := time.Now()
	b.ReportAllocs()
	for i := range b.N {
		l.admit(addr(uint32(i&15)), now)
	}
}

// TestRate: what starts something is bounded; what belongs to a session is not, however fast its source is; a second later
// the source is welcome again.
func TestRate(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		r := *l.p.routing.Load()
		r.Rate = Rate{PerSource: 1}
		l.p.SetRouting(&r)
		c, srv := l.udp(freeswitch), l.udp(serverA)
		d := l.call(c, srv)
		ping := c.request("server-options-ood-udp-00-OPTIONS")
		c.send(ping)
		if m := c.recv("503 OPTIONS"); m.get("Retry-After") != "1" {
			t.Errorf("no Retry-After: %s", m)
		}
		l.p.SetRouting(&r) // the same rate: the buckets stay
		c.send(ping.branch("z9hG4bKagain"))
		c.recv("503 OPTIONS")
		l.wantDropped(DropRate, 2)
		d.bye()
		l.wait(time.Second)
		c.send(ping.branch("z9hG4bKlater"))
		c.recv("200 OPTIONS")
		l.wait(40 * time.Second)
		l.noSessions()
	})
}

// TestRateOfRetransmissions: an INVITE that comes again is none that starts something: it is answered as its transaction was, and
// takes nothing from the next, whatever the rate is and whoever may start sessions by now.
func TestRateOfRetransmissions(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		r := *l.p.routing.Load()
		r.Rate = Rate{PerSource: 1}
		l.p.SetRouting(&r)
		c, srv := l.udp(freeswitch), l.udp(serverA)
		inv := c.invite("fs-recog-udp-01-INVITE")
		in := srv.recv("INVITE")
		srv.answer(in, "180 Ringing")
		c.recv("180")
		c.send(inv)
		c.recv("180")
		l.wantDropped(DropRate, 0)
		r.Allow = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} // the source is not in it any more
		l.p.SetRouting(&r)
		c.send(inv)
		c.recv("180")
		l.wantDropped(DropForbidden, 0)
		d := &dialog{l: l, client: c, server: srv, invite: in}
		srv.answer(in, "fs-recog-udp-03-200-INVITE")
		d.ok = c.recv("200")
		c.send(d.fromClient("ACK"))
		srv.recv("ACK")
		d.bye()
	})
}
