package main

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mrcproxy/config"
)

// TestDemoConfig keeps demo.yaml a configuration of its own, with what the demo replaces.
func TestDemoConfig(t *testing.T) {
	c, err := config.Parse("demo.yaml", []byte(demoConfig))
	if err != nil {
		t.Fatal(err)
	}
	ports := map[uint16]bool{}
	for _, l := range c.Listen {
		ports[l.Addr.Port()] = true
	}
	_, admin, _ := net.SplitHostPort(c.Admin.Listen)
	n, _ := strconv.Atoi(admin)
	ports[uint16(n)] = true
	for _, cl := range c.Clusters {
		if resources[cl.Name] == "" || userAgents[cl.Name] == "" {
			t.Errorf("no client for cluster %s", cl.Name)
		}
		for _, g := range cl.Groups {
			for _, b := range g.Backends {
				ports[b.Addr.Port()] = true
			}
		}
	}
	for p := range uint16(demoPorts) {
		if !ports[demoBase+p] {
			t.Errorf("port %d is not used", demoBase+p)
		}
	}
	if len(ports) != demoPorts {
		t.Errorf("ports %v", ports)
	}
	if c.DataDir != demoDataDir || strings.Count(demoConfig, demoCapacity) != demoPorts-2 {
		t.Error("data_dir or the capacities are not what the demo replaces")
	}
}

func TestOutages(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	s := server{outages: []outage{{from: at(10), to: at(20), how: killed}, {from: at(30), how: silent}}}
	for _, c := range []struct {
		from, to int
		want     bool
	}{{0, 9, false}, {0, 11, true}, {12, 13, true}, {19, 25, true}, {21, 29, false}, {0, 29, true}, {31, 40, true}} {
		if got := s.failedWithin(at(c.from), at(c.to)); got != c.want {
			t.Errorf("%d to %d: %v", c.from, c.to, got)
		}
	}
	if s.state() != silent || s.failures() != 2 {
		t.Errorf("%q, %d", s.state(), s.failures())
	}
}

// TestSteps: killed and silent take turns, clusters too, and each third time nothing of a cluster is left in the proxy's
// data centre; servers of the other one stay.
func TestSteps(t *testing.T) {
	h := &house{idc: "a", servers: []*server{{cluster: "x", idc: "a", uri: "x1"}, {cluster: "x", idc: "a", uri: "x2"}, {cluster: "x", idc: "b", uri: "x3"},
		{cluster: "y", idc: "a", uri: "y1"}, {cluster: "y", idc: "b", uri: "y2"}, {cluster: "y", idc: "a", uri: "y3"}}}
	var got []string
	for n := range 7 {
		st := h.step(n)
		var uris []string
		for _, s := range st.servers {
			uris = append(uris, s.uri)
		}
		got = append(got, st.how+" "+strings.Join(uris, "+"))
	}
	want := []string{"killed x1", "silent y1", "killed x1+x2", "silent y3", "killed x2", "silent y1+y3", "killed x1"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if st := (&house{idc: "c", servers: h.servers}).step(0); len(st.servers) != 0 {
		t.Errorf("broken elsewhere: %+v", st)
	}
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		start := time.Now()
		if !wait(ctx, time.NewTimer(time.Hour)) || time.Since(start) != time.Hour {
			t.Error("did not wait")
		}
		cancel(errors.New("over"))
		if wait(ctx, time.NewTimer(time.Hour)) || time.Since(start) != time.Hour {
			t.Error("waited on")
		}
	})
}
