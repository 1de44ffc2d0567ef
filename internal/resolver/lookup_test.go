package resolver

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"mrcproxy/internal/resolver/dnstest"
)

// once looks a name up at a real server, and gives what was found and what was wrong.
func once(t *testing.T, o Options, n Name) ([]string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if o.Hosts == "" {
		o.Hosts = filepath.Join(t.TempDir(), "none")
	}
	r := New(o)
	r.Lookup(ctx, []Name{n})
	return texts(r.Targets(n)), r.Stats()[0].Err
}

// TestLookup walks through RFC 3263 4.2.
func TestLookup(t *testing.T) {
	z := dnstest.NewZone(t, soa,
		"one.test. 60 IN A 10.0.0.1",
		"two.test. 60 IN A 10.0.0.2", "two.test. 60 IN A 10.0.0.1", "two.test. 60 IN AAAA 2001:db8::1",
		"six.test. 60 IN AAAA 2001:db8::1",
		"alias.test. 60 IN CNAME middle.test.", "middle.test. 60 IN CNAME ONE.test.",
		"nowhere.test. 60 IN CNAME gone.test.",
		"loop.test. 60 IN CNAME pool.test.", "pool.test. 60 IN CNAME loop.test.",
		"_sip._udp.srv.test. 60 IN SRV 20 0 8062 two.test.", "_sip._udp.srv.test. 60 IN SRV 10 70 8061 one.test.",
		"_sip._udp.srv.test. 60 IN SRV 10 30 8060 one.test.", "_sip._tcp.srv.test. 60 IN SRV 1 1 8070 one.test.",
		"srv.test. 60 IN A 10.9.9.9",
		"_sip._udp.twice.test. 60 IN SRV 1 1 5070 one.test.", "_sip._udp.twice.test. 60 IN SRV 2 1 5070 two.test.",
		"_sip._udp.off.test. 60 IN SRV 0 0 0 .", "off.test. 60 IN A 10.9.9.9",
		"_sip._udp.half.test. 60 IN SRV 1 1 5060 gone.test.", "_sip._udp.half.test. 60 IN SRV 2 1 5060 one.test.",
		"_sip._udp.aliased.test. 60 IN CNAME _sip._tcp.srv.test.",
		"zero.test. 60 IN A 0.0.0.0", "zero.test. 60 IN A 224.0.0.1", "zero.test. 60 IN AAAA fe80::1", "zero.test. 60 IN AAAA ::",
	)
	server := dnstest.Serve(t, z, "127.0.0.1")
	both := func(n Name) Name { n.IPv6 = true; return n }
	for _, c := range []struct {
		about string
		name  Name
		want  string // empty: an error
	}{
		{"a port: addresses only", name("srv.test:8060"), "10.9.9.9:8060"},
		{"several addresses, in order", name("two.test:8060"), "10.0.0.1:8060, 10.0.0.2:8060"},
		{"both families", both(name("two.test:8060")), "10.0.0.1:8060, 10.0.0.2:8060, [2001:db8::1]:8060"},
		{"the other family only", both(name("six.test:1")), "[2001:db8::1]:1"},
		{"a family that is of no use", name("six.test:1"), ""},
		{"no port and no SRV", name("one.test"), "10.0.0.1:5060"},
		{"SRV", name("srv.test"), "10.0.0.1:8060 10 30, 10.0.0.1:8061 10 70, 10.0.0.1:8062 20 0, 10.0.0.2:8062 20 0"},
		{"SRV of the other transport", name("srv.test;tcp"), "10.0.0.1:8070 1 1"},
		{"SRV that meet at one address", name("twice.test"), "10.0.0.1:5070 1 1, 10.0.0.2:5070 2 1"},
		{"SRV that says no", name("off.test"), ""},
		{"SRV with a host that is gone", name("half.test"), "10.0.0.1:5060 2 1"},
		{"SRV behind a CNAME", name("aliased.test"), "10.0.0.1:8070 1 1"},
		{"CNAME", name("alias.test:8060"), "10.0.0.1:8060"},
		{"CNAME to nothing", name("nowhere.test:8060"), ""},
		{"CNAMEs in a circle", name("loop.test:8060"), ""},
		{"absolute", name("one.test.:8060"), "10.0.0.1:8060"},
		{"nothing", name("none.test"), ""},
		{"addresses of no server", both(name("zero.test")), ""},
	} {
		got, err := once(t, Options{Servers: []string{server}}, c.name)
		if strings.Join(got, ", ") != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%s: %v is %q, %v; want %q", c.about, c.name, got, err, c.want)
		}
	}
}

