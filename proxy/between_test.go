package proxy

import (
	"syscall"
	"testing"
	"time"
)

// interval is a call whose first server has failed while it has no other.
type interval struct {
	setup setup
	begin func(*lab)       // before the call
	end   func(*lab) *peer // gives the server that takes it
}

// whileAsked: the Admitter has not said yet whether the next server can be had.
func whileAsked() interval {
	g, s := gated(Admitted)
	return interval{setup: s, begin: func(*lab) {}, end: func(l *lab) *peer {
		g.last(l, 2, serverB).done(Admitted)
		return l.udp(serverB)
	}}
}

// whileQueued: the next server is full.
func whileQueued() interval {
	s := queued(3*time.Second, 5)
	s.servers = two.servers
	var there *dialog
	return interval{setup: s, begin: func(l *lab) {
		c, a, b := l.udp(freeswitch), l.udp(serverA), l.udp(serverB)
		c.another(8)
		first := l.acceptAs(8, c, a)
		c.another(9)
		there = l.acceptAs(9, c, b)
		first.bye()
	}, end: func(l *lab) *peer {
		there.bye()
		l.wait(20 * time.Millisecond)
		return there.server
	}}
}

// onlyTrying fails when the client was told anything but that it has to wait.
func (p *peer) onlyTrying() {
	p.l.Helper()
	for m := p.next(); m != nil; m = p.next() {
		if m.start != "SIP/2.0 100 Trying" {
			p.l.Errorf("the client got\n%s", m)
		}
	}
}

// TestBetweenServers: what still comes of a server that has failed, while the call has no other, is about that server alone: it is
// not told of again, its answer is not the client's, and a session that came to be there is ended.
func TestBetweenServers(t *testing.T) {
	for name, comes := range map[string]func(l *lab, a *peer, in *msg){
		"a second ICMP error": func(l *lab, a *peer, in *msg) {
			l.p.Unreachable([]byte(in.String()), a.addr, syscall.ECONNREFUSED)
		},
		"180": func(l *lab, a *peer, in *msg) {
			a.answer(in, "180 Ringing")
			a.answer(a.recv("CANCEL"), "200 OK")
			l.wait(1500 * time.Millisecond)
		},
		"503": func(_ *lab, a *peer, in *msg) {
			a.answer(in, "503 Service Unavailable")
			a.recv("ACK")
		},
		"404": func(_ *lab, a *peer, in *msg) {
			a.answer(in, "404 Not Found")
			a.recv("ACK")
		},
		"200": func(_ *lab, a *peer, in *msg) {
			a.answer(in, "fs-recog-udp-03-200-INVITE")
			a.recv("ACK")
			a.answer(a.recv("BYE"), "200 OK")
		},
		"200 behind 503": func(_ *lab, a *peer, in *msg) {
			a.answer(in, "503 Service Unavailable")
			a.recv("ACK")
			a.answer(in, "fs-recog-udp-03-200-INVITE")
			a.recv("ACK")
			a.answer(a.recv("BYE"), "200 OK")
		},
	} {
		for where, make := range map[string]func() interval{"asked": whileAsked, "queued": whileQueued} {
			t.Run(where+"/"+name, func(t *testing.T) {
				v := make()
				inLab(t, v.setup, func(l *lab) {
					v.begin(l)
					c, a := l.udp(freeswitch), l.udp(serverA)
					c.another(1)
					in := a.recv("INVITE")
					l.p.Unreachable([]byte(in.String()), a.addr, syscall.ECONNREFUSED)
					reports := len(l.bal.reports)
					comes(l, a, in)
					if got := l.bal.reports[reports:]; len(got) != 0 {
						t.Errorf("reported %v", got)
					}
					c.onlyTrying()
					b := v.end(l)
					c.onlyTrying()
					l.acceptAs(1, c, b).bye()
					l.wantQueued(0)
				})
			})
		}
	}
}
