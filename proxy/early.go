package proxy

import (
	"mrcproxy/internal/session"
	"mrcproxy/proxy/message"
)

// earlyBegins notes that a provisional response has made an early dialog (RFC 3261 12.1): a request in it shows no session yet, which
// may never come to be.
func (p *Proxy) earlyBegins(c *call, m *message.Message) {
	if c.early == 0 {
		c.early = session.Key(m.Bytes(m.CallID.Value), m.Bytes(m.FromTag), c.lease.Backend().ID())
		p.early.Store(c.early, nil)
	}
}

// earlyOver is the end of the early dialog: there is a session now, or there will be none.
func (p *Proxy) earlyOver(c *call) {
	if c.early != 0 {
		p.early.Delete(c.early)
		c.early = 0
	}
}

// isEarly reports whether the session of that key is one that may yet come to be.
func (p *Proxy) isEarly(key uint64) bool {
	_, early := p.early.Load(key)
	return early
}
