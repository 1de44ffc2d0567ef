package app

import (
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	logged "go.uber.org/zap/zaptest/observer"
)

// TestThinned: when a data centre dies, each server's line is written; of a flood of bad messages only some are.
func TestThinned(t *testing.T) {
	const many = 5 * burst
	core, got := logged.New(zap.InfoLevel)
	log := zap.New(thinned(core))
	for range many {
		for _, m := range []string{"session", "backend down", "backend suspect", "operator", "deep probe", deadEnded, "no route matches"} {
			log.Info(m, zap.String("cluster", "asr"))
		}
		log.With(zap.Int("n", 1)).Info("backend up")
		log.Debug("session")
	}
	for message, want := range map[string]int{"session": many, "backend down": many, "backend suspect": many, "backend up": many, "operator": many,
		"deep probe": many, deadEnded: many, "no route matches": burst} {
		if n := got.FilterMessage(message).Len(); n != want {
			t.Errorf("%d of %d lines %q, want %d", n, many, message, want)
		}
	}
	if n := got.Filter(func(e logged.LoggedEntry) bool { return e.Level < zapcore.InfoLevel }).Len(); n != 0 {
		t.Errorf("%d lines below the level", n)
	}
}
