package test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

// hepLine is a packet as Kamailio's decoder sees it.
var hepLine = regexp.MustCompile(`HEP v(\d+) family (\d+) proto (\d+) (\S+) (\S+) at (\d+)\.(\d+) type (\d+) id (\d+) key (\S*) call (\S+) length (\d+) line (.*)`)

// TestHEPKamailio: every message of a call, and every probe, reaches a capture server of another make, which decodes all of it; and
// none does once that is turned off.
func TestHEPKamailio(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.simServer(21, sim.ServerOptions{})
	server := l.uri(21, "tcp")
	log := l.runKamailio("capture.cfg", "-A", "ADDRESS="+l.ip(9), "-A", `DB="text://`+l.dir+`"`)
	yaml := l.head() + "routes: [{name: asr, match: {mrcp: true}, cluster: asr}]\nclusters: [{name: asr, groups: [{idc: a, backends: [{uri: \"" + server + "\"}]}]}]\n"
	began := time.Now()
	d := l.start(yaml + fmt.Sprintf("hep: {server: \"udp://%s:9060\", id: 4711, password: s3cret}\n", l.ip(9)))
	d.await("it is up", 10*time.Second, func() bool { return d.up() == 1 })
	captured := func(call string) (all [][]string) {
		b, _ := os.ReadFile(log)
		for _, m := range hepLine.FindAllStringSubmatch(string(b), -1) {
			if call == "" || m[11] == call {
				all = append(all, m[1:])
			}
		}
		return all
	}
	d.await("probes are captured", 15*time.Second, func() bool { return len(captured("")) > 3 })
	p := l.dial("udp", 5)
	p.establish(rawRequest{callID: "traced@client"}).bye()
	d.await("the call is captured", 10*time.Second, func() bool { return len(captured("traced@client")) >= 11 })

	us, client, asr := l.proxyAddr(), p.conn.LocalAddr().String(), l.ip(21)+":"+regexp.MustCompile(`:(\d+)`).FindStringSubmatch(strings.TrimPrefix(server, "sip:"))[1]
	var got []string
	for _, f := range captured("traced@client") {
		version, family, proto, src, dst, kind, id, key := f[0], f[1], f[2], f[3], f[4], f[7], f[8], f[9]
		if version != "3" || family != "2" || kind != "1" || id != "4711" || key != "s3cret" {
			t.Errorf("version %s, family %s, type %s, id %s, key %s", version, family, kind, id, key)
		}
		sec, _ := strconv.ParseInt(f[5], 10, 64)
		usec, _ := strconv.ParseInt(f[6], 10, 64)
		if at := time.Unix(sec, usec*1000); at.Before(began) || at.After(time.Now()) {
			t.Errorf("at %v", at)
		}
		if n, _ := strconv.Atoi(f[11]); n < 200 {
			t.Errorf("%d bytes of %s", n, f[12])
		}
		hop := "elsewhere"
		switch {
		case src == client && dst == us && proto == "17":
			hop = "client to us"
		case src == us && dst == client && proto == "17":
			hop = "us to client"
		case strings.HasPrefix(src, l.ip(10)+":") && !strings.HasSuffix(src, ":0") && dst == asr && proto == "6":
			hop = "us to server"
		case src == asr && strings.HasPrefix(dst, l.ip(10)+":") && proto == "6":
			hop = "server to us"
		default:
			hop += " " + src + " " + dst + " " + proto
		}
		line, _, _ := strings.Cut(strings.TrimSpace(f[12]), " sip:")
		got = append(got, hop+": "+line)
	}
	want := []string{"client to us: INVITE", "us to server: INVITE", "server to us: SIP/2.0 100 Trying", "server to us: SIP/2.0 200 OK", "us to client: SIP/2.0 200 OK", "client to us: ACK", "us to server: ACK",
		"client to us: BYE", "us to server: BYE", "server to us: SIP/2.0 200 OK", "us to client: SIP/2.0 200 OK"}
	if !slices.Equal(got, want) {
		t.Errorf("captured\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if m := d.metrics(); m["mrcproxy_hep_sent_total"] < 14 || m["mrcproxy_hep_dropped_total"] != 0 || m["mrcproxy_hep_errors_total"] != 0 {
		t.Errorf("sent %v, dropped %v, errors %v", m["mrcproxy_hep_sent_total"], m["mrcproxy_hep_dropped_total"], m["mrcproxy_hep_errors_total"])
	}

	d.write(yaml)
	if code, text := d.post("/-/reload"); code != 200 {
		t.Fatal(text)
	}
	p.establish(rawRequest{callID: "not-traced@client"}).bye()
	if before := d.metrics()["mrcproxy_hep_sent_total"]; len(captured("not-traced@client")) > 0 || before != d.metrics()["mrcproxy_hep_sent_total"] {
		t.Error("captured after it was turned off")
	}
}
