package operator

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func open(t *testing.T, path string) *Book {
	t.Helper()
	b, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWhichWishHolds(t *testing.T) {
	b := open(t, filepath.Join(t.TempDir(), "operator.json"))
	mode := func() Mode {
		w, _ := b.For("asr", "a", "sip:1")
		return w.Mode
	}
	idc, group, backend := Scope{IDC: "a"}, Scope{Cluster: "asr", IDC: "a"}, Scope{Cluster: "asr", Backend: "sip:1"}
	for _, s := range []Scope{{IDC: "b"}, {Cluster: "tts", IDC: "a"}, {Cluster: "asr", Backend: "sip:2"}, {Cluster: "tts", Backend: "sip:1"}} {
		b.Put(Wish{Scope: s, Mode: Disable})
	}
	if got := mode(); got != "" {
		t.Errorf("wishes of others: %q", got)
	}
	b.Put(Wish{Scope: idc, Mode: Drain})
	if mode() != Drain {
		t.Errorf("the IDC's wish does not hold: %q", mode())
	}
	b.Put(Wish{Scope: group, Mode: Disable})
	b.Put(Wish{Scope: backend, Mode: Drain})
	if mode() != Disable {
		t.Errorf("disable is stronger, whatever is narrower: %q", mode())
	}
	if !b.Lift(group) || mode() != Drain {
		t.Errorf("lifted: %q", mode())
	}
	if w, _ := b.For("asr", "a", "sip:1"); w.Scope != backend {
		t.Errorf("of equals %v, want the narrowest", w.Scope)
	}
	if b.Lift(group) {
		t.Error("lifted twice")
	}
	b.Lift(backend)
	if mode() != Drain {
		t.Error("to enable a backend must not lift what is wanted of its IDC")
	}
	b.Lift(idc)
	if got := mode(); got != "" {
		t.Errorf("all lifted: %q", got)
	}
}

func TestExpire(t *testing.T) {
	b := open(t, filepath.Join(t.TempDir(), "operator.json"))
	b.Put(Wish{Scope: Scope{IDC: "a"}, Mode: Drain, Until: now})
	b.Put(Wish{Scope: Scope{IDC: "b"}, Mode: Drain})
	if gone := b.Expire(now.Add(-time.Nanosecond)); gone != nil {
		t.Errorf("too early: %v", gone)
	}
	gone := b.Expire(now)
	if wishes, _ := b.List(); len(gone) != 1 || gone[0].IDC != "a" || len(wishes) != 1 {
		t.Errorf("gone %v, left %v", gone, wishes)
	}
}

// TestKept: a restart finds what was wanted, and what could not be kept is said.
func TestKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "operator.json")
	b := open(t, path)
	w := Wish{Scope: Scope{Cluster: "asr", IDC: "a"}, Mode: Drain, Since: now, Until: now.Add(time.Hour), Reason: "new disk", By: "eve"}
	b.Put(w)
	b.PutWeight(Weight{Cluster: "asr", Backend: "sip:1", Weight: 1, By: "eve"})
	b.PutWeight(Weight{Cluster: "asr", Backend: "sip:1", Weight: 5, By: "eve"})
	if err := b.Lost(); err != nil {
		t.Fatal(err)
	}
	again := open(t, path)
	wishes, weights := again.List()
	if len(wishes) != 1 || wishes[0] != w || len(weights) != 1 {
		t.Errorf("after a restart: %v %v", wishes, weights)
	}
	if n, ok := again.Weight("asr", "sip:1"); n != 5 || !ok {
		t.Errorf("weight %d %t", n, ok)
	}
	if !again.LiftWeight("asr", "sip:1") || again.LiftWeight("asr", "sip:1") {
		t.Error("the weight can be lifted once")
	}
	if _, ok := open(t, path).Weight("asr", "sip:1"); ok {
		t.Error("the weight is back after a restart")
	}
}

func TestBrokenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "operator.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
	// A file in the place of the folder: nothing can be kept, and the wish holds all the same.
	b := open(t, filepath.Join(path+".d", "operator.json"))
	if err := os.WriteFile(path+".d", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.Put(Wish{Scope: Scope{IDC: "a"}, Mode: Drain})
	if _, ok := b.For("asr", "a", "sip:1"); !ok || b.Lost() == nil {
		t.Error("a wish that cannot be kept must hold, and say so")
	}
}
