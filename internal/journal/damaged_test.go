//go:build !race

package journal

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDamagedFile: whatever is in the file, the start goes on, and sessions are written down from then on.
func TestDamagedFile(t *testing.T) {
	whole := func() []byte {
		path := filepath.Join(t.TempDir(), "sessions.db")
		p := startWith(t, path, 1)
		for i := range 200 {
			p.restoreNew(fmt.Sprint("s", i))
		}
		p.j.flush()
		p.close()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		used := len(bytes.TrimRight(b, "\x00")) // of 16 MiB that bbolt has a file grow to
		return b[:(used+4095)/4096*4096]
	}()
	files := map[string][]byte{
		"text": []byte("not a database\n"), "zeros": make([]byte, 1<<16), "half": whole[:len(whole)/2/4096*4096], "odd length": whole[:len(whole)/2+77], "one page": whole[:4096],
		"metas only": whole[:8192],
	}
	for seed := range 60 {
		dice := rand.New(rand.NewPCG(uint64(seed), 3))
		b := bytes.Clone(whole)
		for range 1 + seed*2 { // here and there
			b[dice.IntN(len(b))] ^= byte(1 + dice.IntN(255))
		}
		if at := 4096 * dice.IntN(len(b)/4096); seed%3 == 0 { // a page
			for i := at; i < at+4096; i++ {
				b[i] = byte(dice.IntN(256))
			}
		}
		files[fmt.Sprint("seed ", seed)] = b
	}
	for name, content := range files {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "sessions.db")
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			p := startWith(t, path, 1)
			got := p.tab.Len()
			p.restoreNew("new")
			for range 3 { // damage may show as late as in writing
				p.j.flush()
			}
			if !p.j.Stats().Up {
				t.Fatalf("not up: %v", p.log.All())
			}
			if p.said(ruined) {
				if _, err := os.Stat(path + ".damaged"); err != nil {
					t.Error(err)
				}
			} else if name == "text" || name == "zeros" || name == "one page" || name == "metas only" {
				t.Errorf("nothing said, %d sessions", got)
			}
			p.close()
			next := startWith(t, path, 1)
			if !strings.Contains(next.held(), "new") {
				t.Errorf("the new session is lost: %v", next.log.All())
			}
		})
	}
}
