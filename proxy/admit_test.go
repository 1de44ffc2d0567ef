package proxy

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"mrcproxy/balancer"
	"mrcproxy/internal/session"
)

// gate is an Admitter that keeps what it is asked, for the test to answer. What is in atOnce is said at once.
type gate struct {
	asked  []*asked
	atOnce []Verdict
	ended  []ending
	begun  []uint64
}

type asked struct {
	lease  *balancer.Lease
	key    uint64
	within time.Duration
	done   func(Verdict)
}

type ending struct {
	server uint32
	key    uint64
}

func (g *gate) Admit(l *balancer.Lease, key uint64, within time.Duration, done func(Verdict)) Verdict {
	g.asked = append(g.asked, &asked{l, key, within, done})
	if len(g.atOnce) == 0 {
		return Later
	}
	v := g.atOnce[0]
	g.atOnce = g.atOnce[1:]
	return v
}

func (g *gate) Established(key uint64) { g.begun = append(g.begun, key) }

func (g *gate) Ended(server uint32, key uint64) { g.ended = append(g.ended, ending{server, key}) }

// last is the latest question, which has to be about that server.
func (g *gate) last(l *lab, n int, server string) *asked {
	l.Helper()
	if len(g.asked) != n {
		l.Fatalf("asked %d times, want %d", len(g.asked), n)
	}
	a := g.asked[n-1]
	if got := a.lease.Backend().Addr().String(); got != server {
		l.Fatalf("asked for %s, want %s", got, server)
	}
	return a
}

// gated is setup two with a gate.
func gated(atOnce ...Verdict) (*gate, setup) {
	g := &gate{atOnce: atOnce}
	s := two
	s.admitter = g
	return g, s
}

// TestAdmitted: nothing is sent before the verdict; the call is as ever after it.
func TestAdmitted(t *testing.T) {
	g, s := gated()
	inLab(t, s, func(l *lab) {
		c, a := l.udp(freeswitch), l.udp(serverA)
		inv := c.invite("fs-recog-udp-01-INVITE")
		ask := g.last(l, 1, serverA)
		if ask.within != 4*time.Second {
			t.Errorf("within %v", ask.within)
		}
		a.none()
		l.wantPlaced(1)
		l.until(150 * time.Millisecond)
		c.recv("100")
		c.send(inv) // again
		c.recv("100")
		if len(g.asked) != 1 {
			t.Error("asked again for a retransmission")
		}
		ask.done(Admitted)
		d := l.accept(c, a, "fs-recog-udp-03-200-INVITE")
		tag := inv.get("From")[strings.Index(inv.get("From"), "tag=")+4:]
		if want := session.Key([]byte(inv.get("Call-ID")), []byte(tag), ask.lease.Backend().ID()); ask.key != want {
			t.Errorf("key %x, want %x", ask.key, want)
		}
		ask.done(Admitted) // must not matter
		d.bye()
		if g.ended != nil || !slices.Equal(g.begun, []uint64{ask.key}) {
			t.Errorf("told of sessions that begin, %v, and of others' that end, %v", g.begun, g.ended)
		}
	})
}

// TestAdmittedAtOnce: a verdict that is there at once costs no wait.
func TestAdmittedAtOnce(t *testing.T) {
	_, s := gated(Full, Admitted)
	inLab(t, s, func(l *lab) {
		c, b := l.udp(freeswitch), l.udp(serverB)
		c.invite("fs-recog-udp-01-INVITE")
		l.accept(c, b, "fs-recog-udp-03-200-INVITE").bye()
	})
}

// TestNotAdmitted: a refusal picks the next, each server once; it is no attempt and no evidence on a server's health. At the
// end of the list the client is told.
func TestNotAdmitted(t *testing.T) {
	for _, tt := range []struct {
		name   string
		say    []Verdict
		reason string
	}{
		{"both are full", []Verdict{Full, Full}, "2 full over all instances; cluster 'asr': 2 tried"},
		{"it cannot be found out", []Verdict{Unchecked}, "the limits of all instances cannot be checked"},
		{"first full, then not to be found out", []Verdict{Full, Unchecked}, "1 full over all instances; the limits of all instances cannot be checked"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			check := func(l *lab, c *peer, inv *msg) {
				final := c.recv("480")
				if got := final.get("Reason"); got != `SIP;cause=480;text="`+tt.reason+`"` || final.get("Retry-After") != "5" {
					t.Errorf("Reason: %s, Retry-After: %s", got, final.get("Retry-After"))
				}
				if i := l.obs.invites; len(i) != 1 || len(i[0].Attempts) != 0 || len(l.obs.failedOver) != 0 || len(l.bal.reports) != 0 {
					t.Errorf("told %+v, failed over %v, reported %v", i, l.obs.failedOver, l.bal.reports)
				}
				l.noSessions()
				c.send(inv.clone().rename("ACK").set("To", final.get("To")))
			}
			g, s := gated()
			inLab(t, s, func(l *lab) {
				c := l.udp(freeswitch)
				inv := c.invite("fs-recog-udp-01-INVITE")
				for i, v := range tt.say {
					g.last(l, i+1, []string{serverA, serverB}[i]).done(v)
				}
				check(l, c, inv)
			})
			_, s = gated(tt.say...)
			inLab(t, s, func(l *lab) {
				c := l.udp(freeswitch)
				check(l, c, c.invite("fs-recog-udp-01-INVITE"))
			})
		})
	}
}

