package proxy

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mrcproxy/balancer"
)

// ours is a session of our own under way.
type ours struct {
	l    *lab
	srv  *peer
	inv  *msg // as the server got it
	stop context.CancelFunc
	done chan struct{}
	s    *OwnSession
	err  error
}

const ourOffer = "v=0\r\no=mrcproxy 1 1 IN IP4 127.0.0.110\r\ns=-\r\n"

// place has the proxy send an INVITE of its own, with a second for the answer.
func (l *lab) place(b balancer.BackendSpec) *ours {
	l.Helper()
	o := &ours{l: l, srv: l.udp(b.Addr.String()), done: make(chan struct{})}
	if b.Network == "tcp" {
		o.srv = l.tcp(b.Addr.String())
	}
	ctx, stop := context.WithTimeout(context.Background(), time.Second)
	o.stop = stop
	go func() {
		defer close(o.done)
		o.s, o.err = l.p.Invite(ctx, b.URI, b.Network, b.Addr, []byte(ourOffer))
	}()
	synctest.Wait()
	o.inv = o.srv.recv("INVITE")
	return o
}

// ended waits for Invite's return.
func (o *ours) ended() *ours {
	<-o.done
	o.stop()
	return o
}

// resent takes the retransmissions of the INVITE.
func (o *ours) resent(times int) {
	o.l.Helper()
	for range times {
		if m := o.srv.recv("INVITE"); m.String() != o.inv.String() {
			o.l.Errorf("another INVITE:\n%s", m)
		}
	}
}

// fails expects Invite to have failed.
func (o *ours) fails(want string) {
	o.l.Helper()
	if o.ended(); o.err == nil || o.err.Error() != want {
		o.l.Errorf("%+v, %v, want %s", o.s, o.err, want)
	}
}

// accept answers 200 with a captured answer, and takes the ACK.
func (o *ours) accept() (ok, ack *msg) {
	o.l.Helper()
	ok = o.srv.answer(o.inv, "fs-recog-udp-03-200-INVITE")
	return ok, o.srv.recv("ACK")
}

// gone expects the session that nobody waits for to be ended.
func (o *ours) gone() {
	o.l.Helper()
	o.srv.answer(o.srv.recv("BYE"), "200 OK")
}

func TestOwnSession(t *testing.T) {
	for _, uri := range []string{"sip:" + serverA, "sip:" + serverA + ";transport=tcp"} {
		inLab(t, setup{}, func(l *lab) {
			o := l.place(backendSpec(uri, 0))
			if m := o.inv; m.uri() != uri || strings.Contains(m.get("To"), "tag=") || !strings.Contains(m.get("From"), ";tag=") || m.get("Max-Forwards") != "70" ||
				m.get("Content-Type") != "application/sdp" || m.body != ourOffer || !strings.HasPrefix(m.get("Contact"), "<sip:127.0.0.110:5060") ||
				m.get("CSeq") != "1 INVITE" || len(m.all("Record-Route")) != 0 || m.get("Supported") != "" {
				t.Errorf("\n%s", m)
			}
			o.srv.answer(o.inv, "100 Trying")
			ok, ack := o.accept()
			o.ended()
			if o.err != nil || o.s.Code != 200 || string(o.s.Body) != ok.body || len(ok.body) == 0 {
				t.Fatalf("%+v, %v", o.s, o.err)
			}
			if ack.get("CSeq") != "1 ACK" || ack.get("To") != ok.get("To") || ack.uri() != uriOf(ok.get("Contact")) {
				t.Errorf("\n%s", ack)
			}
			o.srv.send(ok) // our ACK was lost (13.2.2.4)
			if again := o.srv.recv("ACK"); again.String() != ack.String() {
				t.Errorf("another ACK\n%s\nthan\n%s", again, ack)
			}
			var code int
			var err error
			done := make(chan struct{})
			go func() {
				defer close(done)
				code, err = o.s.Bye(context.Background())
			}()
			synctest.Wait()
			bye := o.srv.recv("BYE")
			if bye.get("CSeq") != "2 BYE" || bye.get("To") != ok.get("To") || bye.get("From") != o.inv.get("From") || bye.get("Call-ID") != o.inv.get("Call-ID") {
				t.Errorf("\n%s", bye)
			}
			o.srv.answer(bye, "481 Call Does Not Exist")
			<-done
			if code != 481 || err != nil {
				t.Errorf("BYE: %d, %v", code, err)
			}
			if code, err := o.s.Bye(context.Background()); code != 0 || err != nil {
				t.Errorf("a second BYE: %d, %v", code, err)
			}
		})
	}
}

// TestOwnSessionRefused: any other final response is a result, and ACKed hop by hop (RFC 3261 17.1.1.3).
func TestOwnSessionRefused(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		o := l.place(backendSpec("sip:"+serverA, 0))
		o.srv.answer(o.inv, "406 Not Acceptable")
		if ack := o.srv.recv("ACK"); ack.get("Via") != o.inv.get("Via") {
			t.Errorf("\n%s", ack)
		}
		o.ended()
		if o.err != nil || o.s.Code != 406 || o.s.Body != nil {
			t.Errorf("%+v, %v", o.s, o.err)
		}
		if code, err := o.s.Bye(context.Background()); code != 0 || err != nil {
			t.Errorf("BYE of no session: %d, %v", code, err)
		}
	})
}

