package resolver

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"mrcproxy/internal/resolver/dnstest"
)

func TestLifetime(t *testing.T) {
	for _, c := range []struct {
		ttl   uint32
		early float64
		want  time.Duration
	}{
		{0, 0, time.Second}, {1, 0.99, time.Second}, {60, 0, time.Minute}, {60, 0.5, 57 * time.Second}, {300, 0, 5 * time.Minute},
		{86400, 0, 5 * time.Minute}, {1 << 31, 0, time.Second},
	} {
		if got := lifetime(c.ttl, c.early); got != c.want {
			t.Errorf("lifetime(%d, %v) = %v, want %v", c.ttl, c.early, got, c.want)
		}
	}
	for failures, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 6: mostPause, 9: mostPause, 1 << 30: mostPause} {
		if got := pause(failures, 0); got != want {
			t.Errorf("pause(%d) = %v, want %v", failures, got, want)
		}
	}
}

// TestTTL: an answer is asked for again when it has grown old, not before and not much after; the floor and the cap hold.
func TestTTL(t *testing.T) {
	for _, c := range []struct {
		ttl      string
		min, max int // questions in ten minutes
	}{{"0", 595, 601}, {"10", 60, 67}, {"60", 10, 12}, {"86400", 2, 3}} {
		t.Run(c.ttl, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				z := dnstest.NewZone(t, "a.test. "+c.ttl+" IN A 10.0.0.1")
				r := in(t, z, nil)
				r.Apply([]Name{name("a.test:1")})
				run(t, r)
				after(10*time.Minute - time.Second)
				if n := z.Asked("a.test.", dns.TypeA); n < c.min || n > c.max {
					t.Errorf("asked %d times, want %d to %d", n, c.min, c.max)
				}
			})
		})
	}
}

// TestGrowShrink: a name's targets follow DNS, each change is told once, and the order of an answer is no change.
func TestGrowShrink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := name("a.test:1")
		z := dnstest.NewZone(t, soa, "a.test. 10 IN A 10.0.0.1")
		told := 0
		r := in(t, z, func(names []Name) {
			if told++; len(names) != 1 || names[0] != n {
				t.Errorf("told of %v", names)
			}
		})
		r.Lookup(t.Context(), []Name{n})
		r.Apply([]Name{n})
		wantTargets(t, r, n, "10.0.0.1:1")
		run(t, r)
		for i, step := range []struct {
			records []string
			told    int
			want    []string
		}{
			{[]string{"a.test. 10 IN A 10.0.0.1"}, 0, []string{"10.0.0.1:1"}},
			{[]string{"a.test. 10 IN A 10.0.0.3", "a.test. 10 IN A 10.0.0.1", "a.test. 10 IN A 10.0.0.2"}, 1, []string{"10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"}},
			{[]string{"a.test. 10 IN A 10.0.0.2", "a.test. 10 IN A 10.0.0.3", "a.test. 10 IN A 10.0.0.1"}, 1, []string{"10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"}},
			{[]string{"a.test. 10 IN A 10.0.0.3"}, 2, []string{"10.0.0.3:1"}},
			{nil, 2, []string{"10.0.0.3:1"}}, // never the last one
			{[]string{"a.test. 10 IN A 10.0.0.4"}, 3, []string{"10.0.0.4:1"}},
		} {
			z.Set(t, append(step.records, soa)...)
			after(21 * time.Second)
			wantTargets(t, r, n, step.want...)
			if told != step.told {
				t.Errorf("step %d: told %d times, want %d", i, told, step.told)
			}
		}
	})
}

// TestOutage: while DNS fails, in any way, the targets stay, lookups go on ever more slowly, and one that succeeds ends it.
func TestOutage(t *testing.T) {
	for about, spoil := range map[string]func(*dnstest.Zone){
		"SERVFAIL": func(z *dnstest.Zone) { z.Fail(dns.RcodeServerFailure) },
		"NXDOMAIN": func(z *dnstest.Zone) { z.Fail(dns.RcodeNameError) },
		"silence":  func(z *dnstest.Zone) { z.Silent(true) },
	} {
		t.Run(about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := name("srv.test")
				z := dnstest.NewZone(t, soa, "_sip._udp.srv.test. 10 IN SRV 1 2 3 a.test.", "a.test. 10 IN A 10.0.0.1")
				r := in(t, z, func([]Name) { t.Error("told of a change") })
				r.Lookup(t.Context(), []Name{n})
				run(t, r)
				after(time.Second)
				ok := r.Stats()[0]
				if ok.Targets != 1 || ok.Err != nil || ok.LastSuccess.IsZero() {
					t.Errorf("before: %+v", ok)
				}
				spoil(z)
				after(10 * time.Minute)
				wantTargets(t, r, n, "10.0.0.1:3 1 2")
				s := r.Stats()[0]
				if s.Failed < 10 || s.Failed > 130 || s.Err == nil || !s.LastSuccess.Equal(ok.LastSuccess) {
					t.Errorf("after: %+v", s)
				}
				z.Fail(dns.RcodeSuccess)
				z.Silent(false)
				after(mostPause + refreshTimeout)
				if s := r.Stats()[0]; s.Err != nil || s.OK == ok.OK {
					t.Errorf("well again: %+v", s)
				}
			})
		})
	}
}

