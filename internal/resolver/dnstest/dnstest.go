// Package dnstest is a DNS server for tests: a zone that a test can change, and a server for it on a loopback address.
// It is no part of the daemon.
package dnstest

import (
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// Zone answers questions from its records, as a recursive server would. All methods are safe for concurrent use.
type Zone struct {
	mu       sync.Mutex
	records  []dns.RR
	rcode    int // of every answer, unless it is success
	silent   bool
	additive bool
	noEDNS   bool
	asked    map[dns.Question]int
	overTCP  int
}

// NewZone returns a zone of records in the format of zone files, such as "asr.test. 60 IN A 10.0.0.1". A SOA goes with
// answers that there is nothing.
func NewZone(t testing.TB, records ...string) *Zone {
	z := &Zone{asked: make(map[dns.Question]int)}
	z.Set(t, records...)
	return z
}

// Set replaces all records.
func (z *Zone) Set(t testing.TB, records ...string) {
	t.Helper()
	var all []dns.RR
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil || rr == nil {
			t.Fatalf("record %q: %v", text, err)
		}
		all = append(all, rr)
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	z.records = all
}

// Fail has every question answered with a code, until it is dns.RcodeSuccess.
func (z *Zone) Fail(rcode int) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.rcode = rcode
}

// Silent has no question answered.
func (z *Zone) Silent(on bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.silent = on
}

// Additional has the addresses of SRV targets added to answers.
func (z *Zone) Additional() {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.additive = true
}

// NoEDNS has questions with EDNS refused, as by a server that does not know it.
func (z *Zone) NoEDNS() {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.noEDNS = true
}

// Asked is how often a name was asked for with a type, and answered or not.
func (z *Zone) Asked(name string, qtype uint16) int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.asked[dns.Question{Name: name, Qtype: qtype, Qclass: dns.ClassINET}]
}

// OverTCP is how many questions came over TCP.
func (z *Zone) OverTCP() int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.overTCP
}

// Answer answers a question that came over network; nil where there is to be no answer. What is too large for UDP is
// truncated.
func (z *Zone) Answer(network string, m *dns.Msg) *dns.Msg {
	z.mu.Lock()
	defer z.mu.Unlock()
	q := m.Question[0]
	z.asked[dns.Question{Name: strings.ToLower(q.Name), Qtype: q.Qtype, Qclass: q.Qclass}]++
	if network == "tcp" {
		z.overTCP++
	}
	reply := new(dns.Msg).SetReply(m)
	reply.RecursionAvailable = true
	opt := m.IsEdns0()
	switch {
	case z.silent:
		return nil
	case z.noEDNS && opt != nil:
		return reply.SetRcode(m, dns.RcodeFormatError)
	case z.rcode != dns.RcodeSuccess:
		return reply.SetRcode(m, z.rcode)
	}
	z.fill(reply, q)
	if size := dns.MinMsgSize; network == "udp" {
		if opt != nil {
			size = int(opt.UDPSize())
		}
		reply.Truncate(size)
	}
	return reply
}

// fill adds the records, those behind CNAMEs too. mu is held.
func (z *Zone) fill(reply *dns.Msg, q dns.Question) {
	name, exists := q.Name, false
	for range 8 {
		next := ""
		exists = false
		for _, rr := range z.records {
			if !strings.EqualFold(rr.Header().Name, name) {
				continue
			}
			exists = true
			if c, ok := rr.(*dns.CNAME); ok {
				next = c.Target
			}
			if t := rr.Header().Rrtype; t == q.Qtype || t == dns.TypeCNAME {
				reply.Answer = append(reply.Answer, dns.Copy(rr))
				z.addTarget(reply, rr)
			}
		}
		if next == "" {
			break
		}
		name = next
	}
	if n := len(reply.Answer); n > 0 && reply.Answer[n-1].Header().Rrtype == q.Qtype {
		return
	}
	if !exists {
		reply.Rcode = dns.RcodeNameError
	}
	for _, rr := range z.records {
		if rr.Header().Rrtype == dns.TypeSOA && dns.IsSubDomain(rr.Header().Name, name) {
			reply.Ns = append(reply.Ns, dns.Copy(rr))
		}
	}
}

func (z *Zone) addTarget(reply *dns.Msg, rr dns.RR) {
	srv, ok := rr.(*dns.SRV)
	if !ok || !z.additive {
		return
	}
	for _, other := range z.records {
		if t := other.Header().Rrtype; (t == dns.TypeA || t == dns.TypeAAAA) && strings.EqualFold(other.Header().Name, srv.Target) {
			reply.Extra = append(reply.Extra, dns.Copy(other))
		}
	}
}

// Serve answers from a zone at a free port of a loopback address such as 127.0.0.1, over UDP and TCP, until the test
// ends. It returns the address with its port.
func Serve(t testing.TB, z *Zone, ip string) string {
	t.Helper()
	udp, tcp, err := open(ip)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	servers := []*dns.Server{{PacketConn: udp, Handler: handler{z, "udp"}}, {Listener: tcp, Handler: handler{z, "tcp"}}}
	for _, s := range servers {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		wg.Go(func() { _ = s.ActivateAndServe() })
		<-started
	}
	t.Cleanup(func() {
		for _, s := range servers {
			_ = s.Shutdown()
		}
		wg.Wait()
	})
	return udp.LocalAddr().String()
}

// open finds a port that is free for both.
func open(ip string) (udp net.PacketConn, tcp net.Listener, err error) {
	err = errors.New("no port")
	for range 20 {
		if udp, err = net.ListenPacket("udp", net.JoinHostPort(ip, "0")); err != nil {
			return nil, nil, err
		}
		if tcp, err = net.Listen("tcp", udp.LocalAddr().String()); err == nil {
			return udp, tcp, nil
		}
		_ = udp.Close()
	}
	return nil, nil, err
}

type handler struct {
	zone    *Zone
	network string
}

// ServeDNS implements dns.Handler.
func (h handler) ServeDNS(w dns.ResponseWriter, m *dns.Msg) {
	if reply := h.zone.Answer(h.network, m); reply != nil {
		_ = w.WriteMsg(reply)
	}
}
