package resolver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// question is an absolute name in lower case, and a type: A, AAAA or SRV.
type question struct {
	name  string
	qtype uint16
}

// answer is what is known of a question. It is never changed.
type answer struct {
	addrs    []netip.Addr // A, AAAA
	services []service    // SRV
	absent   bool         // the name does not exist, with any type
	renew    time.Time    // when it is asked for again
}

// service is an SRV record.
type service struct {
	priority, weight, port uint16
	host                   string
}

// maxChain is how many CNAMEs are followed.
const maxChain = 8

var errChain = errors.New("too many CNAMEs")

// reply is an answer before it has an age: ttl is in seconds. glue are the addresses that came with SRV records.
type reply struct {
	answer
	ttl   uint32
	glue  map[question]reply
	alias string // where a CNAME led to that was not followed
}

// query asks the servers, following CNAMEs to other messages where it must.
func (r *Resolver) query(ctx context.Context, conf settings, q question) (reply, error) {
	ttl := ^uint32(0)
	for range maxChain {
		m, err := r.askServers(ctx, conf, q)
		if err != nil {
			return reply{}, err
		}
		got, err := read(m, q)
		if err != nil {
			return reply{}, err
		}
		ttl = min(ttl, got.ttl)
		if got.alias == "" || got.absent {
			got.ttl = ttl
			return got, nil
		}
		q.name = got.alias
	}
	return reply{}, errChain
}

// read takes the answer to q out of a message. Where a CNAME leads to a name of which the message has no records, that is
// the alias to ask for, unless the message says that it has none.
func read(m *dns.Msg, q question) (reply, error) {
	got := reply{ttl: ^uint32(0)}
	name := q.name
	for range maxChain {
		got.collect(m.Answer, name, q.qtype)
		if got.addrs != nil || got.services != nil {
			got.glue = glue(m.Extra)
			return got, nil
		}
		next, ttl := alias(m.Answer, name)
		if next == "" {
			got.none(m, name != q.name, name)
			return got, nil
		}
		name, got.ttl = next, min(got.ttl, ttl)
	}
	return reply{}, errChain
}

// collect takes the records of a name and a type.
func (p *reply) collect(records []dns.RR, name string, qtype uint16) {
	for _, rr := range records {
		h := rr.Header()
		if h.Rrtype != qtype || h.Class != dns.ClassINET || !strings.EqualFold(h.Name, name) {
			continue
		}
		p.ttl = min(p.ttl, h.Ttl)
		switch rr := rr.(type) {
		case *dns.A:
			p.addrs = append(p.addrs, address(rr.A))
		case *dns.AAAA:
			p.addrs = append(p.addrs, address(rr.AAAA))
		case *dns.SRV:
			p.services = append(p.services, service{rr.Priority, rr.Weight, rr.Port, strings.ToLower(rr.Target)})
		}
	}
}

// none reads a message without records of the type. Through a CNAME it says so of the alias only where it has the SOA, or
// the code, that says so (RFC 2308 2); else the alias is to be asked for.
func (p *reply) none(m *dns.Msg, aliased bool, name string) {
	p.absent = m.Rcode == dns.RcodeNameError
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			p.ttl = min(p.ttl, soa.Hdr.Ttl, soa.Minttl) // RFC 2308 5
			return
		}
	}
	if aliased && !p.absent {
		p.alias = name
		return
	}
	p.ttl = min(p.ttl, uint32(noSOA/time.Second))
}

func alias(records []dns.RR, name string) (string, uint32) {
	for _, rr := range records {
		if c, ok := rr.(*dns.CNAME); ok && strings.EqualFold(c.Hdr.Name, name) {
			return strings.ToLower(c.Target), c.Hdr.Ttl
		}
	}
	return "", 0
}

// glue are the addresses among additional records, by the question that they answer.
func glue(records []dns.RR) map[question]reply {
	var all map[question]reply
	for _, rr := range records {
		h := rr.Header()
		q := question{strings.ToLower(h.Name), h.Rrtype}
		if _, ok := all[q]; ok || h.Rrtype != dns.TypeA && h.Rrtype != dns.TypeAAAA {
			continue
		}
		if all == nil {
			all = make(map[question]reply)
		}
		one := reply{ttl: ^uint32(0)}
		one.collect(records, h.Name, h.Rrtype)
		all[q] = one
	}
	return all
}

func address(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

// usable reports whether a server can be reached at the address. Filters against abuse answer with 0.0.0.0 and the like;
// an IPv6 link-local address says nothing without a zone.
func usable(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !(a.Is6() && a.IsLinkLocalUnicast())
}
