package test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// farm is a cluster as TestReload changes it: the hosts that it has, with their keys.
type farm map[int]string

func (l *lab) farm(f farm) string {
	var hosts []int
	for h := range f {
		hosts = append(hosts, h)
	}
	slices.Sort(hosts)
	s := l.head() + "failover: {t1: 500ms, first_response_timeout: 2s, answer_timeout: 2s}\nsessions: {bye_timeout: 8s}\nhealth: {interval: 500ms}\notherwise: {cluster: asr}\n" +
		"clusters:\n  - name: asr\n    policy: weighted\n    slow_start: {window: 0s}\n    groups:\n      - backends:\n"
	for _, h := range hosts {
		s += fmt.Sprintf("          - {uri: \"sip:%s:8060\"%s}\n", l.ip(h), f[h])
	}
	return s
}

// link lays the file out as a Kubernetes ConfigMap: a link to ..data/NAME, where ..data is a link to a folder, which
// a change replaces by another in one step.
func (d *daemon) link(version, yaml string) {
	t, dir := d.lab.t, filepath.Dir(d.file)
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	folder := "..v" + version
	before, _ := os.Readlink(filepath.Join(dir, "..data"))
	must(os.Mkdir(filepath.Join(dir, folder), 0o700))
	must(os.WriteFile(filepath.Join(dir, folder, filepath.Base(d.file)), []byte(yaml), 0o600))
	must(os.Symlink(folder, filepath.Join(dir, "..data_tmp")))
	must(os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	if _, err := os.Lstat(d.file); err != nil {
		must(os.Symlink("..data/"+filepath.Base(d.file), d.file))
	}
	if before != "" {
		must(os.RemoveAll(filepath.Join(dir, before)))
	}
}

// replace puts a new file in the place of the old one, as most editors do.
func (d *daemon) replace(yaml string) {
	d.lab.t.Helper()
	tmp := d.file + "~"
	if err := os.WriteFile(tmp, []byte(yaml), 0o600); err != nil {
		d.lab.t.Fatal(err)
	}
	if err := os.Rename(tmp, d.file); err != nil {
		d.lab.t.Fatal(err)
	}
}

// TestReload changes the configuration of a daemon under load in every way there is. No session is lost in any of it.
func TestReload(t *testing.T) {
	const calls = 1500
	l := newLab(t)
	servers := l.sippServers(3, "udp")
	name := func(host int) string { return "sip:" + l.ip(host) + ":8060" }
	d := l.prepare()
	d.link("1", l.farm(farm{21: ", capacity: 500", 22: ", capacity: 500"}))
	d.run()
	d.await("both are up", 5*time.Second, func() bool { return d.up() == 2 })
	end := l.startClient(clientRun{network: "udp", rate: 100, calls: calls, hold: time.Second})
	d.await("sessions are held", 5*time.Second, func() bool { return sum(d.metrics(), "mrcproxy_sessions") > 50 })

	// A ConfigMap with a third server.
	d.link("2", l.farm(farm{21: ", capacity: 500", 22: ", capacity: 500", 23: ", capacity: 500"}))
	d.reloaded("file", "clusters[asr].backends: added "+name(23))
	d.evenly(l.farmShares(21, 1, 22, 1, 23, 1))

	// The file is replaced: the first server gets three times as much, and other limits hold.
	d.replace(l.farm(farm{21: ", capacity: 400, weight: 3", 22: ", capacity: 500", 23: ""}))
	d.reloaded("file", "clusters[asr].backends["+name(21)+"].weight: 1 -> 3")
	d.reloaded("file", "clusters[asr].backends["+name(21)+"].capacity: 500 -> 400")
	d.reloaded("file", "clusters[asr].backends["+name(23)+"].capacity: 500 -> ")
	d.evenly(l.farmShares(21, 3, 22, 1, 23, 1))
	if c := l.each(d.metrics(), 3, "mrcproxy_backend_capacity"); !slices.Equal(c, []int{400, 500, 0}) {
		t.Errorf("capacities %v", c)
	}

	// The file is written in place, without the second server, whose sessions go on.
	d.write(l.farm(farm{21: ", capacity: 400, weight: 3", 23: ""}))
	d.reloaded("file", "clusters[asr].backends: removed "+name(22))
	if held := l.each(d.metrics(), 3, "mrcproxy_backend_sessions"); held[1] == 0 {
		t.Errorf("the removed server had no session at once: %v", held)
	}
	d.evenly(l.farmShares(21, 3, 23, 1))
	d.await("the removed server's sessions end", 3*time.Second, func() bool { return l.each(d.metrics(), 3, "mrcproxy_backend_sessions")[1] == 0 })

	// It comes back with SIGHUP, and the weights are taken away by HTTP.
	d.write(l.farm(farm{21: ", capacity: 400, weight: 3", 22: "", 23: ""}))
	_ = d.cmd.Process.Signal(syscall.SIGHUP)
	d.reloaded("SIGHUP", "")
	d.await("the server is back", 3*time.Second, func() bool { return d.up() == 3 })
	d.write(l.farm(farm{21: ", capacity: 400", 22: "", 23: ""}))
	if code, text := d.post("/-/reload"); code != 200 || text != "reloaded\n" {
		t.Errorf("reload answered %d %s", code, text)
	}
	d.evenly(l.farmShares(21, 1, 22, 1, 23, 1))
	d.refusesBroken(l)
	if sum(d.metrics(), "mrcproxy_sessions") == 0 {
		t.Error("the load was over before the last change")
	}

	d.served(end(), calls)
	var invites []int
	await(t, "SIPp has written its counters", 4*time.Second, func() bool {
		invites = counters(servers, 1)
		return total(invites) == calls && total(counters(servers, 3)) == calls
	})
	if byes, acks := counters(servers, 3), counters(servers, 4); !slices.Equal(byes, invites) || !slices.Equal(acks, invites) {
		t.Errorf("servers saw %v INVITEs, %v BYEs, %v ACKs in time", invites, byes, acks)
	}
	m := d.metrics()
	if sum(m, "mrcproxy_sessions_ended_total", `reason="bye_client"`) != calls || sum(m, "mrcproxy_sessions") != 0 || sum(m, "mrcproxy_failovers_total") != 0 {
		t.Errorf("sessions ended:%s; held: %v; failovers:%s", nonZero(m, "mrcproxy_sessions_ended_total"), sum(m, "mrcproxy_sessions"), nonZero(m, "mrcproxy_failovers_total"))
	}
}

// TestReloadForRestart: what a reload cannot change is said to wait, and the rest is changed. A file that is gone, or the
// same, changes nothing.
func TestReloadForRestart(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	file := l.farm(farm{21: ""})
	d := l.start(file)
	if code, text := d.post("/-/reload"); code != 200 {
		t.Errorf("reload of the same file answered %d %s", code, text)
	}
	d.await("the log says that nothing changed", 10*time.Second, func() bool { return d.logged("nothing changed", `"cause":"http"`) })
	if err := os.Remove(d.file); err != nil {
		t.Fatal(err)
	}
	if code, text := d.post("/-/reload"); code != 500 || !strings.Contains(text, d.file) {
		t.Errorf("reload of no file answered %d %s", code, text)
	}
	extra := l.ip(11) + ":5070"
	d.write(strings.Replace(file, "\"tcp://", "\"tcp://"+extra+"\", \"tcp://", 1) + "log: {level: debug}\n")
	d.await("the log says what waits", 10*time.Second, func() bool {
		return d.logged("wait for a restart", `"keys":["listen"]`) && d.logged(`"cause":"file"`, "log.level: info -> debug")
	})
	d.await("it counts as a success", 10*time.Second, func() bool { return sum(d.metrics(), "mrcproxy_config_last_reload_successful") == 1 })
	if c, err := net.DialTimeout("tcp", extra, time.Second); err == nil {
		_ = c.Close()
		t.Error("the new listener is open")
	}
	if a := l.dial("tcp", 5).ask(rawRequest{method: "OPTIONS"}); a.code == 0 {
		t.Error("the old listener does not answer")
	}
	l.dial("udp", 5).send("garbage\r\n\r\n")
	d.await("lines of the new level are logged", 10*time.Second, func() bool { return d.logged(`"level":"debug"`, "malformed message") })
}

// reloaded awaits the log's line on a reload, with what caused it and one of the changes.
func (d *daemon) reloaded(cause, change string) {
	d.lab.t.Helper()
	d.await("the log tells of the reload: "+change, 10*time.Second, func() bool {
		return d.logged(`"msg":"configuration reloaded`, `"cause":"`+cause+`"`, change)
	})
}

// refusesBroken: a file with faults is refused, by the watch and by HTTP, with the place of each fault; what ran goes on.
func (d *daemon) refusesBroken(l *lab) {
	t := l.t
	t.Helper()
	good := l.farm(farm{21: ", capacity: 400", 22: "", 23: ""})
	before := d.shape()
	if v := sum(d.metrics(), "mrcproxy_config_last_reload_successful"); v != 1 {
		t.Errorf("mrcproxy_config_last_reload_successful is %v before, want 1", v)
	}
	broken := strings.Replace(good, "interval: 500ms", "interval: 5", 1)
	broken = strings.Replace(broken, "capacity: 400", "capacity: -1", 1) + "    polcy: weighted\n"
	faults := []string{
		fmt.Sprintf("%s:%d: health.interval: ", d.file, lineOf(broken, "interval: 5")),
		fmt.Sprintf("%s:%d: clusters[0].groups[0].backends[0].capacity: ", d.file, lineOf(broken, "capacity: -1")),
		fmt.Sprintf("%s:%d: clusters[0].polcy: ", d.file, lineOf(broken, "polcy")),
	}
	d.replace(broken)
	d.await("the broken file is refused", 10*time.Second, func() bool { return sum(d.metrics(), "mrcproxy_config_last_reload_successful") == 0 })
	code, text := d.post("/-/reload")
	for _, f := range faults {
		if code != 500 || !strings.Contains(text, f) {
			t.Errorf("reload answered %d %q, want 500 and %q", code, text, f)
		}
		d.await("the log names "+f, 10*time.Second, func() bool {
			return d.logged(`"level":"error"`, `"cause":"file"`, f) && d.logged(`"level":"error"`, `"cause":"http"`, f)
		})
	}
	if after := d.shape(); after != before {
		t.Errorf("a refused file changed\n%s to\n%s", before, after)
	}
	d.evenly(l.farmShares(21, 1, 22, 1, 23, 1))
	d.replace(good)
	d.await("the good file is taken", 10*time.Second, func() bool { return sum(d.metrics(), "mrcproxy_config_last_reload_successful") == 1 })
}

func lineOf(text, part string) int {
	before, _, _ := strings.Cut(text, part)
	return strings.Count(before, "\n") + 1
}

// shape is what the metrics tell of the configuration in use.
func (d *daemon) shape() string {
	var s []string
	for k, v := range d.metrics() {
		for _, name := range []string{"mrcproxy_backend_weight", "mrcproxy_backend_capacity", "mrcproxy_backend_up", "mrcproxy_config_last_reload_success_timestamp_seconds"} {
			if strings.HasPrefix(k, name) {
				s = append(s, fmt.Sprint(k, " ", v))
			}
		}
	}
	slices.Sort(s)
	return strings.Join(s, "\n")
}

// shares are the weights by which sessions have to be spread over URIs.
type shares map[string]int

// farmShares makes them of hosts and their weights.
func (l *lab) farmShares(hostsAndWeights ...int) shares {
	s := shares{}
	for i := 0; i < len(hostsAndWeights); i += 2 {
		s["sip:"+l.ip(hostsAndWeights[i])+":8060"] = hostsAndWeights[i+1]
	}
	return s
}

// evenly awaits a hundred more sessions and checks that they are spread by weight. A scrape is no snapshot: it may count one
// of the sessions that come in meanwhile, and miss another, at its beginning and at its end.
func (d *daemon) evenly(s shares) {
	d.lab.t.Helper()
	read := func() (map[string]int, int) {
		m, got, n := d.metrics(), map[string]int{}, 0
		for uri := range s {
			got[uri] = int(sum(m, "mrcproxy_backend_picked_total", `"`+uri+`"`))
			n += got[uri]
		}
		return got, n
	}
	first, start := read()
	weights := 0
	for _, w := range s {
		weights += w
	}
	var now map[string]int
	more := 0
	d.await("a hundred more sessions", 5*time.Second, func() bool {
		now, more = read()
		more -= start
		return more >= 100
	})
	for uri, w := range s {
		if got, want := now[uri]-first[uri], more*w/weights; got < want-3 || got > want+3 {
			d.lab.t.Errorf("%s got %d of %d new sessions, want %d", uri, got, more, want)
		}
	}
}
