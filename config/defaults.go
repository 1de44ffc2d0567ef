package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// defaults is what holds where the file says nothing. DataDir depends on the environment and is not in it.
func defaults() *Config {
	return &Config{
		Admin: Admin{Listen: "127.0.0.1:9060"},
		Log:   Log{Level: "info", Format: "json"},
		Failover: Failover{
			FirstResponseTimeout: 500 * time.Millisecond,
			AnswerTimeout:        time.Second,
			Deadline:             4 * time.Second,
			MaxAttempts:          5,
			ConnectTimeout:       time.Second,
			T1:                   100 * time.Millisecond,
			TryingAfter:          150 * time.Millisecond,
			Reject:               480,
			RetryAfter:           5 * time.Second,
		},
		Clients: Clients{MaxConnections: 256},
		TLS:     TLS{ClientAuth: "none"},
		Health: Health{
			Interval:     2 * time.Second,
			FastInterval: 500 * time.Millisecond,
			SlowInterval: 10 * time.Second,
			Timeout:      time.Second,
			Jitter:       0.2,
			Rise:         2,
			Fall:         3,
			UpCodes:      defaultUpCodes(),
			EjectAfter:   3,
			EjectFor:     10 * time.Second,
			EjectMax:     5 * time.Minute,
			HoldFor:      time.Second,
			HoldMax:      30 * time.Second,
			SuspectAfter: 3,
			ErrorRate:    0.5,
			ErrorWindow:  30 * time.Second,
			ErrorVolume:  20,
			MaxEjected:   0.5,
			Deep: Deep{
				Method:   DeepOff,
				Action:   DeepDown,
				Interval: time.Minute,
				Timeout:  10 * time.Second,
				Rise:     1,
				Fall:     2,
				Grammar:  "builtin:speech/transcribe",
				Text:     "hello",
			},
		},
		Sessions:    Sessions{Max: 4 * time.Hour, ByeTimeout: 2 * time.Second, ByeAnswer: 200, OnBackendDown: Keep, Journal: true},
		CDR:         CDR{Headers: []string{"X-CID"}},
		HEP:         HEP{ID: 2001},
		OTLP:        OTLP{Sample: 1},
		Drain:       Drain{Timeout: 5 * time.Second},
		OnStoreLoss: ShareLimits,
		Instances:   1,
		Otherwise:   Otherwise{Reject: 488},
	}
}

// DefaultHealth is the health section of a file that has none.
func DefaultHealth() Health { return defaults().Health }

// defaultUpCodes is every answer of a server that can work: not 408, which stands for none, and no 5xx or 6xx.
func defaultUpCodes() CodeSet {
	s, _ := ParseCodeSet("200-499", "!408") // these items parse
	return s
}

// defaultDataDir is the state directory that systemd made, else the usual place for root or for a user.
func defaultDataDir(root bool) (string, error) {
	// systemd separates several directories by colons.
	if dir, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); dir != "" {
		return dir, nil
	}
	if root {
		return "/var/lib/mrcproxy", nil
	}
	// The XDG base directory specification tells to ignore relative paths.
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "mrcproxy"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", errors.New("must be given: there is no home directory to put it in")
	}
	return filepath.Join(home, ".local", "state", "mrcproxy"), nil
}
