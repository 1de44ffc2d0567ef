package hep

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"mrcproxy/internal/trace"
	"mrcproxy/proxy/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

var (
	us     = netip.MustParseAddrPort("10.1.0.5:5060")
	client = netip.MustParseAddrPort("10.0.0.1:5070")
	at     = time.Date(2026, 7, 1, 9, 0, 0, 123456789, time.UTC)
)

// decode reads one packet by the specification: kind and value of each chunk, in a map.
func decode(t *testing.T, b []byte) map[uint16]string {
	t.Helper()
	if len(b) < 6 || string(b[:4]) != "HEP3" || int(binary.BigEndian.Uint16(b[4:])) != len(b) {
		t.Fatalf("%d bytes that are no packet: %q", len(b), b[:min(len(b), 6)])
	}
	chunks := map[uint16]string{}
	for b = b[6:]; len(b) > 0; {
		vendor, kind, n := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), int(binary.BigEndian.Uint16(b[4:]))
		if vendor != 0 || n < 6 || n > len(b) {
			t.Fatalf("chunk %d of vendor %d with %d bytes, %d are left", kind, vendor, n, len(b))
		}
		if _, twice := chunks[kind]; twice {
			t.Errorf("chunk %d is there twice", kind)
		}
		chunks[kind] = string(b[6:n])
		b = b[n:]
	}
	return chunks
}

func TestPacket(t *testing.T) {
	six := netip.MustParseAddrPort("[fd00::1]:5060")
	common := map[uint16]string{8: "\x13\xc4", 9: "\x6a\x44\xd7\x10", 10: "\x00\x01\xe2\x40", 11: "\x01", 12: "\x00\x00\x07\xd1"}
	for _, c := range []struct {
		name string
		m    trace.Message
		key  string
		want map[uint16]string
	}{
		{"UDP", trace.Message{Proto: transport.UDP, Src: client, Dst: us, CallID: "a@b", Text: []byte("BYE")}, "secret",
			map[uint16]string{1: "\x02", 2: "\x11", 3: "\x0a\x00\x00\x01", 4: "\x0a\x01\x00\x05", 7: "\x13\xce", 14: "secret", 15: "BYE", 17: "a@b"}},
		{"TLS over IPv6", trace.Message{Proto: transport.TLS, Src: six, Dst: six, CallID: "x", Text: []byte("BYE")}, "",
			map[uint16]string{1: "\x0a", 2: "\x06", 5: "\xfd" + strings.Repeat("\x00", 14) + "\x01", 6: "\xfd" + strings.Repeat("\x00", 14) + "\x01", 7: "\x13\xc4", 15: "BYE", 17: "x"}},
		{"IPv4 to IPv6, without a Call-ID", trace.Message{Proto: transport.TCP, Src: client, Dst: six, Text: []byte("x")}, "",
			map[uint16]string{1: "\x0a", 2: "\x06", 5: strings.Repeat("\x00", 10) + "\xff\xff\x0a\x00\x00\x01", 6: "\xfd" + strings.Repeat("\x00", 14) + "\x01", 7: "\x13\xce", 15: "x"}},
	} {
		c.m.At = at
		got := decode(t, appendPacket([]byte("before"), &c.m, 2001, c.key)[6:])
		for kind, v := range common {
			c.want[kind] = v
		}
		for kind, v := range c.want {
			if got[kind] != v {
				t.Errorf("%s: chunk %d is %q, want %q", c.name, kind, got[kind], v)
			}
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: %d chunks, want %d: %v", c.name, len(got), len(c.want), got)
		}
	}
}

// What is larger than a packet can be is cut; the packet stays one.
func TestPacketTooLong(t *testing.T) {
	m := trace.Message{At: at, Proto: transport.TCP, Src: client, Dst: us, CallID: strings.Repeat("i", 5000), Text: bytes.Repeat([]byte("x"), 100_000)}
	b := appendPacket(nil, &m, 1, "")
	got := decode(t, b)
	if len(b) != maxPacket || len(got[15]) < maxPacket-1200 || len(got[17]) != maxID {
		t.Errorf("%d bytes, %d of the payload, %d of the Call-ID", len(b), len(got[15]), len(got[17]))
	}
}

// export runs an Exporter until the test ends. show shows a message whose body is text; logs are what is logged.
func export(t *testing.T, target Target) (e *Exporter, show func(text string), logs *observer.ObservedLogs) {
	t.Helper()
	on := make(chan bool, 10)
	hub := trace.New(func(is bool) { on <- is })
	core, logs := observer.New(zap.InfoLevel)
	e = New(hub, zap.New(core))
	e.backOff = 10 * time.Millisecond
	e.Use(target)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	if target != (Target{}) {
		<-on
	}
	return e, func(text string) {
		hub.Show(transport.Packet{Proto: transport.UDP, Local: us, Remote: client}, []byte(text))
	}, logs
}

