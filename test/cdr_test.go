package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mrcproxy/internal/cdr"
	"mrcproxy/internal/sim"
)

// records are the call records in all files whose names begin with the path, by Call-ID. Each line must be whole, and no call
// may have two.
func (l *lab) records(path string) map[string]cdr.Record {
	l.t.Helper()
	files, err := filepath.Glob(path + "*")
	if err != nil {
		l.t.Fatal(err)
	}
	all := map[string]cdr.Record{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			l.t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var r cdr.Record
			dec := json.NewDecoder(strings.NewReader(line))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&r); err != nil || !strings.HasSuffix(line, "\n") {
				l.t.Fatalf("%s: %v: %q", file, err, line)
			}
			if _, twice := all[r.CallID]; twice {
				l.t.Errorf("two records of %s", r.CallID)
			}
			all[r.CallID] = r
		}
	}
	return all
}

// TestCallRecords: each call leaves one record, with what is known of it, be it a session, one that outlived a restart of the
// proxy, an INVITE that no server took or one that no route matched.
func TestCallRecords(t *testing.T) {
	l := newLab(t)
	busy, good := l.simServer(21, sim.ServerOptions{}), l.simServer(22, sim.ServerOptions{})
	busy.SetFault(sim.Refuse(486, 0))
	first, second := l.uri(21, "udp"), l.uri(22, "tcp")
	file := filepath.Join(l.dir, "cdr.json")
	d := l.start(l.head() + "cdr: {file: " + file + `, headers: [X-CID, User-Agent]}
health: {hold_for: 0s}
routes: [{name: asr, match: {mrcp: true}, cluster: first}]
otherwise: {reject: 404}
clusters:
  - {name: first, fallback: [second], groups: [{idc: a, backends: [{uri: "` + first + `"}]}]}
  - {name: second, groups: [{idc: b, backends: [{uri: "` + second + `", capacity: 3}]}]}
`)
	d.await("all are up", 10*time.Second, func() bool { return d.up() == 2 })
	p := l.dial("udp", 5)
	began := time.Now()
	moved := p.establish(rawRequest{lines: "X-CID: \"7\" ä\r\n"})
	other := p.establish(rawRequest{body: offer("speechsynth")})
	last := p.establish(rawRequest{lines: "X-CID: outlives\r\n"})
	full := rawRequest{callID: "nobody-took-it", lines: "X-CID: full\r\n"}
	if a := p.ask(full); a.code != 486 {
		t.Fatal(a.head)
	}
	if a := p.ask(rawRequest{callID: "no-route", body: "v=0\r\n"}); a.code != 404 {
		t.Fatal(a.head)
	}
	moved.bye()
	good.HangUp(1)
	p.answerBye()
	d.await("four have ended", 10*time.Second, func() bool { return len(l.records(file)) == 4 })
	d.kill(syscall.SIGTERM)
	got := l.records(file)
	if len(got) != 4 {
		t.Fatalf("a stop ends no session, but there are %d records", len(got))
	}
	d.run()
	for _, s := range []*dialog{other, last} { // one of them the server has ended
		if _, over := got[s.callID]; !over {
			s.bye()
		}
	}
	d.await("five have ended", 10*time.Second, func() bool { return len(l.records(file)) == 5 })
	got = l.records(file)

	check := func(callID string, want cdr.Record) {
		t.Helper()
		r := got[callID]
		for _, a := range r.Attempts {
			if a.MS < 0 || a.MS > 4000 || a.Outcome != fmt.Sprint(a.Code) {
				t.Errorf("%s: attempt %+v", callID, a)
			}
		}
		var went []string
		for _, a := range r.Attempts {
			went = append(went, fmt.Sprintf("%s %s %d", a.Backend, a.IDC, a.Code))
		}
		if r.Start.Before(began.Add(-time.Second)) || r.End.Before(r.Start) || r.Client != p.addr() || r.SetupMS < 0 || r.Learned {
			t.Errorf("%s: %+v", callID, r)
		}
		if r.Code == 200 && (r.Answer.Before(r.Start) || r.End.Before(r.Answer) || r.DurationMS > time.Since(began).Milliseconds()) || r.Code != 200 && !r.Answer.IsZero() {
			t.Errorf("%s: answered at %v of %v to %v, %d ms", callID, r.Answer, r.Start, r.End, r.DurationMS)
		}
		if r.Code == 200 && (len(r.Channels) != 1 || !strings.HasSuffix(r.Channels[0], "@"+r.Resource) || len(r.Channels[0]) <= len("@"+r.Resource)) {
			t.Errorf("%s: channels %q", callID, r.Channels)
		}
		have := fmt.Sprintf("%s %s %s %s %s %q %s %d %s %s %q", r.Route, r.Wanted, r.Cluster, r.IDC, r.Backend, went, r.Resource, r.Code, r.EndedBy, r.Reason, r.Headers)
		wanted := []string{}
		for _, a := range want.Attempts {
			wanted = append(wanted, fmt.Sprintf("%s %s %d", a.Backend, a.IDC, a.Code))
		}
		if need := fmt.Sprintf("%s %s %s %s %s %q %s %d %s %s %q", want.Route, want.Wanted, want.Cluster, want.IDC, want.Backend, wanted, want.Resource, want.Code, want.EndedBy, want.Reason, want.Headers); have != need {
			t.Errorf("%s:\n%s, want\n%s", callID, have, need)
		}
	}
	const agent = "ASR_MRCP_CLIENT_FS_BAIDU"
	both := []cdr.Attempt{{Backend: first, IDC: "a", Code: 486}, {Backend: second, IDC: "b", Code: 200}}
	session := cdr.Record{Route: "asr", Wanted: "first", Cluster: "second", IDC: "b", Backend: second, Attempts: both, Resource: "speechrecog", Code: 200, EndedBy: cdr.ByClient, Reason: "bye_client"}
	with := func(r cdr.Record, headers map[string]string) cdr.Record {
		r.Headers = headers
		return r
	}
	ended := func(d *dialog, r cdr.Record) cdr.Record { // whichever of them the server has ended
		if got[d.callID].EndedBy == cdr.ByServer {
			r.EndedBy, r.Reason = cdr.ByServer, "bye_server"
		}
		return r
	}
	check(moved.callID, with(session, map[string]string{"X-CID": `"7" ä`, "User-Agent": agent}))
	synth := with(session, map[string]string{"User-Agent": agent})
	synth.Resource = "speechsynth"
	check(other.callID, ended(other, synth))
	check(last.callID, ended(last, with(session, map[string]string{"X-CID": "outlives", "User-Agent": agent})))
	byServer := 0
	for _, r := range got {
		if r.Reason == "bye_server" {
			byServer++
		}
	}
	if byServer != 1 {
		t.Errorf("%d were ended by the server", byServer)
	}
	check("nobody-took-it", cdr.Record{Route: "asr", Wanted: "first", Cluster: "first", IDC: "a", Backend: first, Attempts: both[:1], Resource: "speechrecog", Code: 486,
		EndedBy: cdr.ByServer, Reason: "refused", Headers: map[string]string{"X-CID": "full", "User-Agent": agent}})
	check("no-route", cdr.Record{Code: 404, EndedBy: cdr.ByProxy, Reason: "no route matches", Headers: map[string]string{"User-Agent": agent}})
}

