package proxy

import (
	"context"
	"testing"
	"time"

	"mrcproxy/internal/session"
)

// Over a stream nothing repeats a BYE whose connection fails before its answer, and the server keeps a channel until its session
// timer ends. These tests are of the BYE's being sent again, over one connection after the other, for as long as it would be over
// UDP; neither the one who said it nor the lease waits for that.

var tcpServer = setup{servers: []string{"sip:" + serverA + ";transport=tcp"}}

func (l *lab) callByTCP() (c, srv *peer, d *dialog) {
	c, srv = l.dials(ephTCP, viaTCP), l.tcp(serverA)
	return c, srv, l.establish(c, srv, "fs-recog-tcp-01-INVITE", "fs-recog-tcp-03-200-INVITE")
}

// refused are two BYEs at once whose connections fail: what a server that is away has for one.
func (l *lab) refused(srv *peer) *msg {
	l.Helper()
	first := srv.recv("BYE")
	l.close(srv.addr.String())
	if m := srv.recv("BYE"); m.String() != first.String() {
		l.Errorf("sent again as\n%s", m)
	}
	l.close(srv.addr.String())
	return first
}

func TestByeAgain(t *testing.T) {
	inLab(t, tcpServer, func(l *lab) { // nobody is there as long as it lasts (RFC 3261 17.1.2.2, timer F)
		c, srv, d := l.callByTCP()
		c.send(d.fromClient("BYE"))
		first := l.refused(srv)
		c.recvAt(0, "481 BYE")
		l.noSessions()
		l.wantEnded(session.ByeUnanswered)
		for at := 2 * time.Second; at < 32*time.Second; at += 2 * time.Second {
			if m := srv.recvAt(at, "BYE"); m.String() != first.String() {
				t.Errorf("at %v as\n%s", at, m)
			}
			l.wait(300 * time.Millisecond)
			l.close(serverA)
		}
		l.until(80 * time.Second)
		srv.none()
		c.none()
	})
	inLab(t, tcpServer, func(l *lab) { // it comes back
		c, srv, d := l.callByTCP()
		c.send(d.fromClient("BYE"))
		l.refused(srv)
		c.recv("481 BYE")
		srv.recvAt(2*time.Second, "BYE")
		l.wait(100 * time.Millisecond)
		l.close(serverA)
		srv.answer(srv.recvAt(4*time.Second, "BYE"), "200 OK")
		l.until(40 * time.Second)
		srv.none()
		c.none() // it has been answered
		l.wantEnded(session.ByeUnanswered)
	})
	inLab(t, tcpServer, func(l *lab) { // silence first, and then the connection fails
		c, srv, d := l.callByTCP()
		c.send(d.fromClient("BYE"))
		srv.recv("BYE")
		c.recvAt(2*time.Second, "481 BYE")
		l.noSessions()
		l.until(20 * time.Second)
		srv.none()
		l.close(serverA)
		srv.answer(srv.recvAt(20*time.Second, "BYE"), "200 OK")
		l.until(40 * time.Second)
		srv.none()
	})
	inLab(t, tcpServer, func(l *lab) { // it cannot even be sent
		c, srv, d := l.callByTCP()
		l.close(serverA)
		l.net.fail[srv.addr] = errFlow
		c.send(d.fromClient("BYE"))
		c.recvAt(0, "481 BYE")
		l.until(3 * time.Second)
		srv.none()
		delete(l.net.fail, srv.addr)
		srv.answer(srv.recvAt(4*time.Second, "BYE"), "200 OK")
	})
	inLab(t, tcpServer, func(l *lab) { // a client: to where it listens
		_, srv, d := l.callByTCP()
		srv.send(d.fromServer("BYE"))
		l.tcp(ephTCP).recv("BYE")
		l.close(ephTCP)
		c := l.tcp(viaTCP)
		c.recv("BYE")
		l.close(viaTCP)
		srv.recvAt(0, "481 BYE")
		c.answer(c.recvAt(2*time.Second, "BYE"), "200 OK")
		srv.none()
	})
	inLab(t, tcpServer, func(l *lab) { // one of ours
		c, srv, _ := l.callByTCP()
		if !l.hangUp() {
			t.Fatal("cannot be ended")
		}
		c.answer(c.recv("BYE"), "200 OK")
		l.refused(srv)
		srv.answer(srv.recvAt(2*time.Second, "BYE"), "200 OK")
		l.until(40 * time.Second)
		srv.none()
	})
}

// TestByeAgainTogether: sessions that end while their server is away share the connection that finds it again.
func TestByeAgainTogether(t *testing.T) {
	inLab(t, tcpServer, func(l *lab) {
		c, srv := l.dials(ephTCP, viaTCP), l.tcp(serverA)
		for i := range 5 {
			inv := c.request("fs-recog-tcp-01-INVITE")
			id := string(rune('a'+i)) + inv.get("Call-ID")
			c.send(inv.set("Call-ID", id).branch(id))
			d := l.accept(c, srv, "fs-recog-tcp-03-200-INVITE")
			c.send(d.fromClient("BYE").branch("bye" + id))
			l.refused(srv)
			c.recv("481 BYE")
			l.wait(150 * time.Millisecond)
		}
		dialled := l.net.last
		l.until(2*time.Second + tick)
		for range 5 {
			srv.answer(srv.recv("BYE"), "200 OK")
		}
		if n := l.net.last - dialled; n != 1 {
			t.Errorf("%d connections, want 1", n)
		}
	})
}

// TestByeAgainStop: a stop waits for the BYE that frees a server's place, though its client has its answer; not beyond
// drain.timeout. One to a client frees none.
func TestByeAgainStop(t *testing.T) {
	for name, tt := range map[string]struct {
		client, back bool
		from, to     time.Duration
	}{
		"it comes back": {true, true, 2 * time.Second, 2300 * time.Millisecond},
		"it does not":   {true, false, 5 * time.Second, 5500 * time.Millisecond},
		"to a client":   {false, false, 0, 500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			s := tcpServer
			s.routing = func(r *Routing) { r.Drain.Timeout = 5 * time.Second }
			inLab(t, s, func(l *lab) {
				c, srv, d := l.callByTCP()
				from, to := c, srv
				if tt.client {
					c.send(d.fromClient("BYE"))
				} else {
					srv.send(d.fromServer("BYE"))
					c.recv("BYE")
					l.close(ephTCP)
					from, to = srv, l.tcp(viaTCP)
				}
				if tt.client {
					l.refused(to)
				} else {
					to.recv("BYE")
					l.close(viaTCP)
				}
				from.recvAt(0, "481 BYE")
				gone := make(chan time.Duration, 1)
				go func() {
					l.p.windDown(context.Background())
					gone <- time.Since(l.start)
				}()
				if tt.back {
					to.answer(to.recvAt(2*time.Second, "BYE"), "200 OK")
				}
				if at := <-gone; at < tt.from || at > tt.to {
					t.Errorf("stopped after %v", at)
				}
				l.until(40 * time.Second)
				for to.next() != nil {
				}
			})
		})
	}
}