// read reads one packet from a stream.
func read(t *testing.T, c net.Conn) map[uint16]string {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	head := make([]byte, 6)
	if _, err := io.ReadFull(c, head); err != nil {
		t.Fatal(err)
	}
	b := append(head, make([]byte, int(binary.BigEndian.Uint16(head[4:]))-6)...)
	if _, err := io.ReadFull(c, b[6:]); err != nil {
		t.Fatal(err)
	}
	return decode(t, b)
}

func listen(t *testing.T, addr string) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

func accept(t *testing.T, ln net.Listener) net.Conn {
	t.Helper()
	_ = ln.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for begun := time.Now(); !ok(); time.Sleep(time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func TestUDP(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	e, show, logs := export(t, Target{Network: "udp", Address: pc.LocalAddr().String(), ID: 7, Password: "p"})
	show("one")
	b := make([]byte, 2000)
	_ = pc.SetReadDeadline(time.Now().Add(patience))
	n, _, err := pc.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	if got := decode(t, b[:n]); got[15] != "one" || got[12] != "\x00\x00\x00\x07" || got[14] != "p" {
		t.Errorf("%v", got)
	}
	await(t, "sent", func() bool { return e.Stats() == Stats{Sent: 1} })
	// Nobody is there any more: an ICMP error says so with the next message but one. The log says it once, though every other message
	// goes out without an error.
	_ = pc.Close()
	await(t, "errors", func() bool { show("lost"); return e.Stats().Errors > 2 })
	if got := logs.All(); len(got) != 1 || got[0].Level != zap.WarnLevel {
		t.Errorf("logged: %v", got)
	}
}

// TestTCP: the server goes and comes back, and gets what came meanwhile, in order.
func TestTCP(t *testing.T) {
	ln := listen(t, "127.0.0.1:0")
	addr := ln.Addr().String()
	e, show, _ := export(t, Target{Network: "tcp", Address: addr, ID: 1})
	show("one")
	show("two")
	c := accept(t, ln)
	for _, want := range []string{"one", "two"} {
		if got := read(t, c); got[15] != want {
			t.Errorf("%q, want %q", got[15], want)
		}
	}
	_ = ln.Close()
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
	await(t, "the loss is noticed", func() bool { show("lost"); return e.Stats().Errors > 0 })
	before := e.Stats().Sent
	show("meanwhile")
	ln = listen(t, addr)
	c = accept(t, ln)
	for {
		got := read(t, c)[15]
		if got == "meanwhile" {
			break
		}
		if got != "lost" {
			t.Fatalf("%q, want meanwhile", got)
		}
	}
	await(t, "counted", func() bool { return e.Stats().Sent > before })
}

// TestReload: another server gets what comes from then on; none, nothing.
func TestReload(t *testing.T) {
	first, second := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	e, show, _ := export(t, Target{Network: "tcp", Address: first.Addr().String()})
	show("one")
	c := accept(t, first)
	if got := read(t, c); got[15] != "one" {
		t.Errorf("%v", got)
	}
	e.Use(Target{Network: "tcp", Address: second.Addr().String()})
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the first server's connection: %v, want EOF", err)
	}
	stop := make(chan struct{})
	defer close(stop)
	go func() { // until the second is watched for
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				show("two")
			}
		}
	}()
	if got := read(t, accept(t, second)); got[15] != "two" {
		t.Errorf("%v", got)
	}
}

// What still waits at the end is sent, as far as the server takes it.
func TestEnd(t *testing.T) {
	ln := listen(t, "127.0.0.1:0")
	hub := trace.New(func(bool) {})
	e := New(hub, zap.NewNop())
	w := hub.Watch(trace.Filter{}, 10, 1<<20)
	for _, text := range []string{"one", "two"} {
		hub.Show(transport.Packet{Proto: transport.UDP, Local: us, Remote: client}, []byte(text))
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	e.serve(ctx, Target{Network: "tcp", Address: ln.Addr().String()}, w)
	c := accept(t, ln)
	for _, want := range []string{"one", "two"} {
		if got := read(t, c); got[15] != want {
			t.Errorf("%q, want %q", got[15], want)
		}
	}
	if got := e.Stats(); got != (Stats{Sent: 2}) {
		t.Errorf("%+v", got)
	}
}

func BenchmarkPacket(b *testing.B) {
	m := trace.Message{At: at, Proto: transport.UDP, Src: client, Dst: us, CallID: "3Z2JSO3C6SL5S-UCYR24UMJYV6F", Text: bytes.Repeat([]byte("x"), 1200)}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = appendPacket(buf[:0], &m, 2001, "secret")
	}
}
