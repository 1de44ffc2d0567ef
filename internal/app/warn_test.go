package app

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	logged "go.uber.org/zap/zaptest/observer"

	"mrcproxy/config"
)

// TestWarn: who never asks `check` finds its warnings in the log: all at the start, and at a reload those that are new.
func TestWarn(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f.yaml")
	write := func(resource string) {
		text := fmt.Sprintf("idc: a\ndata_dir: %s\nlisten: [\"udp://127.0.0.1:0\"]\nadmin: {listen: off}\notherwise: {cluster: c}\nclusters: [{name: c, groups: [{idc: b, backends: [{uri: \"sip:127.0.0.1:9\", capacity: {%s: 1}}]}]}]\n", dir, resource)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("speechrecog")
	core, got := logged.New(zap.WarnLevel)
	a, err := New(Options{Load: func() (*config.Config, error) { return config.Load(file) }, Log: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- a.Run(t.Context()) }()
	t.Cleanup(func() {
		if err := <-done; err != nil { // the context has ended
			t.Error(err)
		}
	})
	await := func(want ...string) {
		t.Helper()
		var lines []string
		for end := time.Now().Add(10 * time.Second); len(lines) < len(want); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("logged %q, want %q", lines, want)
			}
			lines = lines[:0]
			for _, e := range got.FilterMessage("the configuration is hardly meant so").All() {
				lines = append(lines, e.ContextMap()["warning"].(string))
			}
		}
		if !slices.EqualFunc(lines, want, strings.Contains) {
			t.Errorf("logged %q, want %q", lines, want)
		}
	}
	await("no group is in a")
	write("speechrec")
	if err := a.Reload("test"); err != nil {
		t.Fatal(err)
	}
	await("no group is in a", `no resource "speechrec"`)
}
