package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"
)

// settle is how long a file must be left alone before it is read: editors and kubelets write in several steps.
const settle = 100 * time.Millisecond

// watch reloads when the file's content has changed, however it came about: written in place, replaced by a rename, or
// behind a symbolic link that was swapped, as Kubernetes does with a ConfigMap. It watches folders, not the file: a file's
// own watch is lost with the file.
func (a *App) watch(ctx context.Context, path string) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		a.log.Warn("the configuration file is not watched; use SIGHUP", zap.Error(err))
		<-ctx.Done()
		return nil
	}
	defer w.Close()
	folders := map[string]bool{}
	follow := func() {
		for _, dir := range foldersOf(path) {
			if !folders[dir] && w.Add(dir) == nil {
				folders[dir] = true
			}
		}
	}
	follow()
	last := a.watched // not what the file is by now
	timer := time.NewTimer(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-w.Events:
			if !ok {
				return errors.New("file watch ended")
			}
			timer.Reset(settle)
		case err := <-w.Errors:
			a.log.Warn("file watch", zap.Error(err))
			timer.Reset(settle) // events may have been lost
		case <-timer.C:
			follow()
			if now := sum(path); now != last && now != (digest{}) {
				last = now
				_ = a.Reload("file") // logged there
			}
		}
	}
}

type digest [sha256.Size]byte

// sum is the content's digest; zero when the file cannot be read, as it may be in the middle of a change.
func sum(path string) digest {
	b, err := os.ReadFile(path)
	if err != nil {
		return digest{}
	}
	return sha256.Sum256(b)
}

// foldersOf are the folders in which something happens when the file changes: its own and those of the links it is reached
// by.
func foldersOf(path string) []string {
	var l []string
	for range 16 { // a loop of links ends
		l = append(l, filepath.Dir(path))
		to, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = to
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		l = append(l, filepath.Dir(real))
	}
	return l
}
