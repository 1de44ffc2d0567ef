package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// builtin writes SIPp's own scenario of that name to a file, with texts replaced, each of which must be there.
func (l *lab) builtin(name string, replace ...string) string {
	l.t.Helper()
	xml, err := exec.Command("sipp", "-sd", name).Output() // its exit status is not 0 either way
	if len(xml) == 0 {
		l.t.Fatalf("sipp -sd %s: %v (`make deps` installs SIPp, Debian package sip-tester)", name, err)
	}
	text := string(xml[strings.IndexByte(string(xml), '<'):])
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(text, replace[i]) {
			l.t.Fatalf("SIPp's %s has no %q:\n%s", name, replace[i], text)
		}
		text = strings.ReplaceAll(text, replace[i], replace[i+1])
	}
	file := filepath.Join(l.dir, name+".xml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return file
}

// sippAgents are SIPp's built-in uas and uac with the one thing that they lack for any proxy that stays in the path: as they
// are, uas returns no Record-Route and uac sends no Route (RFC 3261 12.1.1, 12.2.1.1). The comment in uac tells of rrs.
func (l *lab) sippAgents() (uac, uas string) {
	uas = l.builtin("uas", "[last_Via:]\n", "[last_Via:]\n      [last_Record-Route:]\n")
	uac = l.builtin("uac", `<recv response="200" rtd="true">`, `<recv response="200" rtd="true" rrs="true">`,
		"ACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0\n", "ACK [next_url] SIP/2.0\n      [routes]\n",
		"BYE sip:[service]@[remote_ip]:[remote_port] SIP/2.0\n", "BYE [next_url] SIP/2.0\n      [routes]\n")
	return uac, uas
}

// TestSIPpBuiltIn: ordinary calls between SIPp's own user agents, with a ringing, by UDP and TCP and from one to the other.
func TestSIPpBuiltIn(t *testing.T) {
	const calls = 500
	l := newLab(t)
	uac, uas := l.sippAgents()
	servers := []*sippServer{l.sippServer(21, "udp", uas, "-aa"), l.sippServer(22, "tcp", uas, "-aa")} // -aa: they answer OPTIONS
	d := l.start(patient(l.head() + `
routes: [{name: tcp, match: {user: "=tcp"}, cluster: tcp}]
otherwise: {cluster: udp}
clusters:
  - {name: udp, groups: [{backends: [{uri: "` + l.uri(21, "udp") + `"}]}]}
  - {name: tcp, groups: [{backends: [{uri: "` + l.uri(22, "tcp") + `"}]}]}
`))
	d.await("the servers are up", 10*time.Second, func() bool { return d.up() == 2 })
	ways := []struct{ client, server string }{{"udp", "udp"}, {"tcp", "tcp"}, {"tcp", "udp"}, {"udp", "tcp"}}
	for _, way := range ways {
		f := l.sippClient(clientRun{network: way.client, rate: 250, calls: calls, scenario: uac, hold: 100 * time.Millisecond, extra: []string{"-s", way.server}})
		if f.int("SuccessfulCall(C)") != calls || f.int("FailedCall(C)") != 0 {
			t.Errorf("%s to %s: %s of %d calls succeeded, %s failed", way.client, way.server, f["SuccessfulCall(C)"], calls, f["FailedCall(C)"])
		}
	}
	d.await("the sessions' lines are in the log", 10*time.Second, func() bool { return d.lines(`"ended_by":"bye_client"`) == len(ways)*calls })
	// uas keeps a call for 4 s, lest the answer to its BYE is lost.
	for i, s := range servers {
		await(t, "the server has ended all calls", 10*time.Second, func() bool { return readFigures(t, s.stat).int("SuccessfulCall(C)") >= 2*calls })
		if f := readFigures(t, s.stat); f.int("FailedCall(C)") != 0 || sum(d.metrics(), "mrcproxy_invites_total", l.ip(21+i), `code="200"`) != 2*calls {
			t.Errorf("server %d: %s calls failed", i, f["FailedCall(C)"])
		}
	}
	d.undisturbed()
}
