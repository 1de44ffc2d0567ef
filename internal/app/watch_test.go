package app

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"

	"mrcproxy/config"
)

// TestChangedDuringStart: a file that is written while the daemon starts, after it was read, is read again.
func TestChangedDuringStart(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f.yaml")
	write := func(retryAfter string) {
		text := fmt.Sprintf("idc: a\ndata_dir: %s\nlisten: [\"udp://127.0.0.1:0\"]\nadmin: {listen: off}\notherwise: {reject: 488}\nfailover: {retry_after: %s}\nclusters: [{name: c, groups: [{idc: a, backends: [{uri: \"sip:127.0.0.1:9\", capacity: 1}]}]}]\n", dir, retryAfter)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("5s")
	a, err := New(Options{Load: func() (*config.Config, error) { return config.Load(file) }, Watch: file, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	write("7s")
	done := make(chan error, 1)
	go func() { done <- a.Run(t.Context()) }()
	t.Cleanup(func() {
		if err := <-done; err != nil { // the context has ended
			t.Error(err)
		}
	})
	for end := time.Now().Add(10 * time.Second); a.cfg.Load().Failover.RetryAfter != 7*time.Second; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it runs with %v", a.cfg.Load().Failover.RetryAfter)
		}
	}
}