// TestOwnSessionGivenUp guards the server's channel: an INVITE of ours that is given up is cancelled, as soon as that is
// allowed (RFC 3261 9.1), and what it brings about all the same is ended.
func TestOwnSessionGivenUp(t *testing.T) {
	const udp = "sip:" + serverA
	for name, test := range map[string]struct {
		uri  string
		meet func(l *lab, o *ours)
	}{
		"silence": {udp, func(l *lab, o *ours) {
			l.until(time.Second)
			o.resent(3)
			o.fails(whyNoResponse)
		}},
		"late": {udp, func(l *lab, o *ours) {
			l.until(2 * time.Second)
			o.resent(3)
			o.fails(whyNoResponse)
			ok, ack := o.accept()
			o.gone()
			o.srv.send(ok)
			if again := o.srv.recv("ACK"); again.String() != ack.String() {
				t.Errorf("another ACK\n%s", again)
			}
		}},
		"ringing": {udp, func(l *lab, o *ours) {
			o.srv.answer(o.inv, "180 Ringing")
			o.stop()
			o.fails(whyNoAnswer)
			o.srv.answer(o.srv.recv("CANCEL"), "200 OK")
			o.srv.answer(o.inv, "487 Request Terminated")
			o.srv.recv("ACK")
		}},
		"ringing late, and accepted all the same": {udp, func(l *lab, o *ours) {
			o.stop()
			o.fails(whyNoResponse)
			o.srv.answer(o.inv, "180 Ringing")
			o.srv.recv("CANCEL")
			o.accept() // it crosses the CANCEL
			o.gone()
		}},
		"not answered after ringing": {udp, func(l *lab, o *ours) {
			o.srv.answer(o.inv, "100 Trying")
			l.until(time.Second)
			o.fails(whyNoAnswer)
			o.srv.answer(o.srv.recv("CANCEL"), "200 OK")
			o.srv.answer(o.inv, "487 Request Terminated")
			o.srv.recv("ACK")
		}},
		"unreachable": {udp, func(l *lab, o *ours) {
			l.p.Unreachable([]byte(o.inv.String()), o.srv.addr, errFlow)
			o.fails(whyUnreachable)
		}},
		"connection lost": {udp + ";transport=tcp", func(l *lab, o *ours) {
			l.close(serverA)
			o.fails(whyConnection)
			o.accept() // by another connection
			o.gone()
		}},
		"a second session": {udp, func(l *lab, o *ours) { // RFC 3261 13.2.2.4
			ok, _ := o.accept()
			o.ended()
			o.srv.send(ok.clone().set("To", ok.get("To")+"2"))
			if ack := o.srv.recv("ACK"); !strings.HasSuffix(ack.get("To"), "2") {
				t.Errorf("\n%s", ack)
			}
			o.gone()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inLab(t, setup{}, func(l *lab) {
				o := l.place(backendSpec(test.uri, 0))
				test.meet(l, o)
				if o.s != nil {
					o.s.hungUp = true
				}
			})
		})
	}
}

// TestOwnSessionNotSent: what cannot leave says so at once.
func TestOwnSessionNotSent(t *testing.T) {
	inLab(t, setup{limit: 1}, func(l *lab) {
		b := backendSpec("sip:"+serverA, 0)
		l.net.fail[b.Addr] = errFlow
		if s, err := l.p.Invite(context.Background(), b.URI, b.Network, b.Addr, nil); err == nil || err.Error() != whySend {
			t.Errorf("%+v, %v", s, err)
		}
		if s, err := l.p.Invite(context.Background(), b.URI, b.Network, b.Addr, nil); err == nil || err.Error() != whyNoRoom {
			t.Errorf("%+v, %v", s, err)
		}
		if s, err := l.p.Invite(context.Background(), "sip:[2001:db8::1]", "udp", backendSpec("sip:[2001:db8::1]:5060", 0).Addr, nil); err == nil {
			t.Errorf("%+v", s)
		}
		if a := l.p.Local(b.Network, b.Addr); a.String() != "127.0.0.110" {
			t.Errorf("calls leave from %v", a)
		}
	})
}

// TestOwnSessionByeUnanswered: the caller does not wait for ever, and the BYE is sent again beyond that.
func TestOwnSessionByeUnanswered(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		o := l.place(backendSpec("sip:"+serverA, 0))
		o.accept()
		o.ended()
		ctx, stop := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer stop()
		if code, err := o.s.Bye(ctx); err == nil {
			t.Errorf("BYE: %d", code)
		}
		o.srv.recvAt(0, "BYE")
		l.until(200 * time.Millisecond)
		o.srv.answer(o.srv.recv("BYE"), "200 OK")
	})
}

// TestOwnSessionStop: a stop waits for what gives a server's channel back.
func TestOwnSessionStop(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		o := l.place(backendSpec("sip:"+serverA, 0))
		o.accept()
		o.ended()
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = o.s.Bye(context.Background())
		}()
		l.wait(0)
		bye := o.srv.recv("BYE")
		gone := make(chan time.Duration, 1)
		go func() {
			l.p.windDown(context.Background())
			gone <- time.Since(l.start)
		}()
		l.until(50 * time.Millisecond)
		o.srv.none()
		l.until(250 * time.Millisecond)
		o.srv.recv("BYE") // again: it was lost
		l.until(400 * time.Millisecond)
		o.srv.answer(bye, "200 OK")
		if at := <-gone; at < 400*time.Millisecond || at > 600*time.Millisecond {
			t.Errorf("stopped after %v", at)
		}
		<-done
		for o.srv.next() != nil {
		}
	})
}
