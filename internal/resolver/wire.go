package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// payload is the size of answers that we take over UDP: what goes through any network in one piece (DNS flag day 2020).
const payload = 1232

// exchange sends a message to a server and reads the answer; network is "udp" or "tcp". It returns when ctx ends at the
// latest.
type exchange func(ctx context.Context, network, server string, m *dns.Msg) (*dns.Msg, error)

// overNetwork is the exchange that uses the network. Each has a socket, and so a port, of its own, which with the id
// makes it hard to answer in the server's place.
func overNetwork(ctx context.Context, network, server string, m *dns.Msg) (*dns.Msg, error) {
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	co := &dns.Conn{Conn: c, UDPSize: payload}
	if err := co.WriteMsg(m); err != nil {
		return nil, err
	}
	for {
		reply, err := co.ReadMsg()
		switch {
		case reply == nil:
			return nil, err
		case !answers(reply, m):
			if network == "udp" {
				continue // of an earlier question, or made up
			}
			return nil, errors.New("the answer is to another question")
		case err != nil && !reply.Truncated: // what was cut may not be readable, and is not needed
			return nil, err
		}
		return reply, nil
	}
}

// answers reports whether reply has the id and the question of m.
func answers(reply, m *dns.Msg) bool {
	if reply.Id != m.Id || !reply.Response {
		return false
	}
	if len(reply.Question) == 0 { // some servers leave it out of an error
		return reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError
	}
	r, q := reply.Question[0], m.Question[0]
	return r.Qtype == q.Qtype && r.Qclass == q.Qclass && strings.EqualFold(r.Name, q.Name)
}

// askServers puts a question to the servers, each as often as the settings say, until one has an answer: records, or
// that there are none. The one that answered last is asked first.
func (r *Resolver) askServers(ctx context.Context, conf settings, q question) (*dns.Msg, error) {
	first, n := int(r.preferred.Load()), len(conf.servers)
	var last error
	for try := range conf.attempts * n {
		i := (first + try) % n
		reply, err := r.try(ctx, conf, conf.servers[i], q, conf.attempts*n-try)
		if err == nil {
			r.preferred.Store(int32(i))
			return reply, nil
		}
		last = fmt.Errorf("%s %s at %s: %w", q.name, dns.TypeToString[q.qtype], conf.servers[i], err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, last
}

// try asks one server once; left is how many tries have to share the time that ctx leaves.
func (r *Resolver) try(ctx context.Context, conf settings, server string, q question, left int) (*dns.Msg, error) {
	timeout := conf.timeout
	if end, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(end)/time.Duration(left))
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	m := new(dns.Msg).SetQuestion(q.name, q.qtype)
	m.SetEdns0(payload, false)
	reply, err := r.exchange(ctx, "udp", server, m)
	if err == nil && reply.Truncated {
		reply, err = r.exchange(ctx, "tcp", server, m)
	}
	if err == nil && (reply.Rcode == dns.RcodeFormatError || reply.Rcode == dns.RcodeNotImplemented) {
		m.Extra = nil // a server that does not know EDNS (RFC 6891 7)
		if reply, err = r.exchange(ctx, "udp", server, m); err == nil && reply.Truncated {
			reply, err = r.exchange(ctx, "tcp", server, m)
		}
	}
	switch {
	case err != nil && ctx.Err() == context.DeadlineExceeded:
		return nil, errors.New("no answer in time")
	case err != nil:
		return nil, err
	case reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError:
		return nil, errors.New(dns.RcodeToString[reply.Rcode])
	case reply.Rcode == dns.RcodeSuccess && len(reply.Answer) == 0 && !reply.Authoritative && !reply.RecursionAvailable:
		return nil, errors.New("the server does not resolve for us")
	}
	return reply, nil
}
