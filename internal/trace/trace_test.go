package trace

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"mrcproxy/proxy/transport"
)

var (
	us     = netip.MustParseAddrPort("10.1.0.5:5060")
	client = netip.MustParseAddrPort("10.0.0.1:5070")
	server = netip.MustParseAddrPort("10.1.1.180:8060")
)

// options is a request with that Call-ID.
func options(id string) []byte {
	return fmt.Appendf(nil, "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1\r\nMax-Forwards: 9\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n"+
		"Call-ID: %s\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", id)
}

func packet(proto transport.Proto, remote netip.AddrPort, sent bool) transport.Packet {
	return transport.Packet{Proto: proto, Local: us, Remote: remote, Sent: sent}
}

// took are the Call-IDs of what waits for w.
func took(w *Watcher) (ids []string) {
	for {
		select {
		case m := <-w.C():
			w.Taken(m)
			ids = append(ids, m.CallID)
		default:
			return ids
		}
	}
}

func TestFilters(t *testing.T) {
	var on []bool
	h := New(func(is bool) { on = append(on, is) })
	h.Show(packet(transport.UDP, client, false), options("nobody"))
	other := netip.AddrPortFrom(server.Addr(), 40000)
	all := h.Watch(Filter{}, 100, 1<<20)
	call := h.Watch(Filter{CallID: "one"}, 100, 1<<20)
	peer := h.Watch(Filter{Peers: []netip.AddrPort{server}}, 100, 1<<20)
	both := h.Watch(Filter{CallID: "two", Peers: []netip.AddrPort{server}}, 100, 1<<20)

	h.Show(packet(transport.UDP, client, false), options("one@a"))
	h.Show(packet(transport.UDP, server, true), options("two"))
	h.Show(packet(transport.UDP, other, false), options("by another port"))
	h.Show(packet(transport.TCP, other, false), options("by a new connection"))
	h.Show(packet(transport.UDP, client, false), []byte("no SIP"))
	for _, c := range []struct {
		name string
		w    *Watcher
		want []string
	}{
		{"all", all, []string{"one@a", "two", "by another port", "by a new connection", ""}},
		{"a call", call, []string{"one@a"}},
		{"a peer", peer, []string{"two", "by a new connection"}},
		{"a call at a peer", both, []string{"two"}},
	} {
		if got := took(c.w); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		c.w.Close()
	}
	if want := []bool{true, false}; !slices.Equal(on, want) {
		t.Errorf("on: %v, want %v", on, want)
	}
	h.Show(packet(transport.UDP, client, false), options("nobody"))
	if got := took(all); got != nil {
		t.Errorf("after the end: %q", got)
	}
}

func TestDirection(t *testing.T) {
	h := New(func(bool) {})
	w := h.Watch(Filter{}, 2, 1<<20)
	text := options("x")
	h.Show(packet(transport.TCP, client, false), text)
	h.Show(packet(transport.UDP, server, true), text)
	text[0] = '!' // the bytes are the caller's again
	in, out := <-w.C(), <-w.C()
	if in.Src != client || in.Dst != us || in.Sent || in.Proto != transport.TCP || in.Text[0] != 'O' {
		t.Errorf("received: %+v", in)
	}
	if out.Src != us || out.Dst != server || !out.Sent {
		t.Errorf("sent: %+v", out)
	}
}

// TestBounds: a watcher that takes nothing costs neither more messages nor more bytes than it may, and others none of theirs.
func TestBounds(t *testing.T) {
	h := New(func(bool) {})
	few, small, all := h.Watch(Filter{}, 3, 1<<20), h.Watch(Filter{}, 100, int64(2*len(options("1")))), h.Watch(Filter{}, 100, 1<<20)
	show := func(n int) {
		for i := range n {
			h.Show(packet(transport.UDP, client, false), options(fmt.Sprint(i)))
		}
	}
	show(5)
	for _, c := range []struct {
		w       *Watcher
		have    int
		dropped uint64
	}{{few, 3, 2}, {small, 2, 3}, {all, 5, 0}} {
		if got := took(c.w); len(got) != c.have || c.w.Dropped() != c.dropped {
			t.Errorf("%q and %d dropped, want %d and %d", got, c.w.Dropped(), c.have, c.dropped)
		}
	}
	show(1)
	if got := took(small); len(got) != 1 {
		t.Errorf("there is room again, but %q came", got)
	}
}

func TestText(t *testing.T) {
	var b strings.Builder
	at := time.Date(2026, 7, 1, 9, 0, 0, 123456000, time.UTC)
	w := NewText(&b)
	for _, m := range []*Message{
		{At: at, Proto: transport.UDP, Src: client, Dst: us, Text: []byte("BYE sip:a@b SIP/2.0\r\nSubject: \xe4\x1b[2Jäöü\u0085\r\n\r\n")},
		{At: at, Proto: transport.TLS, Src: us, Dst: server, Sent: true, Text: []byte("x\r")},
	} {
		if err := w.Write(m); err != nil {
			t.Fatal(err)
		}
	}
	want := "2026-07-01T09:00:00.123456Z received udp 10.0.0.1:5070 -> 10.1.0.5:5060\nBYE sip:a@b SIP/2.0\nSubject: \\xe4\\x1b[2Jäöü\\xc2\\x85\n\n\n" +
		"2026-07-01T09:00:00.123456Z sent tls 10.1.0.5:5060 -> 10.1.1.180:8060\nx\\x0d\n\n"
	if b.String() != want {
		t.Errorf("%q, want\n%q", b.String(), want)
	}
}

// BenchmarkShow is what a message costs its own path while somebody watches everything, and while nobody wants it.
func BenchmarkShow(b *testing.B) {
	invite := options("3Z2JSO3C6SL5S-UCYR24UMJYV6F")
	p := packet(transport.UDP, client, false)
	for _, c := range []struct {
		name   string
		filter Filter
	}{{"wanted", Filter{}}, {"other call", Filter{CallID: "another"}}, {"other peer", Filter{Peers: []netip.AddrPort{server}}}} {
		b.Run(c.name, func(b *testing.B) {
			h := New(func(bool) {})
			w := h.Watch(c.filter, 1, 1<<20)
			b.ReportAllocs()
			for b.Loop() {
				h.Show(p, invite)
				select {
				case m := <-w.C():
					w.Taken(m)
				default:
				}
			}
		})
	}
}