func TestAdditional(t *testing.T) {
	z := dnstest.NewZone(t, soa, "_sip._udp.srv.test. 60 IN SRV 1 1 1 one.test.", "one.test. 60 IN A 10.0.0.1", "one.test. 60 IN A 10.0.0.2")
	z.Additional()
	got, err := once(t, Options{Servers: []string{dnstest.Serve(t, z, "127.0.0.1")}}, name("srv.test"))
	if want := []string{"10.0.0.1:1 1 1", "10.0.0.2:1 1 1"}; !slices.Equal(got, want) || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if n := z.Asked("one.test.", dns.TypeA); n != 0 {
		t.Errorf("asked %d times for what came with the SRV records", n)
	}
}

func TestTruncated(t *testing.T) {
	z := dnstest.NewZone(t, many("many.test.", 120)...)
	for _, edns := range []bool{true, false} {
		if !edns {
			z.NoEDNS()
		}
		before := z.OverTCP()
		got, err := once(t, Options{Servers: []string{dnstest.Serve(t, z, "127.0.0.1")}}, name("many.test:5060"))
		if len(got) != 120 || err != nil {
			t.Errorf("EDNS %v: %d addresses, %v", edns, len(got), err)
		}
		if z.OverTCP() == before {
			t.Errorf("EDNS %v: not asked over TCP", edns)
		}
	}
}

// TestTooMany: what one name can bring is bounded, and which addresses are left out does not change from time to time.
func TestTooMany(t *testing.T) {
	z := dnstest.NewZone(t, many("many.test.", maxTargets+10)...)
	got, err := once(t, Options{Servers: []string{dnstest.Serve(t, z, "127.0.0.1")}}, name("many.test:5060"))
	if len(got) != maxTargets || got[0] != "10.0.1.0:5060" || err == nil {
		t.Errorf("%d addresses, first %s, %v", len(got), got[0], err)
	}
}

func TestOtherServers(t *testing.T) {
	for about, spoil := range map[string]func(*dnstest.Zone){
		"SERVFAIL": func(z *dnstest.Zone) { z.Fail(dns.RcodeServerFailure) },
		"REFUSED":  func(z *dnstest.Zone) { z.Fail(dns.RcodeRefused) },
		"silence":  func(z *dnstest.Zone) { z.Silent(true) },
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			good := dnstest.NewZone(t, "a.test. 1 IN A 10.0.0.1", "b.test. 1 IN A 10.0.0.2")
			bad := dnstest.NewZone(t)
			spoil(bad)
			servers := []string{dnstest.Serve(t, bad, "127.0.0.1"), dnstest.Serve(t, good, "127.0.0.1")}
			r := New(Options{Servers: servers, Hosts: filepath.Join(t.TempDir(), "none")})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			r.Lookup(ctx, []Name{name("a.test:1")})
			wantTargets(t, r, name("a.test:1"), "10.0.0.1:1")
			r.Lookup(ctx, []Name{name("b.test:1")})
			wantTargets(t, r, name("b.test:1"), "10.0.0.2:1")
			if n := bad.Asked("b.test.", dns.TypeA); n != 0 {
				t.Errorf("the server that failed was asked first again")
			}
			bad.Fail(dns.RcodeRefused)
			good.Fail(dns.RcodeRefused)
			r.Lookup(ctx, []Name{name("c.test:1")})
			good.Fail(dns.RcodeSuccess)
			wantTargets(t, r, name("c.test:1"))
		})
	}
}

