package proxy

import (
	"bytes"

	"mrcproxy/proxy/message"
)

// routeSet is the Route of a request as far as it is ours.
type routeSet struct {
	values []message.Span // all values, topmost first
	ours   bool           // a cookie of ours leads the way
	cookie cookie
	pops   int // how many values on top are ours, to be taken off
}

// routeSet is RFC 3261 16.4, and what 16.6 step 6 asks of the Route that is left: strict routers of RFC 2543 before and
// behind us are understood by rewriting the request, and everything after goes on as if it had come like that.
// Where the request goes does not depend on it: the cookie pins the flow.
func (p *Proxy) routeSet(w *worker) (r routeSet, err error) {
	m := &w.m
	if !m.HasRoute() {
		return r, nil
	}
	callID := m.Bytes(m.CallID.Value)
	text, c, ok := p.keys.ownRoute(m.Bytes(m.URI), callID)
	r.cookie, r.ours = c, ok
	if ok { // the one before us is a strict router: our Record-Route is in the Request-URI, the target at the end of Route
		last, ok := m.LastRoute()
		if !ok {
			return r, message.ErrHeader
		}
		if err := reroute(m, last, false); err != nil {
			return r, err
		}
	}
	if r.values, ok = m.Routes(w.routes[:0]); !ok {
		return r, message.ErrHeader
	}
	if !r.ours && len(r.values) > 0 {
		if text, r.cookie, r.ours = p.keys.ownRoute(m.Bytes(message.AddrSpec(m.Raw, r.values[0])), callID); r.ours {
			r.pops = 1
		}
	}
	if !r.ours || r.pops == len(r.values) {
		return r, nil
	}
	if isTwin(m.Bytes(message.AddrSpec(m.Raw, r.values[r.pops])), text) {
		r.pops++
	}
	if r.pops < len(r.values) && m.IsStrict(r.values[r.pops]) { // the one behind us is a strict router
		return r, reroute(m, r.values[r.pops], true)
	}
	return r, nil
}

// reroute puts a Route value into the Request-URI. There are few strict routers left: a copy of the message is cheap enough.
func reroute(m *message.Message, route message.Span, keep bool) error {
	return m.Scan(m.AppendRerouted(nil, route, keep))
}

// isTwin reports whether uri is the other half of a double Record-Route (RFC 5658): it carries the same cookie.
func isTwin(uri, cookie []byte) bool {
	u, ok := message.ParseURI(uri)
	return ok && bytes.Equal(u.User, cookie)
}