// TestLater: a name that cannot be resolved at first is told of when it can be.
func TestLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := name("a.test:1")
		z := dnstest.NewZone(t, soa, "a.test. 10 IN A 10.0.0.1")
		z.Silent(true)
		told := 0
		r := in(t, z, func([]Name) { told++ })
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		r.Lookup(ctx, []Name{n})
		if d := time.Since(start); d != 3*time.Second {
			t.Errorf("Lookup took %v", d)
		}
		wantTargets(t, r, n)
		r.Lookup(t.Context(), []Name{n}) // does not wait for it again
		if d := time.Since(start); d != 3*time.Second {
			t.Errorf("the second Lookup took %v", d)
		}
		run(t, r)
		after(time.Minute)
		z.Silent(false)
		after(mostPause + refreshTimeout)
		wantTargets(t, r, n, "10.0.0.1:1")
		if told != 1 {
			t.Errorf("told %d times", told)
		}
	})
}

// TestNegative: that there are no SRV records is believed for as long as the SOA says (RFC 2308), whatever the addresses'
// TTL.
func TestNegative(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := dnstest.NewZone(t, "test. 3600 IN SOA ns.test. root.test. 1 2 3 4 120", "a.test. 5 IN A 10.0.0.1")
		r := in(t, z, nil)
		r.Apply([]Name{name("a.test")})
		run(t, r)
		after(10*time.Minute - time.Second)
		if n := z.Asked("_sip._udp.a.test.", dns.TypeSRV); n < 5 || n > 6 {
			t.Errorf("asked %d times for SRV", n)
		}
		if n := z.Asked("a.test.", dns.TypeA); n < 110 || n > 135 {
			t.Errorf("asked %d times for A", n)
		}
	})
}

// TestPartOfOutage: one question that gets no answer keeps what it last had, and the others go on.
func TestPartOfOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := name("a.test:1")
		n.IPv6 = true
		z := dnstest.NewZone(t, soa, "a.test. 10 IN A 10.0.0.1", "a.test. 10 IN AAAA 2001:db8::1")
		r := in(t, z, nil)
		direct, silent := r.exchange, new(atomic.Bool)
		r.exchange = func(ctx context.Context, network, server string, m *dns.Msg) (*dns.Msg, error) {
			if silent.Load() && m.Question[0].Qtype == dns.TypeAAAA {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return direct(ctx, network, server, m)
		}
		r.Lookup(t.Context(), []Name{n})
		run(t, r)
		silent.Store(true)
		z.Set(t, soa, "a.test. 10 IN A 10.0.0.2")
		after(time.Minute)
		wantTargets(t, r, n, "10.0.0.2:1", "[2001:db8::1]:1")
		if s := r.Stats()[0]; s.Err == nil {
			t.Error("no error")
		}
		silent.Store(false)
		after(mostPause + refreshTimeout)
		wantTargets(t, r, n, "10.0.0.2:1")
	})
}

// TestApply: names that are no longer wanted are asked for no more, and those that stay keep their answers.
func TestApply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := dnstest.NewZone(t, "a.test. 10 IN A 10.0.0.1", "b.test. 10 IN A 10.0.0.2")
		r := in(t, z, nil)
		a, b := name("a.test:1"), name("b.test:1")
		r.Apply([]Name{a, b, a})
		run(t, r)
		wantTargets(t, r, a, "10.0.0.1:1")
		r.Apply([]Name{b})
		wantTargets(t, r, a)
		wantTargets(t, r, b, "10.0.0.2:1")
		after(time.Minute)
		if n := z.Asked("a.test.", dns.TypeA); n != 1 {
			t.Errorf("asked %d times", n)
		}
		r.Lookup(t.Context(), []Name{a, b})
		wantTargets(t, r, a, "10.0.0.1:1")
		after(time.Minute)
		if n := z.Asked("a.test.", dns.TypeA); n < 6 {
			t.Errorf("a name added while running was asked for %d times", n)
		}
		if err := r.Run(t.Context()); err == nil {
			t.Error("runs twice")
		}
	})
}

func TestNameString(t *testing.T) {
	for want, n := range map[string]Name{"sip:a.test:1": name("a.test:1"), "sip:a.test;transport=tcp": name("a.test;tcp")} {
		if n.String() != want {
			t.Errorf("%v, want %s", n, want)
		}
	}
}