// TestForeignAnswers: datagrams that are no answer to the question are not taken for one.
func TestForeignAnswers(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	defer func() { _ = c.Close(); <-done }()
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		n, from, err := c.ReadFrom(buf)
		m := new(dns.Msg)
		if err != nil || m.Unpack(buf[:n]) != nil {
			return
		}
		send := func(change func(*dns.Msg)) {
			reply := new(dns.Msg).SetReply(m)
			rr, _ := dns.NewRR("a.test. 60 IN A 6.6.6.6")
			reply.Answer, reply.RecursionAvailable = []dns.RR{rr}, true
			change(reply)
			b, _ := reply.Pack()
			_, _ = c.WriteTo(b, from)
		}
		send(func(r *dns.Msg) { r.Id++ })
		send(func(r *dns.Msg) { r.Response = false })
		send(func(r *dns.Msg) { r.Question[0].Name = "b.test." })
		send(func(r *dns.Msg) { r.Question[0].Qtype = dns.TypeAAAA })
		_, _ = c.WriteTo([]byte("nonsense, of which nothing can be read"), from)
		send(func(r *dns.Msg) { r.Answer[0].(*dns.A).A = net.IPv4(10, 0, 0, 1) })
	}()
	got, err := once(t, Options{Servers: []string{c.LocalAddr().String()}}, name("a.test:1"))
	if !slices.Equal(got, []string{"10.0.0.1:1"}) || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestFiles(t *testing.T) {
	hosts := filepath.Join(t.TempDir(), "hosts")
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(hosts, "# comment\n127.0.0.5 ASR.local asr # 127.0.0.6 asr\n::5\tasr\n127.0.0.7 tts.\nx y\n127.0.0.8\n")
	six := name("asr")
	six.IPv6 = true
	for n, want := range map[Name][]string{
		name("asr:8060"): {"127.0.0.5:8060"}, name("asr.local"): {"127.0.0.5:5060"}, name("asr.local.:1"): {"127.0.0.5:1"},
		six: {"127.0.0.5:5060", "[::5]:5060"}, name("tts:1"): {"127.0.0.7:1"},
	} {
		if got, err := once(t, Options{Hosts: hosts, Servers: []string{"127.0.0.1:1"}}, n); !slices.Equal(got, want) || err != nil {
			t.Errorf("%v: %q, %v", n, got, err)
		}
	}

	write(conf, "search Here.Example .\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\noptions ndots:2 timeout:3 attempts:4 rotate\n")
	s := system{resolvConf: conf}
	got := s.settings()
	if !slices.Equal(got.servers, []string{"192.0.2.1:53", "[fe80::1%eth0]:53"}) || got.timeout != 3*time.Second || got.attempts != 4 {
		t.Errorf("settings %+v", got)
	}
	for host, want := range map[string]string{
		"a": "a.here.example. a.", "a.b": "a.b.here.example. a.b.", "a.b.c": "a.b.c. a.b.c.here.example.", "a.": "a.",
	} {
		if l := got.candidates(host); strings.Join(l, " ") != want {
			t.Errorf("%s may be %q, want %s", host, l, want)
		}
	}
	write(conf, "nameserver 192.0.2.77 # longer\n")
	if got = s.settings(); !slices.Equal(got.servers, []string{"192.0.2.77:53"}) || got.search != nil || got.ndots != 1 {
		t.Errorf("after a change: %+v", got)
	}
	if err := os.Remove(conf); err != nil {
		t.Fatal(err)
	}
	if got = s.settings(); !slices.Equal(got.servers, defaults().servers) {
		t.Errorf("without a file: %+v", got)
	}
}

// TestSearch: names of the search list are tried in order, SRV and addresses of one before the next; a name without an
// answer is not passed over for another, which may be a stranger.
func TestSearch(t *testing.T) {
	z := dnstest.NewZone(t, soa, "asr.second.test. 60 IN A 10.0.0.2", "_sip._udp.asr.third.test. 60 IN SRV 1 1 1 asr.second.test.")
	n := name("asr")
	walk := func() ([]Target, error) {
		l := lookup{r: in(t, z, nil), name: n, now: time.Now(), used: map[question]answer{}}
		l.conf = settings{servers: []string{"a:53"}, attempts: 1, timeout: time.Second, ndots: 5, search: []string{"first.test.", "second.test.", "third.test."}}
		return l.run(t.Context())
	}
	got, err := walk()
	if !slices.Equal(texts(got), []string{"10.0.0.2:5060"}) || err != nil {
		t.Errorf("got %q, %v", texts(got), err)
	}
	if z.Asked("asr.first.test.", dns.TypeA) != 1 || z.Asked("_sip._udp.asr.third.test.", dns.TypeSRV) != 0 {
		t.Error("not asked in order")
	}
	z.Fail(dns.RcodeServerFailure)
	if got, err := walk(); got != nil || err == nil || z.Asked("asr.second.test.", dns.TypeA) != 1 {
		t.Errorf("after SERVFAIL for the first name: %q, %v", texts(got), err)
	}
}

// TestAliasLeftOpen: a server that leaves the end of a CNAME to us.
func TestAliasLeftOpen(t *testing.T) {
	m := new(dns.Msg)
	rr, _ := dns.NewRR("a.test. 30 IN CNAME B.elsewhere.")
	m.Answer = []dns.RR{rr}
	got, err := read(m, question{"a.test.", dns.TypeA})
	if err != nil || got.alias != "b.elsewhere." || got.ttl != 30 {
		t.Errorf("got %+v, %v", got, err)
	}
	none, _ := dns.NewRR("elsewhere. 7 IN SOA ns. root. 1 2 3 4 9")
	m.Ns = []dns.RR{none}
	if got, err = read(m, question{"a.test.", dns.TypeA}); err != nil || got.alias != "" || got.ttl != 7 {
		t.Errorf("with a SOA: %+v, %v", got, err)
	}
}
