package test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

// record is a line of the log.
type record struct {
	Level    string
	Time     time.Time
	Msg      string
	CallID   string `json:"call_id"`
	Route    string
	Cluster  string
	Backend  string
	Code     int
	Why      string
	SetupMS  *float64 `json:"setup_ms"`
	TookMS   *int64   `json:"duration_ms"`
	EndedBy  string   `json:"ended_by"`
	Attempts []struct {
		Backend, Outcome string
		MS               int64
	}
}

// sessions are the log's lines on sessions, by Call-ID; every line has to be JSON.
func (d *daemon) sessions() map[string]record {
	t := d.lab.t
	t.Helper()
	m := map[string]record{}
	for line := range strings.Lines(string(d.logText())) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("a line is not JSON: %v\n%s", err, line)
		}
		if r.Level == "" || r.Time.IsZero() || r.Msg == "" {
			t.Errorf("a line lacks level, time or msg: %s", line)
		}
		if r.Msg != "session" {
			continue
		}
		if _, twice := m[r.CallID]; twice {
			t.Errorf("a second line for session %q", r.CallID)
		}
		m[r.CallID] = r
	}
	return m
}

// TestSessionLog: each session leaves one line, at its end, which tells where it went and why, whatever its Call-ID is.
func TestSessionLog(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	busy, good := l.simServer(21, sim.ServerOptions{}), l.simServer(22, sim.ServerOptions{})
	busy.SetFault(sim.Refuse(486, 0))
	first, second := "sip:"+l.ip(21)+":8060", "sip:"+l.ip(22)+":8060;transport=tcp"
	d := l.start(l.head() + `
health: {hold_for: 0s}
routes:
  - {name: tts, match: {resource: speechsynth}, cluster: second}
  - {name: asr, match: {mrcp: true}, cluster: first}
clusters:
  - {name: first, fallback: [second], groups: [{backends: [{uri: "` + first + `"}]}]}
  - {name: second, groups: [{backends: [{uri: "` + second + `", capacity: 2}]}]}
`)
	d.await("all are up", 10*time.Second, func() bool { return d.up() == 2 })
	p := l.dial("udp", 5)
	odd := "a\"b\\c{}<\u00e9>" // no Call-ID, but a line all the same
	moved, straight := p.establish(rawRequest{callID: odd}), p.establish(rawRequest{body: offer("speechsynth")})
	full := rawRequest{callID: "nobody-took-it"}
	if a := p.ask(full); a.code != 486 { // the best that a server said
		t.Errorf("want 486, got\n%s", a.head)
	}
	d.await("the refused one is in the log", 10*time.Second, func() bool { return d.lines(`"msg":"session"`) == 1 })
	start := time.Now()
	moved.bye()
	good.HangUp(1)
	// It asks the client by a BYE of its own.
	p.answerBye()
	held := time.Since(start)
	d.await("all sessions are in the log", 10*time.Second, func() bool { return d.lines(`"msg":"session"`) == 3 })

	got := d.sessions()
	check := func(callID, route, cluster, backend, endedBy string, code int, attempts ...string) {
		t.Helper()
		r, ok := got[callID]
		var went []string
		for _, a := range r.Attempts {
			went = append(went, a.Backend+" "+a.Outcome)
			if a.MS < 0 || a.MS > 4000 {
				t.Errorf("%s: an attempt took %d ms", callID, a.MS)
			}
		}
		if !ok || r.Route != route || r.Cluster != cluster || r.Backend != backend || r.EndedBy != endedBy || r.Code != code || strings.Join(went, ",") != strings.Join(attempts, ",") {
			t.Errorf("%q: %+v", callID, r)
		}
		if r.SetupMS == nil || *r.SetupMS <= 0 || *r.SetupMS > 4000 {
			t.Errorf("%q: setup_ms is %v", callID, r.SetupMS)
		}
		if code == 200 && (r.TookMS == nil || float64(*r.TookMS)+1 < *r.SetupMS || *r.TookMS > held.Milliseconds()+10000) {
			t.Errorf("%q: duration_ms is %v", callID, r.TookMS)
		}
	}
	check(odd, "asr", "second", second, "bye_client", 200, first+" 486", second+" 200")
	check(straight.callID, "tts", "second", second, "bye_server", 200, second+" 200")
	check(full.callID, "asr", "first", first, "", 486, first+" 486")
}

// answerBye answers the BYE that comes next with 200.
func (p *rawPeer) answerBye() {
	p.t.Helper()
	for {
		a, ok := p.read(5 * time.Second)
		if !ok {
			p.t.Fatal("no BYE came")
		}
		if !strings.HasPrefix(a.head, "BYE ") {
			continue
		}
		var b strings.Builder
		b.WriteString("SIP/2.0 200 OK\r\n")
		for _, name := range []string{"Via", "From", "To", "Call-ID", "CSeq"} {
			for _, v := range a.values(name) {
				b.WriteString(name + ": " + v + "\r\n")
			}
		}
		p.send(b.String() + "Content-Length: 0\r\n\r\n")
		return
	}
}