// TestNotWaitedFor: a call that ends before the verdict gives its place back then, and the verdict comes too late for anything.
func TestNotWaitedFor(t *testing.T) {
	for _, v := range []Verdict{Admitted, Full, Unchecked} {
		g, s := gated()
		inLab(t, s, func(l *lab) { // RFC 3261 9.2
			c, cancel := umcCancels(l)
			ask := g.last(l, 1, serverA)
			c.send(cancel)
			c.recv("200 CANCEL")
			final := c.recv("487")
			l.noSessions()
			c.send(c.request("umc-ACK-to-487-udp").set("To", final.get("To")))
			ask.done(v)
			if len(g.asked) != 1 {
				t.Error("asked again")
			}
		})
		g, s = gated()
		inLab(t, s, func(l *lab) { // the deadline
			c := l.udp(freeswitch)
			inv := c.invite("fs-recog-udp-01-INVITE")
			ask := g.last(l, 1, serverA)
			l.until(150 * time.Millisecond)
			c.recv("100")
			l.until(4 * time.Second)
			c.send(inv.clone().rename("ACK").set("To", c.recv("480").get("To")))
			l.noSessions()
			ask.done(v)
		})
		g, s = gated()
		inLab(t, s, func(l *lab) { // a stop: the client has seen a provisional response and would wait for ever
			c := l.udp(freeswitch)
			inv := c.invite("fs-recog-udp-01-INVITE")
			ask := g.last(l, 1, serverA)
			l.until(150 * time.Millisecond)
			c.recv("100")
			go l.p.windDown(context.Background())
			l.wait(1100 * time.Millisecond)
			c.send(inv.clone().rename("ACK").set("To", c.recv("480").get("To")))
			l.noSessions()
			ask.done(v)
		})
	}
}

// TestSilentUntilAdmitted: a server that is merely silent is left only when another is admitted. What it says until then counts.
func TestSilentUntilAdmitted(t *testing.T) {
	begin := func(l *lab, g *gate) (c, a, b *peer, in *msg, ask *asked) {
		c, a, b = l.udp(freeswitch), l.udp(serverA), l.udp(serverB)
		c.invite("fs-recog-udp-01-INVITE")
		g.last(l, 1, serverA).done(Admitted)
		in = a.recv("INVITE")
		l.until(100 * time.Millisecond)
		a.recv("INVITE")
		l.until(300 * time.Millisecond)
		c.recv("100")
		a.recv("INVITE")
		l.until(500 * time.Millisecond)
		return c, a, b, in, g.last(l, 2, serverB)
	}
	g, s := gated()
	inLab(t, s, func(l *lab) { // admitted: the next is tried, and the first has nothing to say any more
		c, a, b, in, ask := begin(l, g)
		b.none()
		l.wantPlaced(2)
		ask.done(Admitted)
		l.wantPlaced(1)
		d := l.accept(c, b, "fs-recog-udp-03-200-INVITE")
		a.answer(in, "486 Busy Here")
		a.recv("ACK")
		if !slices.Equal(l.obs.failedOver, []string{"no_response"}) {
			t.Errorf("failed over %v", l.obs.failedOver)
		}
		d.bye()
	})
	g, s = gated()
	inLab(t, s, func(l *lab) { // it answers meanwhile
		c, a, _, in, ask := begin(l, g)
		d := &dialog{l: l, client: c, server: a, invite: in}
		a.answer(in, "fs-recog-udp-03-200-INVITE")
		d.ok = c.recv("200")
		l.wantSessions(1)
		ask.done(Admitted)
		l.wantSessions(1)
		c.send(d.fromClient("ACK"))
		a.recv("ACK")
		d.bye()
	})
	g, s = gated()
	inLab(t, s, func(l *lab) { // it fails meanwhile
		c, a, b, in, ask := begin(l, g)
		a.answer(in, "503 Service Unavailable")
		a.recv("ACK")
		l.wantPlaced(1)
		b.none()
		ask.done(Admitted)
		d := l.accept(c, b, "fs-recog-udp-03-200-INVITE")
		if !slices.Equal(l.obs.failedOver, []string{"503"}) {
			t.Errorf("failed over %v", l.obs.failedOver)
		}
		d.bye()
	})
	g, s = gated()
	inLab(t, s, func(l *lab) { // no other can take it: the silent one is waited for
		c, a, _, in, ask := begin(l, g)
		ask.done(Full)
		l.wantPlaced(1)
		l.until(700 * time.Millisecond)
		a.recv("INVITE")
		l.until(time.Second)
		d := &dialog{l: l, client: c, server: a, invite: in}
		a.answer(in, "fs-recog-udp-03-200-INVITE")
		d.ok = c.recv("200")
		c.send(d.fromClient("ACK"))
		a.recv("ACK")
		d.bye()
	})
	g, s = gated()
	inLab(t, s, func(l *lab) { // cancelled while both are open: the first still answers
		c, cancel := umcCancels(l)
		a := l.udp(serverA)
		g.last(l, 1, serverA).done(Admitted)
		in := a.recv("INVITE")
		l.until(100 * time.Millisecond)
		a.recv("INVITE")
		l.until(300 * time.Millisecond)
		c.recv("100")
		a.recv("INVITE")
		l.until(500 * time.Millisecond)
		ask := g.last(l, 2, serverB)
		c.send(cancel)
		c.recv("200 CANCEL")
		l.wantPlaced(1)
		ask.done(Admitted)
		a.answer(in, "180 Ringing")
		c.recv("180")
		a.answer(a.recv("CANCEL"), "200 OK")
		a.answer(in, "487 Request Terminated")
		a.recv("ACK")
		c.send(c.request("umc-ACK-to-487-udp").set("To", c.recv("487").get("To")))
	})
}

