package sim

import (
	"net/netip"
	"strconv"
	"strings"
)

const (
	allow     = "INVITE, ACK, BYE, CANCEL, OPTIONS, PRACK, MESSAGE, SUBSCRIBE, NOTIFY, REFER, UPDATE"
	supported = "timer, 100rel"
)

// reasonOf is the phrase sofia-sip uses, for the codes seen here.
func reasonOf(code int) string {
	switch code {
	case 100:
		return "Trying"
	case 200:
		return "OK"
	case 400:
		return "Bad Request"
	case 404:
		return "Not Found"
	case 405:
		return "Method Not Allowed"
	case 406:
		return "Not Acceptable"
	case 420:
		return "Bad Extension"
	case 480:
		return "Temporarily Unavailable"
	case 481:
		return "Call Does Not Exist"
	case 482:
		return "Request Merged"
	case 486:
		return "Busy Here"
	case 487:
		return "Request Terminated"
	case 500:
		return "Internal Server Error"
	case 503:
		return "Service Unavailable"
	}
	return "Status " + strconv.Itoa(code)
}

// respond starts a response to req, which came on f: Via, Record-Route (to what makes a
// dialog), From, To with tag, Call-ID, CSeq. Tag "" leaves To as it came.
func respond(req *message, f flow, code int, tag string) *message {
	m := &message{code: code, reason: reasonOf(code)}
	for i, v := range req.list("Via") {
		if i == 0 {
			v = stampVia(v, f)
		}
		m.add("Via", v)
	}
	if code > 100 && code < 300 && req.method == "INVITE" {
		m.copy(req, "Record-Route")
	}
	m.add("From", req.get("From"))
	to := req.get("To")
	if tag != "" && req.toTag() == "" {
		to += ";tag=" + tag
	}
	m.add("To", to)
	m.add("Call-ID", req.get("Call-ID"))
	m.add("CSeq", req.get("CSeq"))
	return m
}

// stampVia fills rport (RFC 3581 4) and received (RFC 3261 18.2.1) as sofia-sip does: over
// TCP rport is added even when the Via did not ask for it.
func stampVia(via string, f flow) string {
	port := strconv.Itoa(int(f.remote.Port()))
	parts := strings.Split(via, ";")
	asked := false
	for i, p := range parts[1:] {
		if k, v, _ := strings.Cut(strings.TrimSpace(p), "="); strings.EqualFold(k, "rport") && v == "" {
			parts[i+1], asked = "rport="+port, true
		}
	}
	if host, _ := sentBy(via); host != f.remote.Addr() {
		parts = append(parts, "received="+f.remote.Addr().String())
	}
	if !asked && f.network == "tcp" {
		parts = append(parts, "rport="+port)
	}
	return strings.Join(parts, ";")
}

// sentBy is the address in a Via, invalid when it is a name, and its port.
func sentBy(via string) (netip.Addr, uint16) {
	head, _, _ := strings.Cut(via, ";")
	fields := strings.Fields(head)
	if len(fields) < 2 {
		return netip.Addr{}, 5060
	}
	s := fields[len(fields)-1]
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap(), ap.Port()
	}
	a, _ := netip.ParseAddr(strings.Trim(s, "[]"))
	return a.Unmap(), 5060
}

// answerFlow is where the response to a request goes (RFC 3261 18.2.2, RFC 3581 4): over
// TCP its connection, over UDP its source, at the Via's port unless rport asked for the source's.
func answerFlow(req *message, f flow) flow {
	if f.network == "tcp" {
		return f
	}
	via := req.topVia()
	for _, p := range strings.Split(via, ";")[1:] {
		if k, _, _ := strings.Cut(strings.TrimSpace(p), "="); strings.EqualFold(k, "rport") {
			return f
		}
	}
	_, port := sentBy(via)
	f.remote = netip.AddrPortFrom(f.remote.Addr(), port)
	return f
}
