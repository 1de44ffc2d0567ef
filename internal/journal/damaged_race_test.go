//go:build race

package journal

import (
	"os/exec"
	"testing"
)

// TestDamagedFile runs without the race detector: its check of pointers ends a process in which bbolt meets some kinds of
// damage, which no daemon has built in.
func TestDamagedFile(t *testing.T) {
	out, err := exec.Command("go", "test", "-race=false", "-count=1", "-run", "^TestDamagedFile$", ".").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
