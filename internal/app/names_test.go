package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	logged "go.uber.org/zap/zaptest/observer"

	"mrcproxy/balancer"
	"mrcproxy/config"
	"mrcproxy/internal/resolver/dnstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is a daemon that asks a DNS server of the test. Its servers are probed once, in vain, and stay unknown.
type house struct {
	t    *testing.T
	zone *dnstest.Zone
	text atomic.Pointer[string] // the configuration, below clusters[0].groups
	app  *App
	log  *logged.ObservedLogs
}

// newHouse starts a daemon; before is called with the zone first.
func newHouse(t *testing.T, groups string, before func(*dnstest.Zone)) *house {
	h := &house{t: t, zone: dnstest.NewZone(t)}
	before(h.zone)
	h.text.Store(&groups)
	core, log := logged.New(zap.InfoLevel)
	h.log = log
	dir := t.TempDir()
	var err error
	h.app, err = New(Options{
		Load: func() (*config.Config, error) {
			return config.Parse("f.yaml", fmt.Appendf(nil, `
data_dir: %s
listen: ["udp://127.0.0.1:0", "tcp://127.0.0.1:0"]
admin: {listen: off}
health: {interval: 1h, jitter: 0}
otherwise: {cluster: c}
clusters:
  - name: c
    groups: %s
`, dir, *h.text.Load()))
		},
		Log: zap.New(core), DNS: []string{dnstest.Serve(t, h.zone, "127.0.0.1")},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- h.app.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return h
}

// servers are all there are: URI, sessions where there are any, and whether it is removed.
func (h *house) servers() string {
	var l []string
	for _, v := range h.app.Backends() {
		s := v.URI
		if v.Sessions > 0 {
			s += fmt.Sprintf(" has %d", v.Sessions)
		}
		if v.State == balancer.Removed {
			s += " removed"
		}
		l = append(l, s)
	}
	slices.Sort(l) // removed ones come in any order
	return strings.Join(l, ", ")
}

// want waits for the servers to be these.
func (h *house) want(servers string) {
	h.t.Helper()
	end := time.Now().Add(10 * time.Second)
	for h.servers() != servers {
		if time.Now().After(end) {
			h.t.Fatalf("servers: %s\nwant: %s\nnames: %+v\nlog: %v", h.servers(), servers, h.app.names.Stats(), h.log.All())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (h *house) pick() *balancer.Lease {
	h.t.Helper()
	l, why := h.app.bal.Pick(balancer.Request{Cluster: "c", Now: time.Now()})
	if l == nil {
		h.t.Fatal(why)
	}
	return l
}

// says waits for a line of the log with these texts, which comes after what it tells of.
func (h *house) says(message string, texts ...string) {
	h.t.Helper()
	for end := time.Now().Add(10 * time.Second); !slices.ContainsFunc(h.log.All(), func(e logged.LoggedEntry) bool {
		all := fmt.Sprint(e.ContextMap())
		return e.Message == message && !slices.ContainsFunc(texts, func(s string) bool { return !strings.Contains(all, s) })
	}); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			h.t.Fatalf("no %q with %q in the log: %v", message, texts, h.log.All())
		}
	}
}

// TestNameGrowsAndShrinks: servers come and go with DNS, and sessions stay counted where they are.
func TestNameGrowsAndShrinks(t *testing.T) {
	h := newHouse(t, `[{backends: [{uri: "sip:x@asr.test:8060", capacity: 2}]}]`, func(z *dnstest.Zone) {
		z.Set(t, "asr.test. 1 IN A 127.0.0.21")
	})
	h.want("sip:x@127.0.0.21:8060")
	first := []*balancer.Lease{h.pick(), h.pick()}
	if l, _ := h.app.bal.Pick(balancer.Request{Cluster: "c", Now: time.Now()}); l != nil {
		t.Fatal("more sessions than the capacity of one address")
	}
	h.zone.Set(t, "asr.test. 1 IN A 127.0.0.23", "asr.test. 1 IN A 127.0.0.21", "asr.test. 1 IN A 127.0.0.22")
	h.want("sip:x@127.0.0.21:8060 has 2, sip:x@127.0.0.22:8060, sip:x@127.0.0.23:8060")
	h.says("names have other addresses", "sip:asr.test:8060", "appeared:[c sip:x@127.0.0.22:8060 c sip:x@127.0.0.23:8060]", "vanished:[]")
	next := []*balancer.Lease{h.pick(), h.pick(), h.pick()}
	h.want("sip:x@127.0.0.21:8060 has 2, sip:x@127.0.0.22:8060 has 2, sip:x@127.0.0.23:8060 has 1")

	h.zone.Set(t, "asr.test. 1 IN A 127.0.0.22")
	h.want("sip:x@127.0.0.21:8060 has 2 removed, sip:x@127.0.0.22:8060 has 2, sip:x@127.0.0.23:8060 has 1 removed")
	if l, _ := h.app.bal.Pick(balancer.Request{Cluster: "c", Now: time.Now()}); l != nil {
		t.Error("a session for a server that DNS no longer has")
	}
	first[0].Release()
	h.want("sip:x@127.0.0.21:8060 has 1 removed, sip:x@127.0.0.22:8060 has 2, sip:x@127.0.0.23:8060 has 1 removed")
	h.zone.Set(t, "asr.test. 1 IN A 127.0.0.22", "asr.test. 1 IN A 127.0.0.21")
	h.want("sip:x@127.0.0.21:8060 has 1, sip:x@127.0.0.22:8060 has 2, sip:x@127.0.0.23:8060 has 1 removed")

	h.zone.Fail(dns.RcodeServerFailure)
	for h.app.names.Stats()[0].Err == nil {
		time.Sleep(20 * time.Millisecond)
	}
	h.want("sip:x@127.0.0.21:8060 has 1, sip:x@127.0.0.22:8060 has 2, sip:x@127.0.0.23:8060 has 1 removed")
	if s := h.app.Status(); len(s.Names) != 1 || s.Names[0].Addresses != 2 || s.Names[0].Error == "" {
		t.Errorf("status %+v", s.Names)
	}
	for _, l := range append(first, next...) {
		l.Release()
	}
	h.want("sip:x@127.0.0.21:8060, sip:x@127.0.0.22:8060")
}

// TestNameThatCannotBeResolved does not stop a daemon from starting, and its servers appear when it can be.
func TestNameThatCannotBeResolved(t *testing.T) {
	start := time.Now()
	h := newHouse(t, `[{backends: [{uri: "sip:asr.test;transport=tcp"}]}]`, func(z *dnstest.Zone) { z.Silent(true) })
	if d := time.Since(start); d > firstLookup+2*time.Second {
		t.Errorf("the start took %v", d)
	}
	h.want("")
	if ok, why := h.app.Ready(); ok || why != "no cluster can take a session" {
		t.Errorf("ready: %v, %s", ok, why)
	}
	if _, why := h.app.bal.Pick(balancer.Request{Cluster: "c", Now: time.Now()}); why.String() == "" {
		t.Error("no reason")
	}
	h.zone.Set(t, "_sip._tcp.asr.test. 1 IN SRV 1 1 8061 one.test.", "one.test. 1 IN A 127.0.0.21", "_sip._udp.asr.test. 1 IN SRV 1 1 9 one.test.")
	h.zone.Silent(false)
	h.want("sip:127.0.0.21:8061;transport=tcp")
	if ok, why := h.app.Ready(); !ok {
		t.Error(why)
	}
}

// TestReloadNames: names come and go with the configuration; a server keeps its sessions when its address is given by a
// name instead.
func TestReloadNames(t *testing.T) {
	h := newHouse(t, `[{backends: [{uri: "sip:127.0.0.21:8060"}]}]`, func(z *dnstest.Zone) {
		z.Set(t, "asr.test. 300 IN A 127.0.0.21", "asr.test. 300 IN A 127.0.0.22", "tts.test. 300 IN A 127.0.0.22")
	})
	defer h.pick().Release()
	reload := func(groups, servers string) {
		t.Helper()
		h.text.Store(&groups)
		if err := h.app.Reload("test"); err != nil {
			t.Fatal(err)
		}
		if got := h.servers(); got != servers { // at once
			t.Errorf("servers: %s\nwant: %s", got, servers)
		}
	}
	reload(`[{backends: [{uri: "sip:asr.test:8060"}]}]`, "sip:127.0.0.21:8060 has 1, sip:127.0.0.22:8060")
	reload(`[{backends: [{uri: "sip:asr.test:8060"}, {uri: "sip:tts.test:8060"}]}]`, "sip:127.0.0.21:8060 has 1, sip:127.0.0.22:8060")
	h.says("address of a name left out", "127.0.0.22:8060 is in the cluster already, for sip:asr.test:8060")
	reload(`[{backends: [{uri: "sip:tts.test:8060"}]}]`, "sip:127.0.0.21:8060 has 1 removed, sip:127.0.0.22:8060")
	reload(`[{backends: [{uri: "sip:127.0.0.21:8060"}]}]`, "sip:127.0.0.21:8060 has 1")
	if s := h.app.names.Stats(); len(s) != 0 {
		t.Errorf("still looks up %+v", s)
	}
}
