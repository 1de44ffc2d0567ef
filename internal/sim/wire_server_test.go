package sim

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func (p *peer) invite(network string, s *Server, callID string) *message {
	return p.request("INVITE", network, s.Addr(), callID, newBranch())
}

// ack ACKs a 200 and waits until the server knows.
func (p *peer) ack(network string, s *Server, ok *message) {
	p.t.Helper()
	before := s.Stats().Acks
	p.send(network, s.Addr(), p.inDialog("ACK", network, s.Addr(), ok, 1))
	await(p.t, s, func(st ServerStats) bool { return st.Acks == before+1 })
}

func TestAnswerLooksLikeUniMRCP(t *testing.T) {
	for network, contact := range map[string]string{"": "", "udp": ";transport=udp", "tcp": ";transport=tcp"} {
		o := ServerOptions{MRCPPort: 1544}
		if network != "" {
			o.Networks = []string{network}
		} else {
			network = "udp"
		}
		s := startServer(t, o)
		p := newPeer(t)
		m := p.invite(network, s, "look")
		m.add("Supported", "timer, 100rel")
		m.add("Record-Route", "<sip:a@127.0.0.1:9;lr;x=1>, <sip:127.0.0.1:8;r2=on;lr>")
		p.send(network, s.Addr(), m)
		p.next(code(100))
		ok := p.next(code(200)).m
		if want := "<sip:" + s.Addr().String() + contact + ">"; ok.get("Contact") != want {
			t.Errorf("Contact %s, want %s", ok.get("Contact"), want)
		}
		if got := ok.list("Record-Route"); !slices.Equal(got, m.list("Record-Route")) {
			t.Errorf("Record-Route came back as %q", got)
		}
		if ok.get("Session-Expires") != "600;refresher=uac" || ok.get("Require") != "timer" {
			t.Errorf("Session-Expires %q, Require %q", ok.get("Session-Expires"), ok.get("Require"))
		}
		for _, want := range []string{"m=application 1544 TCP/MRCPv2 1\r\n", "a=setup:passive\r\n", "@speechrecog\r\n", "a=recvonly\r\n", "c=IN IP4 127.0.0.1\r\n"} {
			if !strings.Contains(string(ok.body), want) {
				t.Errorf("no %q in the answer's SDP\n%s", want, ok.body)
			}
		}
		if via := ok.topVia(); network == "udp" && strings.Count(via, "rport=") != 1 {
			t.Errorf("Via %q lost rport", via)
		}
		p.ack(network, s, ok)
	}
}

func TestRefusals(t *testing.T) {
	bothNetworks(t, func(t *testing.T, network string) {
		s := startServer(t, ServerOptions{Resource: "speechrecog"})
		p := newPeer(t)
		for name, scene := range map[string]struct {
			edit func(*message)
			want int
		}{
			"no SDP":          {func(m *message) { m.body = nil }, 400},
			"no MRCP":         {func(m *message) { m.body = []byte("v=0\r\nm=audio 9 RTP/AVP 0\r\n") }, 400},
			"other resource":  {func(m *message) { m.body = offerSDP(p.ep.addr.Addr(), "speechsynth") }, 404},
			"unknown Require": {func(m *message) { m.add("Require", "timer, foo") }, 420},
			"unknown dialog":  {func(m *message) { m.headers[3].value += ";tag=none" }, 481},
		} {
			m := p.invite(network, s, name)
			scene.edit(m)
			p.send(network, s.Addr(), m)
			res := p.next(final).m
			if res.code != scene.want || res.toTag() == "" {
				t.Errorf("%s: %d with To %q, want %d", name, res.code, res.get("To"), scene.want)
			}
			p.send(network, s.Addr(), p.request("ACK", network, s.Addr(), name, m.branch()))
		}
		if s.Sessions() != 0 {
			t.Errorf("%d sessions", s.Sessions())
		}
	})
}

// RFC 3261 8.2.2.2; UniMRCP does so even when the first one failed.
func TestMergedRequest(t *testing.T) {
	s := startServer(t, ServerOptions{Resource: "speechsynth"})
	p := newPeer(t)
	for _, want := range []int{404, 482} {
		p.send("udp", s.Addr(), p.invite("udp", s, "merged"))
		p.next(code(want))
	}
	if st := s.Stats(); st.Merged != 1 || st.Invites != 2 || st.Refused != 2 {
		t.Errorf("server counted %+v", st)
	}
}

// RFC 3261 13.3.1.4: the 200 is repeated until the ACK; a copy of the INVITE gets it too
// and makes no second session.
func TestRepeatsOverUDP(t *testing.T) {
	s := startServer(t, ServerOptions{T1: fast})
	p := newPeer(t)
	m := p.invite("udp", s, "repeats")
	p.send("udp", s.Addr(), m)
	first := p.next(code(200)).m
	p.send("udp", s.Addr(), m)
	for range 3 {
		if again := p.next(code(200)).m; again.toTag() != first.toTag() {
			t.Errorf("To tag %q, then %q", first.toTag(), again.toTag())
		}
	}
	if st := s.Stats(); st.Retransmits != 1 || st.Invites != 1 || st.Sessions != 1 {
		t.Errorf("server counted %+v", st)
	}
	p.ack("udp", s, first)
}

// UniMRCP ends a session that was never confirmed after 32 s, here 640 ms.
func TestNoAck(t *testing.T) {
	bothNetworks(t, func(t *testing.T, network string) {
		s := startServer(t, ServerOptions{T1: fast})
		p := newPeer(t)
		p.send(network, s.Addr(), p.invite(network, s, "unconfirmed"))
		bye := p.next(method("BYE"))
		if bye.f.network != network || s.Sessions() != 0 {
			t.Errorf("BYE over %s with %d sessions left", bye.f.network, s.Sessions())
		}
		if err := p.ep.answer(bye.f, respond(bye.m, bye.f, 200, "").bytes()); err != nil {
			t.Fatal(err)
		}
		await(t, s, func(st ServerStats) bool { return st.HangUpsDone == 1 })
	})
}

