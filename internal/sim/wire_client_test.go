package sim

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// ok answers an INVITE as a server behind a proxy would.
func (p *peer) ok(in incoming, contact string, routes ...string) {
	p.t.Helper()
	res := respond(in.m, in.f, 200, "peer")
	for _, r := range routes {
		res.add("Record-Route", r)
	}
	res.add("Contact", contact)
	p.answer(in, res)
}

func (p *peer) answer(in incoming, res *message) {
	p.t.Helper()
	if err := p.ep.answer(in.f, res.bytes()); err != nil {
		p.t.Fatal(err)
	}
}

func TestInviteLooksLikeFreeSWITCH(t *testing.T) {
	bothNetworks(t, func(t *testing.T, network string) {
		p := newPeer(t)
		c := newClient(t, ClientOptions{Proxy: p.ep.addr, Network: network, UserAgent: "ASR_MRCP_CLIENT_FS_BAIDU"})
		session := start(testContext(t), c, time.Hour)
		in := p.next(method("INVITE"))
		var names []string
		for _, h := range in.m.headers {
			names = append(names, h.name)
		}
		if got := strings.Join(names, " "); got != "Via Max-Forwards From To Call-ID CSeq User-Agent Allow Supported Content-Type Content-Disposition" {
			t.Errorf("headers %s", got)
		}
		if want := "sip:" + p.ep.addr.String(); in.m.uri != want || in.m.get("To") != "<"+want+">" {
			t.Errorf("Request-URI %s, To %s", in.m.uri, in.m.get("To"))
		}
		if !strings.HasPrefix(in.m.get("From"), "<sip:"+c.Addr().String()+">;tag=") {
			t.Errorf("From %s", in.m.get("From"))
		}
		if rport := strings.Contains(in.m.topVia(), ";rport;"); rport != (network == "udp") {
			t.Errorf("Via %s", in.m.topVia())
		}
		if parts, _ := parseSDP(in.m.body); len(parts) != 2 || parts[0].line != "application 9 TCP/MRCPv2 1" || parts[0].attr("resource") != "speechrecog" {
			t.Errorf("SDP\n%s", in.m.body)
		}
		if (in.f.remote == c.Addr()) != (network == "udp") {
			t.Errorf("came from %s, the client is %s", in.f.remote, c.Addr())
		}
		p.answer(in, respond(in.m, in.f, 480, "peer"))
		ack := p.next(method("ACK")).m
		if ack.branch() != in.m.branch() || ack.uri != in.m.uri || ack.get("User-Agent") != "" || ack.toTag() != "peer" {
			t.Errorf("ACK of a failure:\n%s", ack.bytes())
		}
		if r := <-session; r.Code != 480 {
			t.Errorf("%+v", r)
		}
	})
}

// RFC 3261 12.1.2 and RFC 5658: ACK and BYE follow the Record-Routes reversed, byte for byte.
func TestRouteSet(t *testing.T) {
	bothNetworks(t, func(t *testing.T, network string) {
		p, edge := newPeer(t), newPeer(t)
		c := newClient(t, ClientOptions{Proxy: p.ep.addr, Network: network})
		session := start(testContext(t), c, 0)
		far := "<sip:127.0.0.1:1;lr;r2=on;transport=sctp>"
		near := "<sip:k1.c=a_b-%20@" + edge.ep.addr.String() + ";lr;r2=on;transport=" + network + ";x>"
		in := p.next(method("INVITE"))
		p.ok(in, "<sip:10.9.9.9:8060>", far, near)
		for _, name := range []string{"ACK", "BYE"} {
			got := edge.next(method(name))
			if got.f.network != network || got.m.uri != "sip:10.9.9.9:8060" || got.m.toTag() != "peer" {
				t.Errorf("over %s:\n%s", got.f.network, got.m.bytes())
			}
			if routes := got.m.list("Route"); !slices.Equal(routes, []string{near, far}) {
				t.Errorf("%s with Route %q", name, routes)
			}
			if got.m.branch() == in.m.branch() {
				t.Errorf("%s has the INVITE's branch", name)
			}
			if name == "BYE" {
				edge.answer(got, respond(got.m, got.f, 200, ""))
			}
		}
		if r := <-session; r.ByeCode != 200 || r.Server != "10.9.9.9:8060" {
			t.Errorf("%+v", r)
		}
	})
}