// TestQueueForAdmission: a call that is not admitted waits in the queue, and asks again.
func TestQueueForAdmission(t *testing.T) {
	full := []Verdict{Full, Full, Full, Full, Full, Full}
	s := queued(time.Second, 5)
	g := &gate{atOnce: append(full, Later)}
	s.admitter = g
	inLab(t, s, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		c.invite("fs-recog-udp-01-INVITE")
		l.wantQueued(1)
		l.wait(100 * time.Millisecond)
		l.wantQueued(1) // until it is admitted
		g.last(l, len(full)+1, serverA).done(Admitted)
		l.wantQueued(0)
		l.accept(c, srv, "fs-recog-udp-03-200-INVITE").bye()
	})
	g = &gate{atOnce: slices.Repeat([]Verdict{Full}, 1000)}
	s.admitter = g
	inLab(t, s, func(l *lab) { // never: each of two asks at each tick at most
		c := l.udp(freeswitch)
		a, b := c.another(1), c.another(2)
		l.until(150 * time.Millisecond)
		c.recv("100")
		c.recv("100")
		l.until(1100 * time.Millisecond)
		c.ackFinal(a, c.recv("480"))
		c.ackFinal(b, c.recv("480"))
		if n := len(g.asked); n > 220 {
			t.Errorf("asked %d times", n)
		}
	})
	g = &gate{atOnce: []Verdict{Unchecked}}
	s.admitter = g
	inLab(t, s, func(l *lab) { // and not at all where nothing is let in
		c := l.udp(freeswitch)
		inv := c.another(1)
		c.ackFinal(inv, c.recv("480"))
	})
}

// TestEndedElsewhere: the Admitter hears of a BYE for a session that this instance never had, from either side.
func TestEndedElsewhere(t *testing.T) {
	for _, fromServer := range []bool{false, true} {
		g, s := gated(Admitted)
		inLab(t, s, func(l *lab) {
			c, a := l.udp(freeswitch), l.udp(serverA)
			d := l.call(c, a)
			g.asked[0].lease.Release() // with the instance that is gone
			l.restart()
			from, to, bye := c, a, d.fromClient("BYE")
			if fromServer {
				from, to, bye = a, c, d.fromServer("BYE")
			}
			from.send(bye)
			to.answer(to.recv("BYE"), "200 OK")
			from.recv("200 BYE")
			if want := (ending{g.asked[0].lease.Backend().ID(), g.asked[0].key}); !slices.Equal(g.ended, []ending{want}) {
				t.Errorf("told of %v, want %v", g.ended, want)
			}
		})
	}
}

// TestQueueKeepsItsOrder: who waits for a verdict has not lost the place in the queue. Who comes meanwhile is behind, and so is who
// was behind before.
func TestQueueKeepsItsOrder(t *testing.T) {
	s := queued(3*time.Second, 2)
	g := &gate{atOnce: []Verdict{Admitted}}
	s.admitter = g
	inLab(t, s, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		first := l.call(c, srv)
		oldest, second := c.another(1), c.another(2)
		l.wantQueued(2)
		first.bye()
		l.wait(20 * time.Millisecond)
		ask := g.last(l, 2, serverA) // the oldest has its place, if the Admitter wants
		late := c.another(3)
		if len(g.asked) != 2 {
			t.Error("it was not made to wait")
		}
		m := c.recv("480") // there is room for two
		c.ackFinal(late, m)
		g.atOnce = []Verdict{Full, Later}
		ask.done(Full)
		l.wait(20 * time.Millisecond)
		if len(g.asked) < 4 {
			t.Fatalf("asked %d times", len(g.asked))
		}
		g.last(l, 4, serverA).done(Admitted)
		d := l.acceptAs(1, c, srv)
		if got := d.invite.get("Call-ID"); got != oldest.get("Call-ID") {
			t.Errorf("%s was first", got)
		}
		g.atOnce = []Verdict{Admitted}
		d.bye()
		l.wait(20 * time.Millisecond)
		e := l.acceptAs(2, c, srv)
		if got := e.invite.get("Call-ID"); got != second.get("Call-ID") {
			t.Errorf("%s was second", got)
		}
		l.wantQueued(0)
		e.bye()
	})
}
