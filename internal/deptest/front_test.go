package deptest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestFrontExamples has keepalived and ExaBGP read what docs/scaling.md shows of their files, where they are installed; no
// other test needs them. The same file with a word spelled wrong shows that they would say so.
func TestFrontExamples(t *testing.T) {
	blocks := codeBlocks(text(t, root+"/docs/scaling.md"), "")
	for _, tool := range []struct {
		file, word string
		check      func(file string) *exec.Cmd
		complaint  string // "": any output
	}{
		// Its exit status is that of the signal by which it ends its own group.
		{"/etc/keepalived/keepalived.conf", "virtual_router_id", func(f string) *exec.Cmd { return exec.Command("setsid", "-w", "keepalived", "-t", "-f", f) }, "keyword"},
		{"/etc/exabgp/exabgp.conf", "hold-time", func(f string) *exec.Cmd { return exec.Command("exabgp", "--validate", f) }, "invalid keyword"},
	} {
		name := strings.TrimSuffix(filepath.Base(tool.file), ".conf")
		t.Run(name, func(t *testing.T) {
			example := ""
			for _, b := range blocks {
				if strings.HasPrefix(b.text, "# "+tool.file) {
					example = b.text
				}
			}
			if !strings.Contains(example, "http://127.0.0.1:9060/-/ready") {
				t.Fatalf("docs/scaling.md shows no %s that asks whether the instance is ready", tool.file)
			}
			if _, err := exec.LookPath(name); err != nil {
				t.Skipf("%s is not installed", name)
			}
			complains := func(config string) (bool, string) {
				file := filepath.Join(t.TempDir(), name+".conf")
				if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
					t.Fatal(err)
				}
				out, _ := tool.check(file).CombinedOutput()
				return strings.Contains(string(out), tool.complaint), string(out)
			}
			if bad, out := complains(example); bad {
				t.Errorf("%s", out)
			}
			if bad, out := complains(strings.Replace(example, tool.word, "nonsense", 1)); !bad {
				t.Errorf("nothing is wrong with a word that does not exist: %s", out)
			}
		})
	}
}