// FreeSWITCH sends neither ACK nor BYE when the Record-Route names another transport.
func TestRouteOverOtherTransport(t *testing.T) {
	p := newPeer(t)
	c := newClient(t, ClientOptions{Proxy: p.ep.addr})
	session := start(testContext(t), c, 0)
	p.ok(p.next(method("INVITE")), "<sip:127.0.0.1:8060>", "<sip:"+p.ep.addr.String()+";transport=tcp;lr>")
	if r := <-session; r.Code != 200 || !errors.Is(r.Err, ErrRouteTransport) {
		t.Errorf("%+v", r)
	}
}

func TestRepeatedOKIsAckedAgain(t *testing.T) {
	bothNetworks(t, func(t *testing.T, network string) {
		p := newPeer(t)
		c := newClient(t, ClientOptions{Proxy: p.ep.addr, Network: network})
		ctx, end := context.WithCancel(testContext(t))
		defer end()
		session := start(ctx, c, time.Hour)
		contact := fmt.Sprintf("<sip:%s>", p.ep.addr)
		in := p.next(method("INVITE"))
		p.ok(in, contact)
		first := p.next(method("ACK")).m
		p.ok(in, contact)
		if again := p.next(method("ACK")).m; string(again.bytes()) != string(first.bytes()) {
			t.Errorf("ACKed with\n%sthen\n%s", first.bytes(), again.bytes())
		}
		end()
		bye := p.next(method("BYE"))
		p.answer(bye, respond(bye.m, bye.f, 200, ""))
		<-session
		p.ok(in, contact) // late: ACKed, but the session was there and is over
		p.next(method("ACK"))
		if c.Orphans() != 0 {
			t.Errorf("%d orphans", c.Orphans())
		}
	})
}

// A 2xx for an INVITE that was given up is ACKed and BYEd, with what sofia-sip sends.
func TestOrphan(t *testing.T) {
	bothNetworks(t, func(t *testing.T, network string) {
		p := newPeer(t)
		c := newClient(t, ClientOptions{Proxy: p.ep.addr, Network: network, T1: time.Millisecond})
		session := start(testContext(t), c, 0)
		in := p.next(method("INVITE"))
		if r := <-session; !errors.Is(r.Err, ErrNoAnswer) {
			t.Errorf("%+v", r)
		}
		p.ok(in, "<sip:127.0.0.1:8060>", "<sip:"+p.ep.addr.String()+";lr>")
		p.next(method("ACK"))
		bye := p.next(method("BYE")).m
		if bye.get("CSeq") != "2147483647 BYE" || bye.get("Max-Forwards") != "" || c.Orphans() != 1 {
			t.Errorf("%d orphans, BYE\n%s", c.Orphans(), bye.bytes())
		}
		p.answer(in, respond(in.m, in.f, 500, "peer"))
		if ack := p.next(method("ACK")).m; ack.branch() != in.m.branch() {
			t.Errorf("late failure ACKed with\n%s", ack.bytes())
		}
	})
}

// CANCEL has the INVITE's branch and goes after a provisional only; it is repeated over UDP.
func TestCancelOnTheWire(t *testing.T) {
	p := newPeer(t)
	c := newClient(t, ClientOptions{Proxy: p.ep.addr, T1: fast})
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	session := start(ctx, c, 0)
	in := p.next(method("INVITE"))
	cancel()
	p.next(method("INVITE")) // still repeated: no CANCEL before a provisional
	p.answer(in, respond(in.m, in.f, 100, ""))
	first := p.next(method("CANCEL")).m
	again := p.next(method("CANCEL"))
	if string(first.bytes()) != string(again.m.bytes()) || first.branch() != in.m.branch() || first.uri != in.m.uri {
		t.Errorf("CANCEL\n%sthen\n%s", first.bytes(), again.m.bytes())
	}
	p.answer(again, respond(again.m, again.f, 200, "peer"))
	p.answer(in, respond(in.m, in.f, 487, "peer"))
	p.next(method("ACK"))
	if r := <-session; r.Code != 487 || !errors.Is(r.Err, context.Canceled) {
		t.Errorf("%+v", r)
	}
}

