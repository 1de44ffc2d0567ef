package test

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestZZKamailio(t *testing.T) {
	n := newBadNet(t)
	dir := t.TempDir()
	list := filepath.Join(dir, "d.list")
	_ = os.WriteFile(list, []byte("1 sip:10.83.0.21:8060 0 0 duid=s1;maxload=0;weight=25\n1 sip:10.83.0.22:8060 0 0 duid=s2;maxload=0;weight=25\n"), 0o644)
	servers, client := n.peers()
	n.ip("daemon", "link", "set", "lo", "up")
	n.serve(filepath.Join(dir, "log"), "kamailio", "-DD", "-E", "-m", "256", "-M", "16", "-f", "/work/shared/bench/conf/kamailio/kamailio.cfg",
		"-A", "ALG=10", "-A", `LISTFILE="`+list+`"`, "-A", `CTLSOCK="unix:`+dir+`/ctl"`, "-A", "WORKERS=2", "-A", "TCPWORKERS=1", "-A", "LISTENIP=10.83.0.10", "-Y", dir, "-P", dir+"/pid")
	time.Sleep(6 * time.Second)
	b, _ := os.ReadFile(filepath.Join(dir, "log"))
	t.Logf("%.2000s", b)
	all := n.sessions(client, 2000, 70)
	bad, noBye, codes := 0, 0, map[int]int{}
	for _, o := range all {
		codes[o.Code]++
		if !o.good() {
			bad++
		}
		if o.ByeCode != 200 {
			noBye++
		}
	}
	t.Logf("%d sessions, %d bad, %d BYEs without 200, codes %v", len(all), bad, noBye, codes)
	for i := 0; i < 3; i++ {
		for _, s := range servers {
			t.Logf("server %+v", s.Stats())
		}
		time.Sleep(20 * time.Second)
	}
}