// TestCallRecordsRotate: no record of a load is lost, doubled or torn while the file is renamed again and again, by reloads, by
// signals, and while one process hands over to the next and both write.
func TestCallRecordsRotate(t *testing.T) {
	l := newLab(t)
	l.simServer(21, sim.ServerOptions{})
	file := filepath.Join(l.dir, "cdr.json")
	d := l.start(patient(l.cluster(l.group("a", l.uri(21, "udp")))) + "cdr: {file: " + file + "}\n")
	d.await("the server is up", 5*time.Second, func() bool { return d.up() == 1 })
	g := l.load(l.simClient(sim.ClientOptions{}), 100, 100*time.Millisecond)
	var old []*process
	for n := range 12 {
		g.runFor(30*(n+1), 60*time.Second)
		if n == 6 {
			old = append(old, d.upgrade())
		}
		if err := os.Rename(file, fmt.Sprint(file, ".", n)); err != nil {
			t.Fatal(err)
		}
		sig := []syscall.Signal{syscall.SIGUSR1, syscall.SIGHUP}[n%2]
		for _, p := range append(old, d.process) {
			_ = p.cmd.Process.Signal(sig)
		}
		d.await("there is a new file", 10*time.Second, func() bool {
			_, err := os.Stat(file)
			return err == nil
		})
	}
	all := g.end()
	mustSucceed(t, all)
	mustEnd(t, old)
	d.kill(syscall.SIGTERM)
	got := l.records(file)
	for _, o := range all {
		if r := got[o.CallID]; r.Code != 200 || r.Reason != "bye_client" {
			t.Errorf("%s: %+v", o.CallID, r)
		}
	}
	if len(got) != len(all) {
		t.Errorf("%d records of %d calls", len(got), len(all))
	}
	t.Logf("%d records in 13 files", len(got))
}
