package deptest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const units = root + "/deploy/systemd"

// TestUnits has systemd judge the units: they are free of mistakes, and the service is hardened (1.5 of 10 or better). The
// lines that those who run it rely on are there.
func TestUnits(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(units, "mrcproxy.service"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"Type=notify-reload", "WatchdogSec=10s", "DynamicUser=yes", "StateDirectory=mrcproxy", "CapabilityBoundingSet=", "NoNewPrivileges=yes",
		"ExecStart=/usr/bin/mrcproxy serve --takeover -c /etc/mrcproxy/mrcproxy.yaml",
	} {
		if !strings.Contains(string(text), "\n"+line+"\n") {
			t.Errorf("mrcproxy.service has no line %s", line)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze: the units are not verified")
	}
	dir := t.TempDir()
	service := filepath.Join(dir, "mrcproxy.service")
	socket := filepath.Join(dir, "mrcproxy.socket")
	self, err := os.Executable() // any that is there
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(service, []byte(strings.Replace(string(text), "/usr/bin/mrcproxy", self, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(units, "mrcproxy.socket"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(socket, data, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(analyze, "verify", "--man=no", service, socket).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		// systemd before 253, for which the unit has another line.
		if strings.Contains(line, dir) && !strings.Contains(line, "ignoring: notify-reload") {
			t.Errorf("systemd-analyze verify: %s", line)
		}
	}
	out, err = exec.Command(analyze, "security", "--offline=true", "--threshold=15", "--no-pager", service).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}
