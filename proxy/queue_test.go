package proxy

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// queued is a setup of one server with room for one session, and a queue.
func queued(wait time.Duration, length int) setup {
	return setup{capacity: 1, routing: func(r *Routing) {
		r.Clusters = map[string]Cluster{"asr": {Queue: wait, QueueLength: length}}
	}}
}

// another sends one more INVITE like the captured one.
func (p *peer) another(n int) *msg {
	p.l.Helper()
	m := p.request("fs-recog-udp-01-INVITE")
	m.set("Call-ID", fmt.Sprintf("waits-%d@x", n)).set("Via", strings.Replace(m.get("Via"), "branch=z9hG4bK", fmt.Sprintf("branch=z9hG4bKq%d", n), 1))
	m.set("From", strings.Replace(m.get("From"), "tag=", fmt.Sprintf("tag=q%d", n), 1))
	return p.send(m)
}

// acceptAs is accept, with branches of its own.
func (l *lab) acceptAs(n int, c, srv *peer) *dialog {
	l.Helper()
	d := l.accept(c, srv, "fs-recog-udp-03-200-INVITE")
	d.n = 10 * n
	return d
}

func (l *lab) wantQueued(n int) {
	l.Helper()
	if got := l.p.Queued()["asr"]; got != n {
		l.Errorf("%d wait, want %d", got, n)
	}
}

// ackFinal acknowledges a final failure.
func (p *peer) ackFinal(inv, final *msg) {
	p.l.Helper()
	ack := inv.clone().rename("ACK").set("To", final.get("To"))
	p.send(ack)
}

// TestQueue: who waits gets 100 like any other, and the place that comes free, in the order of coming; who comes while others
// wait is behind them.
func TestQueue(t *testing.T) {
	inLab(t, queued(3*time.Second, 5), func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		first := l.call(c, srv)
		c.another(1)
		l.wait(50 * time.Millisecond)
		c.another(2)
		l.wantQueued(2)
		srv.none()
		l.wait(100 * time.Millisecond)
		c.recv("100")
		first.bye()
		c.another(3) // before the place was seen
		l.wait(50 * time.Millisecond)
		c.recv("100")
		second := l.acceptAs(1, c, srv)
		if got := second.invite.get("Call-ID"); got != "waits-1@x" {
			t.Errorf("%s was first", got)
		}
		l.wantQueued(2)
		if i := l.obs.invites[1]; i.Code != 200 || i.Queued < 150*time.Millisecond || i.Queued > 200*time.Millisecond {
			t.Errorf("told %+v", i)
		}
		second.bye()
		l.wait(20 * time.Millisecond)
		third := l.acceptAs(2, c, srv)
		l.wait(150 * time.Millisecond)
		c.recv("100")
		third.bye()
		l.wait(20 * time.Millisecond)
		fourth := l.acceptAs(3, c, srv)
		if a, b := third.invite.get("Call-ID"), fourth.invite.get("Call-ID"); a != "waits-2@x" || b != "waits-3@x" {
			t.Errorf("%s, then %s", a, b)
		}
		l.wantQueued(0)
		fourth.bye()
	})
}

// TestQueueEnds: the wait is over after its time, or at once where nothing will come free, and there are only so many.
func TestQueueEnds(t *testing.T) {
	inLab(t, queued(300*time.Millisecond, 1), func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		d := l.call(c, srv)
		start := time.Since(l.start)
		waits := c.another(1)
		over := c.another(2)
		full := c.recv("480")
		if full.get("Call-ID") != "waits-2@x" || !strings.Contains(full.get("Reason"), "1 wait already") {
			t.Errorf("%s", full)
		}
		c.ackFinal(over, full)
		c.recvAt(start+150*time.Millisecond, "100")
		late := c.recvAt(start+300*time.Millisecond, "480")
		if !strings.Contains(late.get("Reason"), "waited 300ms; cluster 'asr': 1 full") || late.get("Retry-After") != "5" {
			t.Errorf("%s", late)
		}
		c.ackFinal(waits, late)
		l.wantQueued(0)
		d.bye()
	})
}

// TestQueueCancelled: a CANCEL ends the wait, and who is behind moves up. So does the end of the proxy.
func TestQueueCancelled(t *testing.T) {
	inLab(t, queued(3*time.Second, 5), func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		d := l.call(c, srv)
		gone := c.another(1)
		c.another(2)
		c.send(gone.clone().rename("CANCEL"))
		c.recv("200 CANCEL")
		c.ackFinal(gone, c.recv("487"))
		l.wantQueued(1)
		d.bye()
		l.wait(20 * time.Millisecond)
		second := l.acceptAs(4, c, srv)
		if got := second.invite.get("Call-ID"); got != "waits-2@x" {
			t.Errorf("%s is next", got)
		}
		second.bye()
	})
	inLab(t, queued(30*time.Second, 5), func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		d := l.call(c, srv)
		waits := c.another(1)
		l.wait(10 * time.Millisecond)
		d.bye()
		l.wait(20 * time.Millisecond)
		last := l.acceptAs(5, c, srv)
		if last.invite.get("Call-ID") != waits.get("Call-ID") {
			t.Error("another one")
		}
		last.bye()
	})
}

// TestQueueDeadline: the deadline of the call bounds its wait.
func TestQueueDeadline(t *testing.T) {
	inLab(t, queued(time.Minute, 5), func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		d := l.call(c, srv)
		start := time.Since(l.start)
		inv := c.another(1)
		l.wait(200 * time.Millisecond)
		c.recv("100")
		c.ackFinal(inv, c.recvAt(start+4*time.Second, "480"))
		d.bye()
	})
}

// TestNoQueue: what is not full is not waited for.
func TestNoQueue(t *testing.T) {
	inLab(t, queued(time.Second, 5), func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		inv := c.another(1)
		in := srv.recv("INVITE")
		srv.answer(in, "406 Not Acceptable")
		srv.recv("ACK")
		c.ackFinal(inv, c.recv("406"))
		l.wantQueued(0)
	})
}