// What FreeSWITCH answers to requests inside and outside a dialog.
func TestRequestsOfTheServer(t *testing.T) {
	p := newPeer(t)
	c := newClient(t, ClientOptions{Proxy: p.ep.addr})
	session := start(testContext(t), c, time.Hour)
	in := p.next(method("INVITE"))
	p.ok(in, "<sip:"+p.ep.addr.String()+">")
	p.next(method("ACK"))
	request := func(name, tag string) *message {
		m := p.request(name, "udp", c.Addr(), in.m.get("Call-ID"), newBranch())
		m.headers[3].value += ";tag=" + tag
		return m
	}
	for _, scene := range []struct {
		method, tag string
		want        int
	}{
		{"INVITE", in.m.fromTag(), 200}, {"UPDATE", in.m.fromTag(), 200}, {"INFO", in.m.fromTag(), 405},
		{"BYE", "other", 481}, {"BYE", in.m.fromTag(), 200},
	} {
		m := request(scene.method, scene.tag)
		if scene.method == "BYE" && scene.want == 200 {
			p.send("udp", c.Addr(), request("OPTIONS", scene.tag)) // never answered
		}
		for range 2 { // a copy gets the same answer, after the end of the session too
			p.send("udp", c.Addr(), m)
			if res := p.next(final).m; res.code != scene.want || !strings.HasSuffix(res.get("CSeq"), scene.method) {
				t.Errorf("%s answered %d %s, want %d", scene.method, res.code, res.get("CSeq"), scene.want)
			}
		}
	}
	if r := <-session; !r.ServerBye {
		t.Errorf("%+v", r)
	}
}

// A connection that ends leaves the dialogs alone: BYE comes on a new one.
func TestBrokenConnection(t *testing.T) {
	p := newPeer(t)
	c := newClient(t, ClientOptions{Proxy: p.ep.addr, Network: "tcp"})
	ctx, end := context.WithCancel(testContext(t))
	defer end()
	session := start(ctx, c, time.Hour)
	in := p.next(method("INVITE"))
	p.ok(in, "<sip:"+p.ep.addr.String()+">")
	p.next(method("ACK"))
	_ = in.f.conn.Close()
	for !c.idle() {
		if ctx.Err() != nil {
			t.Fatal("the client did not see the end of its connection")
		}
		runtime.Gosched()
	}
	end()
	bye := p.next(method("BYE"))
	if bye.f.conn == in.f.conn {
		t.Error("BYE on the closed connection")
	}
	p.answer(bye, respond(bye.m, bye.f, 200, ""))
	if r := <-session; r.ByeCode != 200 || r.Err != nil {
		t.Errorf("%+v", r)
	}
}

// idle says whether the client has no connection.
func (c *Client) idle() bool {
	c.ep.mu.Lock()
	defer c.ep.mu.Unlock()
	return len(c.ep.dialed) == 0
}

// TestMovesToAnotherProxy: what the session's proxy does not answer another is asked, with a CSeq of its own, and it has the session
// from then on.
func TestMovesToAnotherProxy(t *testing.T) {
	bothNetworks(t, func(t *testing.T, network string) {
		a, b := newPeer(t), newPeer(t)
		route := "<sip:" + a.ep.addr.String() + ";lr>"
		c := newClient(t, ClientOptions{Proxy: a.ep.addr, Network: network, Others: []netip.AddrPort{a.ep.addr, b.ep.addr}, Patience: 300 * time.Millisecond})
		session := start(testContext(t), c, 1200*time.Millisecond)
		in := a.next(method("INVITE"))
		res := respond(in.m, in.f, 200, "peer")
		res.add("Record-Route", route)
		res.add("Contact", "<sip:"+a.ep.addr.String()+">")
		res.add("Session-Expires", "1;refresher=uac")
		a.answer(in, res)
		a.next(method("ACK"))
		first := a.next(method("INVITE"))
		in = b.next(method("INVITE"))
		if in.m.get("CSeq") == first.m.get("CSeq") || in.m.branch() == first.m.branch() || in.m.get("Route") != route {
			t.Errorf("CSeq %s, Via %s, Route %s", in.m.get("CSeq"), in.m.topVia(), in.m.get("Route"))
		}
		b.ok(in, "<sip:"+a.ep.addr.String()+">")
		b.next(method("ACK"))
		for in = b.next(inSession); in.m.method != "BYE"; in = b.next(inSession) {
			b.ok(in, "<sip:"+a.ep.addr.String()+">") // a second refresh
		}
		b.answer(in, respond(in.m, in.f, 200, "peer"))
		if r := <-session; r.ByeCode != 200 || r.Moved != 1 || r.Err != nil {
			t.Errorf("%+v", r)
		}
	})
}

func inSession(m *message) bool { return m.method == "BYE" || m.method == "INVITE" }
