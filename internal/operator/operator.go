// Package operator keeps what operators want of servers: that an IDC, a group or a backend is drained or disabled, and
// weights in the place of the configuration's. It owns these wishes and the file that they are kept in. It changes no
// server itself, knows nothing of health, and reads no clock: callers pass the time.
package operator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Mode is what is wanted of the servers of a scope. Neither gets new sessions; those that they have go on.
type Mode string

const (
	// Drain goes on probing.
	Drain Mode = "drain"
	// Disable does not.
	Disable Mode = "disable"
)

// Scope is what a wish is about. The empty fields are any: IDC alone is an IDC, Cluster and IDC a group, Cluster and
// Backend a backend, by its URI.
type Scope struct {
	Cluster string `json:"cluster,omitempty"`
	IDC     string `json:"idc,omitempty"`
	Backend string `json:"backend,omitempty"`
}

// Covers reports whether a backend is within the scope.
func (s Scope) Covers(cluster, idc, backend string) bool {
	return (s.Cluster == "" || s.Cluster == cluster) && (s.IDC == "" || s.IDC == idc) && (s.Backend == "" || s.Backend == backend)
}

// String is the scope for people.
func (s Scope) String() string {
	switch {
	case s.Backend != "" && s.Cluster != "":
		return "backend " + s.Backend + " of " + s.Cluster
	case s.Backend != "":
		return "backend " + s.Backend
	case s.Cluster != "":
		return "group " + s.Cluster + "/" + s.IDC
	}
	return "IDC " + s.IDC
}

// Wish is one thing wanted.
type Wish struct {
	Scope
	Mode   Mode      `json:"mode"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"` // it ends then; never when zero
	Reason string    `json:"reason,omitempty"`
	By     string    `json:"by"`
}

// Weight stands in the place of a backend's configured weight.
type Weight struct {
	Cluster string    `json:"cluster"`
	Backend string    `json:"backend"`
	Weight  int       `json:"weight"`
	Since   time.Time `json:"since"`
	Reason  string    `json:"reason,omitempty"`
	By      string    `json:"by"`
}

// state is what the file holds. A state is never changed once it is in a Book.
type state struct {
	Wishes  []Wish   `json:"wishes"`
	Weights []Weight `json:"weights"`
}

// Book holds the wishes and keeps them in a file. All methods are safe for concurrent use.
type Book struct {
	path string

	mu    sync.Mutex
	state state
	lost  error // why the file does not have what state has
}

// Open reads what the file at path holds; one that is not there is empty. A file that cannot be read is an error: to start
// without it would send sessions to servers that are taken apart.
func Open(path string) (*Book, error) {
	b := &Book{path: path}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return b, nil
	case err != nil:
		return nil, fmt.Errorf("read what operators want: %w", err)
	}
	if err := json.Unmarshal(data, &b.state); err != nil {
		return nil, fmt.Errorf("%s: %w: mend it, or remove it to have every server enabled", path, err)
	}
	return b, nil
}

// Put has a wish hold, in the place of an earlier one of the same scope.
func (b *Book) Put(w Wish) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := slices.DeleteFunc(slices.Clone(b.state.Wishes), func(o Wish) bool { return o.Scope == w.Scope })
	b.state.Wishes = append(l, w)
	b.keep()
}

// Lift ends the wish of exactly that scope. It returns whether there was one.
func (b *Book) Lift(s Scope) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.drop(func(w Wish) bool { return w.Scope == s })) > 0
}

// Expire ends the wishes whose time has come, and returns them.
func (b *Book) Expire(now time.Time) []Wish {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.drop(func(w Wish) bool { return !w.Until.IsZero() && !now.Before(w.Until) })
}

// drop takes wishes away and returns them. mu is held.
func (b *Book) drop(which func(Wish) bool) (gone []Wish) {
	var left []Wish
	for _, w := range b.state.Wishes {
		if which(w) {
			gone = append(gone, w)
		} else {
			left = append(left, w)
		}
	}
	if len(gone) > 0 {
		b.state.Wishes = left
		b.keep()
	}
	return gone
}

// PutWeight has a weight hold, in the place of an earlier one of the same backend.
func (b *Book) PutWeight(w Weight) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state.Weights = append(b.withoutWeight(w.Cluster, w.Backend), w)
	b.keep()
}

// LiftWeight gives a backend its configured weight again. It returns whether it had another.
func (b *Book) LiftWeight(cluster, backend string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.withoutWeight(cluster, backend)
	if len(l) == len(b.state.Weights) {
		return false
	}
	b.state.Weights = l
	b.keep()
	return true
}

func (b *Book) withoutWeight(cluster, backend string) []Weight {
	return slices.DeleteFunc(slices.Clone(b.state.Weights), func(o Weight) bool { return o.Cluster == cluster && o.Backend == backend })
}

// For is the wish that holds for a backend: of those that cover it, one that disables it before one that drains it, and
// the narrowest scope among equals.
func (b *Book) For(cluster, idc, backend string) (Wish, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	best, found := Wish{}, false
	for _, w := range b.state.Wishes {
		if w.Covers(cluster, idc, backend) && (!found || w.beats(best)) {
			best, found = w, true
		}
	}
	return best, found
}

func (w Wish) beats(o Wish) bool {
	if w.Mode != o.Mode {
		return w.Mode == Disable
	}
	return w.narrowness() > o.narrowness()
}

func (s Scope) narrowness() int {
	switch {
	case s.Backend != "":
		return 2
	case s.Cluster != "":
		return 1
	}
	return 0
}

// Weight is the weight that stands in the place of a backend's own; false: none.
func (b *Book) Weight(cluster, backend string) (int, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range b.state.Weights {
		if w.Cluster == cluster && w.Backend == backend {
			return w.Weight, true
		}
	}
	return 0, false
}

// List is everything that is wanted, in the order in which it was asked for. The slices must not be changed.
func (b *Book) List() ([]Wish, []Weight) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state.Wishes, b.state.Weights
}

// Lost says why the wishes would not outlive a restart; nil: they would.
func (b *Book) Lost() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lost
}

// keep writes the file whole or not at all. mu is held.
func (b *Book) keep() {
	data, err := json.MarshalIndent(b.state, "", "  ")
	if err == nil {
		err = replace(b.path, append(data, '\n'))
	}
	b.lost = err
}

// replace has a file with the new content on disk, or with the old: also when the power fails.
func replace(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp := path + ".new"
	if err := write(tmp, data); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(dir)
}

func write(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncDir has a renaming in a directory outlive a power failure.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