// The BYE follows the Record-Route, over TCP on a connection of its own.
func TestHangUpFollowsRecordRoute(t *testing.T) {
	bothNetworks(t, func(t *testing.T, network string) {
		s := startServer(t, ServerOptions{})
		p, proxy := newPeer(t), newPeer(t)
		m := p.invite(network, s, "routed")
		near, far := "<sip:k=1@"+proxy.ep.addr.String()+";lr;r2=on>", "<sip:127.0.0.1:1;lr;r2=on>"
		m.add("Record-Route", near)
		m.add("Record-Route", far)
		p.send(network, s.Addr(), m)
		ok := p.next(code(200)).m
		p.ack(network, s, ok)
		s.HangUp(7)
		bye := proxy.next(method("BYE"))
		if bye.f.network != network || !slices.Equal(bye.m.list("Route"), []string{near, far}) {
			t.Errorf("BYE over %s with Route %q", bye.f.network, bye.m.list("Route"))
		}
		if want := "sip:" + p.ep.addr.String(); bye.m.uri != want {
			t.Errorf("BYE to %s, want the From URI %s", bye.m.uri, want)
		}
		if bye.m.fromTag() != ok.toTag() || bye.m.toTag() != "peer" {
			t.Errorf("BYE from %q to %q", bye.m.get("From"), bye.m.get("To"))
		}
		if network == "tcp" && bye.f.remote == s.Addr() {
			t.Error("BYE did not come on a new connection")
		}
	})
}

func TestUnknownBye(t *testing.T) {
	bothNetworks(t, func(t *testing.T, network string) {
		s := startServer(t, ServerOptions{})
		p := newPeer(t)
		m := p.request("BYE", network, s.Addr(), "unknown", newBranch())
		for range 2 { // the copy gets the same answer and is not counted
			p.send(network, s.Addr(), m)
			p.next(code(481))
		}
		if st := s.Stats(); st.UnknownByes != 1 || st.Byes != 0 {
			t.Errorf("server counted %+v", st)
		}
	})
}

func TestUnknownCancel(t *testing.T) {
	s := startServer(t, ServerOptions{})
	p := newPeer(t)
	p.send("udp", s.Addr(), p.request("CANCEL", "udp", s.Addr(), "unknown", newBranch()))
	p.next(code(481))
	p.send("udp", s.Addr(), p.request("MESSAGE", "udp", s.Addr(), "unknown", newBranch()))
	p.next(code(405))
}

// RFC 3261 9.2: a CANCEL that comes after the final changes nothing.
func TestLateCancel(t *testing.T) {
	s := startServer(t, ServerOptions{})
	p := newPeer(t)
	m := p.invite("udp", s, "late")
	p.send("udp", s.Addr(), m)
	ok := p.next(code(200)).m
	p.ack("udp", s, ok)
	p.send("udp", s.Addr(), p.request("CANCEL", "udp", s.Addr(), "late", m.branch()))
	p.next(func(m *message) bool { return m.code == 200 && m.get("CSeq") == "1 CANCEL" })
	if st := s.Stats(); st.Cancels != 0 || st.Sessions != 1 {
		t.Errorf("server counted %+v", st)
	}
}

// UniMRCP answers OPTIONS inside a dialog, then ends the call.
func TestOptionsInDialogEndsIt(t *testing.T) {
	s := startServer(t, ServerOptions{})
	p := newPeer(t)
	p.send("udp", s.Addr(), p.invite("udp", s, "options"))
	ok := p.next(code(200)).m
	p.ack("udp", s, ok)
	p.send("udp", s.Addr(), p.inDialog("UPDATE", "udp", s.Addr(), ok, 2))
	p.next(code(200))
	p.send("udp", s.Addr(), p.inDialog("OPTIONS", "udp", s.Addr(), ok, 3))
	p.next(code(200))
	p.next(method("BYE"))
	if s.Sessions() != 0 {
		t.Errorf("%d sessions left", s.Sessions())
	}
}

// TestRefreshes: one that was overtaken by another is refused (RFC 3261 12.2.2), and a 2xx without an ACK ends a session only where
// none came behind it.
func TestRefreshes(t *testing.T) {
	s := startServer(t, ServerOptions{T1: fast})
	p := newPeer(t)
	p.send("udp", s.Addr(), p.invite("udp", s, "refreshes"))
	ok := p.next(code(200)).m
	p.ack("udp", s, ok)
	refresh := func(cseq int) *message {
		m := p.inDialog("INVITE", "udp", s.Addr(), ok, cseq)
		m.add("Content-Type", "application/sdp")
		m.body = offerSDP(p.ep.addr.Addr(), "speechrecog")
		p.send("udp", s.Addr(), m)
		return p.next(func(r *message) bool { return final(r) && r.branch() == m.branch() }).m
	}
	for _, step := range []struct{ cseq, code int }{{3, 200}, {5, 200}, {4, 500}} {
		if res := refresh(step.cseq); res.code != step.code {
			t.Errorf("CSeq %d: %d, want %d", step.cseq, res.code, step.code)
		}
		if step.cseq == 5 {
			p.send("udp", s.Addr(), p.inDialog("ACK", "udp", s.Addr(), ok, 5))
		}
	}
	<-time.After(2 * t1ToEnd * fast)
	if st := s.Stats(); st.Sessions != 1 || st.HangUps != 0 {
		t.Errorf("server counted %+v", st)
	}
	refresh(6)
	p.next(method("BYE"))
}
