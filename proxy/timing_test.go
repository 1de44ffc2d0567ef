package proxy

import (
	"strings"
	"testing"
	"time"
)

// TestTrying: a 100 comes from us only when 150 ms have passed with nothing else to relay (RFC 3261 17.2.1 allows 200): a
// client that has seen one waits for ever if we die.
func TestTrying(t *testing.T) {
	tests := []struct {
		name   string
		answer string        // the server's
		after  time.Duration // when it comes
		trying bool
	}{
		{"fast answer", "200 OK", 140 * time.Millisecond, false},
		{"slow answer", "200 OK", 160 * time.Millisecond, true},
		{"server's own 100", "100 Trying", 10 * time.Millisecond, true},
		{"ringing", "180 Ringing", 10 * time.Millisecond, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inLab(t, setup{}, func(l *lab) {
				c, srv := l.udp(freeswitch), l.udp(serverA)
				inv := c.invite("fs-recog-udp-01-INVITE")
				in := srv.recv("INVITE")
				c.send(inv) // before any response: absorbed (17.2.1)
				c.none()
				l.until(tt.after)
				srv.answer(in, tt.answer)
				l.until(400 * time.Millisecond)
				if tt.trying {
					if m := c.recv("100"); m.at != 150*time.Millisecond || strings.Contains(m.get("To"), "tag=") {
						t.Errorf("at %v\n%s", m.at, m)
					}
				}
				if tt.answer[0] == '1' {
					if tt.answer[:2] == "18" {
						c.recv("180")
					}
					c.send(inv) // the last provisional response again
					if tt.trying {
						c.recv("100")
					} else {
						c.recv("180")
					}
					srv.answer(in, "200 OK")
				}
				ok := c.recv("200")
				for srv.next() != nil { // retransmissions
				}
				(&dialog{l: l, client: c, server: srv, invite: in, ok: ok}).bye()
			})
		})
	}
}

// TestInviteRetransmission: T1 towards servers is 100 ms, so that two retransmissions fit before the next server's turn
// at 500 ms; intervals double (timer A). TCP needs none.
func TestInviteRetransmission(t *testing.T) {
	inLab(t, setup{}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.udp(serverA)
		inv := c.invite("fs-recog-udp-01-INVITE")
		first := srv.recvAt(0, "INVITE")
		for _, at := range []time.Duration{100, 300, 700, 1500, 3100} {
			if m := srv.recvAt(at*time.Millisecond, "INVITE"); m.String() != first.String() {
				t.Errorf("RFC 3261 17.1.1.2: at %v\n%s", m.at, m)
			}
		}
		c.recv("100")
		l.until(4 * time.Second)
		c.send(inv.clone().rename("ACK").set("To", c.recv("480").get("To")))
		l.wait(10 * time.Second)
		srv.none()
	})
	inLab(t, setup{servers: []string{"sip:" + serverA + ";transport=tcp"}}, func(l *lab) {
		c, srv := l.udp(freeswitch), l.tcp(serverA)
		c.invite("fs-recog-udp-01-INVITE")
		in := srv.recv("INVITE")
		l.wait(3 * time.Second)
		c.recv("100")
		srv.none()
		srv.answer(in, "200 OK")
		(&dialog{l: l, client: c, server: srv, invite: in, ok: c.recv("200")}).bye()
	})
	inLab(t, setup{}, func(l *lab) { // a provisional response stops it (17.1.1.2)
		c, srv := l.udp(freeswitch), l.udp(serverA)
		c.invite("fs-recog-udp-01-INVITE")
		in := srv.recv("INVITE")
		srv.answer(in, "100 Trying")
		l.wait(900 * time.Millisecond)
		c.recv("100")
		srv.none()
		srv.answer(in, "200 OK")
		(&dialog{l: l, client: c, server: srv, invite: in, ok: c.recv("200")}).bye()
	})
}

// TestOneSilentServer: with no other to turn to the silent one is waited for until the deadline, and its late answer
// counts.
func TestOneSilentServer(t *testing.T) {
	for _, provisional := range []bool{false, true} {
		inLab(t, setup{}, func(l *lab) {
			c, srv := l.udp(freeswitch), l.udp(serverA)
			c.invite("fs-recog-udp-01-INVITE")
			in := srv.recv("INVITE")
			if provisional {
				l.until(600 * time.Millisecond)
				srv.answer(in, "100 Trying")
			}
			l.until(3900 * time.Millisecond)
			for srv.next() != nil {
			}
			c.recv("100")
			srv.answer(in, "200 OK")
			l.wantSessions(1)
			(&dialog{l: l, client: c, server: srv, invite: in, ok: c.recv("200")}).bye()
			if got := strings.Join(l.bal.reports, ","); got != serverA+" answered" {
				t.Errorf("reported %v", got)
			}
		})
	}
}

// TestAllSilent: FreeSWITCH hangs for ever on a 100 without a final response. It has one at the deadline whatever
// happens.
func TestAllSilent(t *testing.T) {
	tests := []struct {
		name    string
		servers int
		answer  string
		asked   int
	}{
		{"one silent", 1, "", 1},
		{"two silent", 2, "", 2},
		{"nine silent", 9, "", 5}, // max_attempts
		{"one slow", 1, "100 Trying", 1},
		{"nine slow", 9, "100 Trying", 4}, // a second each
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := setup{}
			for i := range tt.servers {
				s.servers = append(s.servers, "sip:10.0.0."+string(rune('1'+i))+":8060")
			}
			inLab(t, s, func(l *lab) {
				c := l.udp(freeswitch)
				inv := c.invite("fs-recog-udp-01-INVITE")
				for range 400 {
					for i := range s.servers {
						srv := l.udp(s.servers[i][len("sip:"):])
						for m := srv.next(); m != nil; m = srv.next() {
							if m.method() == "INVITE" && tt.answer != "" {
								srv.answer(m, tt.answer)
							}
							if m.method() == "CANCEL" {
								srv.answer(m, "200 OK")
							}
						}
					}
					l.wait(10 * time.Millisecond)
				}
				c.recv("100")
				final := c.recvAt(4*time.Second, "480")
				if final.get("Retry-After") != "5" || !strings.HasPrefix(final.get("Reason"), `SIP;cause=480;text="`) {
					t.Errorf("\n%s", final)
				}
				l.noSessions()
				c.send(inv.clone().rename("ACK").set("To", final.get("To")))
				done := l.obs.invites
				if len(done) != 1 || done[0].Code != 480 || done[0].Why == "" || done[0].Took != 4*time.Second {
					t.Fatalf("observed %+v", done)
				}
				asked := len(done[0].Attempts)
				if asked != tt.asked {
					t.Errorf("%d asked, want %d", asked, tt.asked)
				}
				l.wait(100 * time.Millisecond)
				for i := range s.servers {
					srv := l.udp(s.servers[i][len("sip:"):])
					for m := srv.next(); m != nil; m = srv.next() {
						if m.method() == "CANCEL" {
							srv.answer(m, "200 OK")
						}
					}
				}
			})
		})
	}
}
