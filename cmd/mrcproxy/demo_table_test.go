package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func samplePicture() *picture {
	return &picture{
		at: 12345 * time.Millisecond, counts: counts{started: 247, active: 35, ok: 211, failed: 1}, failovers: 7,
		rows: []row{
			{cluster: "asr", idc: "sh-a", uri: "sip:127.0.0.1:40001", state: "up", sessions: 1, capacity: 20, picked: 60},
			{cluster: "asr", idc: "sh-a", uri: "sip:127.0.0.1:40002;transport=tcp", state: "down", capacity: 20, picked: 58, failedOver: 6, fault: killed},
			{cluster: "asr", idc: "sh-b", uri: "sip:127.0.0.1:40003", state: "up", sessions: 20, capacity: 20, picked: 1234},
			{cluster: "tts", idc: "sh-a", uri: "sip:127.0.0.1:40004", state: "unknown", sessions: 7, capacity: -1, picked: 7, failedOver: 1, fault: silent},
			{cluster: "tts", idc: "sh-b", uri: "sip:127.0.0.1:40005;transport=tcp", state: "draining"},
		},
		events: []event{{2 * time.Second, "asr sh-a 127.0.0.1:40002/tcp is killed"},
			{2612 * time.Millisecond, "proxy: asr sh-a 127.0.0.1:40002/tcp is down (ejected: 3 calls in a row failed: connection)"},
			{12 * time.Second, "tts sh-a 127.0.0.1:40004/udp is silent"}},
	}
}

func TestTable(t *testing.T) {
	p := samplePicture()
	golden(t, "demo_table.golden", strings.Join(p.lines(palette{}, 0, 0), "\n")+"\n")
	narrow := p.lines(palette{}, 80, 10)
	golden(t, "demo_table_narrow.golden", strings.Join(narrow, "\n")+"\n")
	for _, l := range narrow[:9] {
		if len(l) > 80 {
			t.Errorf("%d columns: %s", len(l), l)
		}
	}
	golden(t, "demo_table_colour.golden", strings.Join(p.lines(palette{on: true}, 100, 0), "\n")+"\n")
	for height := 1; height < 14; height++ {
		if n := len(p.lines(palette{}, 80, height)); n > height {
			t.Errorf("%d lines on a screen of %d", n, height)
		}
	}
}

// TestDrawInPlace: a picture is drawn over the last one, also when it has fewer lines.
func TestDrawInPlace(t *testing.T) {
	var b bytes.Buffer
	c := &console{live: true, w: &b, size: func() (int, int) { return 80, 24 }}
	p := samplePicture()
	c.open()
	c.draw(p)
	first := b.String()
	if !strings.HasPrefix(first, hideCursor+noWrap+"\r"+clearLine+"  12.3s") || !strings.HasSuffix(first, "silent\n"+clearBelow+wrap) || strings.Count(first, "\n") != 12 {
		t.Errorf("%q", first)
	}
	b.Reset()
	p.events = nil
	c.draw(p)
	if second := b.String(); !strings.HasPrefix(second, noWrap+"\x1b[12A\r") || strings.Count(second, "\n") != 9 {
		t.Errorf("%q", second)
	}
	b.Reset()
	c.draw(p)
	c.close()
	if third := b.String(); !strings.HasPrefix(third, noWrap+"\x1b[9A\r") || !strings.HasSuffix(third, showCursor) {
		t.Errorf("%q", third)
	}
}

func TestJudge(t *testing.T) {
	ok := sim.Result{Code: 200, ByeCode: 200}
	with := func(change func(*sim.Result)) sim.Result {
		r := ok
		change(&r)
		return r
	}
	const failed, lost = "failed", "lost"
	for _, c := range []struct {
		name             string
		r                sim.Result
		alone, withOuted string // outcome when its server ran all the time, and when not
	}{
		{"orderly", ok, "", ""},
		{"refused", sim.Result{Code: 480}, failed, failed},
		{"no answer", sim.Result{Err: sim.ErrNoAnswer}, failed, failed},
		{"late 200", with(func(r *sim.Result) { r.Setup = 6 * time.Second }), failed, failed},
		{"BYE 481", with(func(r *sim.Result) { r.ByeCode = 481 }), failed, lost},
		{"BYE 408", with(func(r *sim.Result) { r.ByeCode = 408 }), failed, failed},
		{"BYE unanswered", with(func(r *sim.Result) { r.ByeCode, r.Err = 0, sim.ErrNoAnswer }), failed, failed},
		{"BYE 481 late", with(func(r *sim.Result) { r.ByeCode, r.ByeTook = 481, 4*time.Second }), failed, failed},
		{"BYE 200 late", with(func(r *sim.Result) { r.ByeTook = 4 * time.Second }), failed, failed},
		{"server's BYE", with(func(r *sim.Result) { r.ByeCode, r.ServerBye = 0, true }), failed, lost},
		{"foreign route", with(func(r *sim.Result) { r.ByeCode, r.Err = 0, sim.ErrRouteTransport }), failed, failed},
	} {
		for i, want := range []string{c.alone, c.withOuted} {
			v := judge(&c.r, i == 1)
			got := map[bool]string{false: failed, true: ""}[v.why == ""]
			if v.lost {
				got += lost
			}
			if got != want {
				t.Errorf("%s, server out %v: %q (%s), want %q", c.name, i == 1, got, v.why, want)
			}
		}
	}
}

func TestSetupOf(t *testing.T) {
	var all []time.Duration
	for i := range 200 {
		all = append(all, time.Duration(200-i)*time.Millisecond)
	}
	if got := setupOf(all); got != (setup{P50: 100, P99: 198, Max: 200}) {
		t.Errorf("%+v", got)
	}
	if got := setupOf(all[:1]); got != (setup{P50: 200, P99: 200, Max: 200}) {
		t.Errorf("%+v", got)
	}
	if got := setupOf(nil); got != (setup{}) {
		t.Errorf("%+v", got)
	}
}
