package test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

// TestImportOpenSIPS: a daemon with the configuration that import makes routes as OpenSIPS did by the same tables: the
// User-Agent chooses the group; dispatcher takes turns, load_balancer keeps to the resources; the group with 10000 more
// serves when the first is full or dead; what the dialplan does not know is refused.
func TestImportOpenSIPS(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	var servers [9]*sim.Server
	for _, n := range []int{1, 2, 3, 4, 5, 6} {
		servers[n] = l.simServer(20+n, sim.ServerOptions{})
	}
	at := func(n int) string { return l.ip(20+n) + ":8060" }
	table := func(name, text string) string {
		file := filepath.Join(l.dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	ds := table("ds.csv", fmt.Sprintf(`setid,destination,state,weight,priority,attrs,description
90,sip:%s,0,1,100,'pstn=100','IDC_A:ASR_ALI'
90,sip:%s,0,1,100,'pstn=100','IDC_A:ASR_ALI'
10090,sip:%s,0,1,100,'pstn=100','IDC_B:ASR_ALI'
`, at(1), at(2), at(3)))
	lb := table("lb.sql", fmt.Sprintf(`INSERT INTO load_balancer (group_id, dst_uri, resources, probe_mode, description) VALUES
(91,'sip:%s','pstn=2',2,'IDC_A:ASR_BAIDU'), (91,'sip:%s','pstn=2',2,'IDC_A:ASR_BAIDU'), (10091,'sip:%s','pstn=2',2,'IDC_B:ASR_BAIDU');
`, at(4), at(5), at(6)))
	dp := table("dp.csv", `dpid,pr,match_op,match_exp,attrs
90,1,1,^ASR_MRCP_CLIENT_CTRIP_FS_ALI$,90:DS:ASR_MRCP_SERVER_CTRIP_ALI
90,1,1,^ASR_MRCP_CLIENT_CTRIP_FS_BAIDU$,91:LB:ASR_MRCP_SERVER_BAIDU
`)
	code, out, errs := mrcproxy(t, "import", "opensips", "--load-balancer", lb, "--dispatcher", ds, "--dialplan", dp,
		"--listen", "udp://"+l.proxyAddr(), "--listen", "tcp://"+l.proxyAddr())
	if code != 0 || errs != "" {
		t.Fatalf("import: exit status %d, %s", code, errs)
	}
	file := table("imported.yaml", out)
	if code, _, errs := mrcproxy(t, "check", "-c", file); code != 0 {
		t.Fatalf("check refuses it: %s\n%s", errs, out)
	}
	d := l.start(out + fmt.Sprintf("admin: {listen: \"%s:9060\"}\ndata_dir: %s\n", l.ip(10), l.dir))
	d.await("all are up", 15*time.Second, func() bool { return d.up() == 6 })

	p := l.dial("udp", 5)
	call := func(ua string) *dialog { return p.establish(rawRequest{ua: ua}) }
	const ali, baidu = "ASR_MRCP_CLIENT_CTRIP_FS_ALI", "ASR_MRCP_CLIENT_CTRIP_FS_BAIDU"
	count := map[string]int{}
	for range 10 {
		s := call(ali)
		count[s.server]++
		s.bye()
	}
	if count[at(1)] != 5 || count[at(2)] != 5 {
		t.Errorf("dispatcher: %v", count)
	}
	clear(count)
	for range 6 {
		count[call(baidu).server]++
	}
	if count[at(4)] != 2 || count[at(5)] != 2 || count[at(6)] != 2 {
		t.Errorf("load_balancer, 2 places a server: %v", count)
	}
	if a := p.ask(rawRequest{ua: baidu}); a.code != 480 {
		t.Errorf("all places taken: want 480, got\n%s", a.head)
	}
	if a := p.ask(rawRequest{ua: baidu + " 1.8.0"}); a.code != 488 {
		t.Errorf("no rule: want 488, got\n%s", a.head)
	}
	servers[1].Kill()
	servers[2].Kill()
	if s := call(ali); s.server != at(3) {
		t.Errorf("the escape group's server is %s, the call went to %s", at(3), s.server)
	}
}

// TestImportFaults: nothing comes out for a table that cannot be read, and what serve would refuse is said.
func TestImportFaults(t *testing.T) {
	dir := t.TempDir()
	list := filepath.Join(dir, "dispatcher.list")
	if err := os.WriteFile(list, []byte("1 sip:10.0.0.1:5060 0 0 weight=x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := mrcproxy(t, "import", "kamailio", list)
	if want := "mrcproxy: " + list + `:1: weight: a number from 0 on is wanted, not "x"` + "\n"; code != 1 || out != "" || errs != want {
		t.Errorf("exit status %d, %q, %q", code, out, errs)
	}
	if err := os.WriteFile(list, []byte("1 sip:10.0.0.1:5060;transport=tcp\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs = mrcproxy(t, "import", "kamailio", "--listen", "udp://10.0.0.2:5060", list)
	if code != 1 || out == "" || errs == "" {
		t.Errorf("a server that no listener can reach: exit status %d, %q", code, errs)
	}
}
