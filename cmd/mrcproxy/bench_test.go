package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

// TestBench: calls that go well, and calls that do not, are counted and make the exit status.
func TestBench(t *testing.T) {
	s, err := sim.StartServer(sim.ServerOptions{Addr: netip.MustParseAddrPort("127.0.0.1:0")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	for _, c := range []struct {
		name, transport string
		fault           sim.Fault
		code            int
		failure         string // of all calls; "" none
	}{
		{"UDP", "", sim.None, 0, ""},
		{"TCP", ";transport=tcp", sim.None, 0, ""},
		{"refused", "", sim.Refuse(486, 0), exitFailed, "486"},
	} {
		s.SetFault(c.fault)
		uri := "sip:" + s.Addr().String() + c.transport
		out, code := command(t.Context(), "", "bench", uri, "--rate", "200", "--for", "200ms", "--hold", "20ms", "--concurrency", "10", "-o", "json")
		var r benchReport
		if err := json.NewDecoder(strings.NewReader(out)).Decode(&r); err != nil {
			t.Fatalf("%s: %v\n%s", c.name, err, out)
		}
		if code != c.code || r.Calls == 0 || r.Target != uri {
			t.Errorf("%s: exit status %d, %+v", c.name, code, r)
		}
		if c.failure != "" {
			if r.Failed != r.Calls || r.Failures[c.failure] != r.Calls || r.Setup["max"] != 0 || !strings.Contains(out, "calls failed") {
				t.Errorf("%s: %s", c.name, out)
			}
			continue
		}
		if r.Failed != 0 || r.Calls > 40 || r.Rate > 210 || r.Setup["p50"] <= 0 || r.Setup["p50"] > r.Setup["p95"] || r.Setup["p95"] > r.Setup["p99"] || r.Setup["p99"] > r.Setup["max"] {
			t.Errorf("%s: %s", c.name, out)
		}
	}
	out, code := command(t.Context(), "", "bench", "sip:"+s.Addr().String(), "--for", "10ms", "--hold", "0s")
	if code != exitFailed || !strings.Contains(out, "CALLS  FAILED") || !strings.Contains(out, "FAILURE  CALLS\n486      1\n") {
		t.Errorf("%d\n%s", code, out)
	}
}

// TestBenchSockets: calls take the connections in turns, and each is used again.
func TestBenchSockets(t *testing.T) {
	s, err := sim.StartServer(sim.ServerOptions{Addr: netip.MustParseAddrPort("127.0.0.1:0")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	l, err := net.Listen("tcp", "127.0.0.1:0") // before the server, to count
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var connections atomic.Int32
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			go relay(c, s.Addr().String())
		}
	}()
	out, code := command(t.Context(), "", "bench", "sip:"+l.Addr().String()+";transport=tcp", "--sockets", "20", "--rate", "500", "--for", "200ms", "--hold", "0s", "-o", "json")
	var r benchReport
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&r); err != nil {
		t.Fatalf("%s\n%s", err, out)
	}
	if code != 0 || r.Calls <= 20 || r.Failed != 0 || connections.Load() != 20 {
		t.Errorf("exit status %d, %d connections, %+v", code, connections.Load(), r)
	}
}

// relay copies both ways between a connection and another to addr, until either ends.
func relay(c net.Conn, addr string) {
	defer c.Close()
	to, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer to.Close()
	go func() { _, _ = io.Copy(to, c); _ = to.Close() }()
	_, _ = io.Copy(c, to)
}

// TestBenchSentAgain: an answer that comes late fails no call; that the request was sent again counts.
func TestBenchSentAgain(t *testing.T) {
	s, err := sim.StartServer(sim.ServerOptions{Addr: netip.MustParseAddrPort("127.0.0.1:0")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	s.SetFault(sim.Silent)
	go func() {
		for ; s.Stats().Retransmits == 0; time.Sleep(time.Millisecond) {
			if t.Context().Err() != nil {
				return
			}
		}
		s.SetFault(sim.None)
	}()
	out, code := command(t.Context(), "", "bench", "sip:"+s.Addr().String(), "--rate", "1", "--for", "1s", "--hold", "0s", "-o", "json")
	var r benchReport
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&r); err != nil {
		t.Fatalf("%s\n%s", err, out)
	}
	if code != 0 || r.Calls != 1 || r.Failed != 0 || r.Again < 1 {
		t.Errorf("exit status %d, %+v", code, r)
	}
}

// TestBenchInterrupted: calls that are up end with a BYE, at once, and count, while more would be placed and afterwards.
func TestBenchInterrupted(t *testing.T) {
	s, err := sim.StartServer(sim.ServerOptions{Addr: netip.MustParseAddrPort("127.0.0.1:0")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	for _, c := range []struct {
		calls int
		flags string
	}{{3, "--rate 100 --for 1h --concurrency 3"}, {1, "--rate 1 --for 1s"}} {
		out, stop := start(t, append([]string{"bench", "sip:" + s.Addr().String(), "--hold", "1h"}, strings.Fields(c.flags)...)...)
		for end := time.Now().Add(10 * time.Second); s.Sessions() < c.calls; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: %d sessions", c.flags, s.Sessions())
			}
		}
		if code := stop(); code != 0 || !strings.Contains(out.text(), fmt.Sprintf("\n%d      0 ", c.calls)) || s.Sessions() != 0 {
			t.Errorf("%s: exit status %d, %d sessions left\n%s", c.flags, code, s.Sessions(), out.text())
		}
	}
}

func TestBenchRefuses(t *testing.T) {
	for _, args := range [][]string{{}, {"127.0.0.1:5060"}, {"sip:asr.example.com"}, {"sips:127.0.0.1:5061"}, {"sip:127.0.0.1", "--rate", "0"}, {"sip:127.0.0.1", "--for", "0s"},
		{"sip:127.0.0.1", "--concurrency", "0"}, {"sip:127.0.0.1", "--sockets", "0"}} {
		if out, code := command(t.Context(), "", append([]string{"bench"}, args...)...); code != exitUsage {
			t.Errorf("%v: %d %s", args, code, out)
		}
	}
}

func TestQuantile(t *testing.T) {
	var l []time.Duration
	for n := range 100 {
		l = append(l, time.Duration(n+1))
	}
	for _, c := range []struct {
		l    []time.Duration
		part float64
		want time.Duration
	}{{nil, 0.5, 0}, {l[:1], 0.5, 1}, {l[:2], 0.5, 1}, {l, 0.5, 50}, {l, 0.95, 95}, {l, 0.99, 99}, {l, 1, 100}} {
		if got := quantile(c.l, c.part); got != c.want {
			t.Errorf("%g of %d: %d, want %d", c.part, len(c.l), got, c.want)
		}
	}
}
