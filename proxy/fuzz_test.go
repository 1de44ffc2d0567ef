package proxy

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mrcproxy/proxy/transport"
)

// FuzzReceive hands the engine what came in, three messages in a row with the clock moved on behind each: no bytes may
// make it panic. In the input PLACE-BRANCH stands for the branch of the last message sent, and PLACE-ROUTE for its
// Record-Route, so that responses and requests in a dialog are met as well.
func FuzzReceive(f *testing.F) {
	all := captures(f)
	invite := all["fs-recog-udp-01-INVITE"]
	ok := bytes.Replace(all["fs-recog-udp-03-200-INVITE"], []byte("Via:"),
		[]byte("Via: SIP/2.0/UDP 127.0.0.110:5060;branch=PLACE-BRANCH\r\nRecord-Route: PLACE-ROUTE\r\nVia:"), 1)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		b := all[name]
		f.Add(b, b, b, uint16(600))
		f.Add(invite, ok, bytes.Replace(b, []byte("\r\n"), []byte("\r\nRoute: PLACE-ROUTE\r\n"), 1), uint16(2000))
		f.Add(invite, bytes.Replace(b, []byte("\r\n"), []byte("\r\nVia: SIP/2.0/UDP 127.0.0.110:5060;branch=PLACE-BRANCH\r\n"), 1), ok, uint16(600))
	}
	l := newLab(f, setup{servers: []string{"sip:" + serverA, "sip:" + serverB + ";transport=tcp"}})
	pass := func(d time.Duration) {
		l.p.base = l.p.base.Add(-d)
		l.p.txs.Tick(l.p.now(), l.p.fire)
	}
	f.Fuzz(func(t *testing.T, a, b, c []byte, wait uint16) {
		l.net.sent = nil
		for i, m := range [][]byte{a, b, c} {
			p := l.udp([]string{freeswitch, serverA, freeswitch}[i])
			l.p.Receive(l.placed(m), p.flow())
			pass(time.Duration(wait) * time.Millisecond)
		}
		for _, s := range l.net.sent {
			l.p.Unreachable(s.raw, s.to, errFlow)
			if s.flow.Proto == transport.TCP {
				l.p.Closed(1, s.to, errors.New("reset"))
			}
		}
		for range 4 { // one after the other: deadline, an abandoned branch's end, its BYE's
			pass(40 * time.Second)
		}
		if n := l.p.Transactions(); n != 0 {
			t.Errorf("%d transactions are left", n)
		}
		if n := l.leases() - l.table.Len(); n != 0 {
			t.Errorf("%d leases are left", n)
		}
		if n := l.obs.dropped[DropPanic]; n != 0 {
			t.Errorf("%d panics", n)
		}
		clear(l.obs.dropped)
		l.obs.invites, l.obs.failedOver, l.obs.late, l.obs.unroutable, l.bal.reports = nil, nil, nil, nil, nil
	})
}

// captures are the messages of testdata by name.
func captures(f *testing.F) map[string][]byte {
	f.Helper()
	files, err := filepath.Glob("testdata/*.sip")
	if err != nil || len(files) == 0 {
		f.Fatal("no captures", err)
	}
	all := map[string][]byte{}
	for _, name := range files {
		if all[strings.TrimSuffix(filepath.Base(name), ".sip")], err = os.ReadFile(name); err != nil {
			f.Fatal(err)
		}
	}
	return all
}

// placed fills in what only the proxy knows.
func (l *lab) placed(m []byte) []byte {
	var last []byte
	for i := len(l.net.sent) - 1; i >= 0 && last == nil; i-- {
		if s := l.net.sent[i].raw; bytes.Contains(s, []byte("Record-Route: ")) {
			last = s
		}
	}
	between := func(from string, stop byte) []byte {
		_, rest, ok := bytes.Cut(last, []byte(from))
		if !ok {
			return []byte("none")
		}
		return rest[:max(0, bytes.IndexByte(rest, stop))]
	}
	m = bytes.ReplaceAll(m, []byte("PLACE-BRANCH"), between("branch=", '\r'))
	return bytes.ReplaceAll(m, []byte("PLACE-ROUTE"), between("Record-Route: ", '\r'))
}
