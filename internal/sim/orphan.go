package sim

import "slices"

// orphan answers a final response to an INVITE whose session is over, from the response
// alone: every final is ACKed. A 2xx that is unwanted, since its INVITE was given up, is
// ended as well, with a BYE that has no Max-Forwards, no User-Agent and the highest CSeq,
// as sofia-sip sends it. Neither is repeated.
func (c *Client) orphan(m *message, unwanted bool) {
	if m.code >= 300 {
		_ = c.ep.send(c.o.Network, c.o.Proxy, c.ackOf(m, m.branch(), "sip:"+c.o.Proxy.String(), nil).bytes())
		return
	}
	target, routes := uriOf(m.get("Contact")), m.list("Record-Route")
	slices.Reverse(routes)
	to, err := c.nextHop(target, routes)
	if err != nil {
		return
	}
	_ = c.ep.send(to.network, to.addr, c.ackOf(m, newBranch(), target, routes).bytes())
	if !unwanted {
		return
	}
	bye := &message{method: "BYE", uri: target}
	bye.add("Via", viaOf(c.o.Network, c.ep.addr, newBranch()))
	for _, r := range routes {
		bye.add("Route", r)
	}
	bye.add("From", m.get("From"))
	bye.add("To", m.get("To"))
	bye.add("Call-ID", m.get("Call-ID"))
	bye.add("CSeq", "2147483647 BYE")
	_ = c.ep.send(to.network, to.addr, bye.bytes())
}
