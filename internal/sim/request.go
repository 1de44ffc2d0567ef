package sim

import (
	"fmt"
	"time"
)

// request builds a request of the call as FreeSWITCH writes it: the INVITE that makes the
// dialog, or one inside it. All but ACK take a new CSeq.
func (k *call) request(method, branch string) *message {
	if method != "ACK" {
		k.cseq++
	}
	c := k.c
	uri := k.target
	if uri == "" {
		uri = "sip:" + c.o.Proxy.String() // no user part, no transport
	}
	m := &message{method: method, uri: uri}
	m.add("Via", viaOf(c.o.Network, c.ep.addr, branch))
	for _, r := range k.routes {
		m.add("Route", r)
	}
	m.add("Max-Forwards", "70")
	m.add("From", "<sip:"+c.ep.addr.String()+">;tag="+k.tag)
	m.add("To", k.to)
	m.add("Call-ID", k.id)
	m.add("CSeq", fmt.Sprintf("%d %s", k.cseq, method))
	if method == "ACK" { // no User-Agent
		return m
	}
	if method == "INVITE" && c.o.Contact {
		m.add("Contact", "<sip:"+c.ep.addr.String()+";transport="+c.o.Network+">")
	}
	m.add("User-Agent", c.o.UserAgent)
	m.add("Allow", allow)
	m.add("Supported", supported)
	if method == "INVITE" {
		if k.every > 0 {
			m.add("Session-Expires", fmt.Sprintf("%d;refresher=uac", 2*k.every/time.Second))
		}
		m.add("Content-Type", "application/sdp")
		m.add("Content-Disposition", "session")
		m.body = offerSDP(c.ep.addr.Addr(), c.o.Resource)
	}
	return m
}

// cancelRequest is the CANCEL of the INVITE with that branch (RFC 3261 9.1): its Via,
// Request-URI and CSeq number, and no User-Agent.
func (k *call) cancelRequest(branch string) *message {
	m := &message{method: "CANCEL", uri: "sip:" + k.c.o.Proxy.String()}
	m.add("Via", viaOf(k.c.o.Network, k.c.ep.addr, branch))
	m.add("Max-Forwards", "70")
	m.add("From", "<sip:"+k.c.ep.addr.String()+">;tag="+k.tag)
	m.add("To", k.to)
	m.add("Call-ID", k.id)
	m.add("CSeq", fmt.Sprintf("%d CANCEL", k.cseq))
	return m
}

// failAck is the ACK of a failure: the INVITE's branch, Request-URI and route set, the
// failure's To (RFC 3261 17.1.1.3).
func (k *call) failAck(failure *message, branch, uri string) []byte {
	return k.c.ackOf(failure, branch, uri, k.routes).bytes()
}

// ackOf is an ACK made from a response alone.
func (c *Client) ackOf(res *message, branch, uri string, routes []string) *message {
	n, _ := res.cseq()
	m := &message{method: "ACK", uri: uri}
	m.add("Via", viaOf(c.o.Network, c.ep.addr, branch))
	for _, r := range routes {
		m.add("Route", r)
	}
	m.add("Max-Forwards", "70")
	m.add("From", res.get("From"))
	m.add("To", res.get("To"))
	m.add("Call-ID", res.get("Call-ID"))
	m.add("CSeq", fmt.Sprintf("%d ACK", n))
	return m
}
