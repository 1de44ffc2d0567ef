package cdr

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"mrcproxy/internal/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// writing runs a Writer to the file until stop is called.
func writing(t *testing.T, path string, waiting int) (w *Writer, stop func()) {
	t.Helper()
	w = New(Options{Waiting: waiting, Log: zap.NewNop()})
	use(t, w, path)
	return w, serve(t, w)
}

func use(t *testing.T, w *Writer, path string) {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	w.Use(f)
}

func serve(t *testing.T, w *Writer) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// ids are the Call-IDs in a file, each line of which must be a record.
func ids(t *testing.T, path string) (l []string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 0 && b[len(b)-1] != '\n' {
		t.Errorf("%s ends within a line", path)
	}
	for line := range strings.Lines(string(b)) {
		var r Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Errorf("%s: %v: %s", path, err, line)
		}
		l = append(l, r.CallID)
	}
	return l
}

// TestRotate: while two Writers append to one file that is renamed again and again, no record is lost, doubled or torn.
func TestRotate(t *testing.T) {
	const each, renames = 2000, 20
	dir := t.TempDir()
	path := filepath.Join(dir, "cdr.json")
	var wg sync.WaitGroup
	var writers []*Writer
	var stops []func()
	for n := range 2 {
		w, stop := writing(t, path, each)
		writers, stops = append(writers, w), append(stops, stop)
		wg.Go(func() {
			for i := range each {
				w.Write(&Record{CallID: fmt.Sprint(n, "-", i), Reason: strings.Repeat("x", i%500)})
			}
		})
	}
	for i := range renames {
		if err := os.Rename(path, fmt.Sprint(path, ".", i)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		for _, w := range writers {
			w.Reopen()
		}
	}
	wg.Wait()
	for i, stop := range stops {
		stop()
		if s := writers[i].Stats(); s != (Stats{Written: each}) {
			t.Errorf("%+v", s)
		}
	}
	files, _ := filepath.Glob(path + "*")
	seen := map[string]int{}
	for _, f := range files {
		for _, id := range ids(t, f) {
			seen[id]++
		}
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s %d times", id, n)
		}
	}
	if len(seen) != 2*each {
		t.Errorf("%d records, want %d", len(seen), 2*each)
	}
}

// TestGather: records that come one after the other are written together, soon.
func TestGather(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cdr.json")
	synctest.Test(t, func(t *testing.T) {
		w, stop := writing(t, path, 0)
		defer stop()
		for i := range 10 {
			w.Write(&Record{CallID: strconv.Itoa(i)})
			synctest.Wait()
			if l := ids(t, path); len(l) != 0 {
				t.Fatalf("%v after %d", l, i)
			}
			time.Sleep(gather / 20)
		}
		time.Sleep(gather / 2)
		synctest.Wait()
		if l := ids(t, path); len(l) != 10 {
			t.Errorf("%v after %v", l, gather)
		}
		const many = 3 * defaultWaiting / 4 // more than a batch: what is left over by one is not gathered anew
		for range many {
			w.Write(&Record{CallID: "x"})
		}
		time.Sleep(gather)
		synctest.Wait()
		if l := ids(t, path); len(l) < 10+many-defaultWaiting/8 {
			t.Errorf("%d of %d after %v", len(l), 10+many, gather)
		}
	})
}

// TestFull: a file that takes nothing more makes nobody wait. What was cut off is completed as soon as there is room, and what
// had no room in memory is counted.
func TestFull(t *testing.T) {
	const waiting = 10
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cdr.json")
	w := New(Options{Waiting: waiting, Log: zap.NewNop()})
	use(t, w, path)
	w.change()
	limit := was
	limit.Cur = 1000 // bytes; beyond that a write is cut short, then fails with EFBIG: as a full disk does with ENOSPC
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	back := sync.OnceFunc(func() { _ = syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was) })
	defer back()
	for i := range 8 {
		w.Write(&Record{CallID: fmt.Sprint(i)})
	}
	w.drain()
	if s := w.Stats(); s.Errors == 0 || s.Written == 0 || s.Written == 8 || !w.part || w.buf.Len() == 0 {
		t.Fatalf("%+v, in part %v, %d bytes left", s, w.part, w.buf.Len())
	}
	for i := range 20 {
		w.Write(&Record{CallID: fmt.Sprint(8 + i)})
	}
	if s := w.Stats(); s.Dropped != 20-waiting {
		t.Errorf("%+v", s)
	}
	back()
	serve(t, w)()
	got := ids(t, path)
	if s := w.Stats(); len(got) != 8+waiting || s.Written != 8+waiting || s.Dropped != 20-waiting {
		t.Errorf("%d records, %+v", len(got), s)
	}
}

// TestTorn: the rest of a line that its file does not take is not the beginning of the next file.
func TestTorn(t *testing.T) {
	dir := t.TempDir()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	w := New(Options{Log: zap.NewNop()})
	w.file, w.part = &File{"/dev/full", full}, true
	w.buf.WriteString("rest\"}\n")
	next := filepath.Join(dir, "next.json")
	use(t, w, next)
	w.Write(&Record{CallID: "whole"})
	serve(t, w)()
	if got := ids(t, next); len(got) != 1 || got[0] != "whole" {
		t.Errorf("%q", got)
	}
	if s := w.Stats(); s.Dropped != 1 || s.Written != 1 || s.Errors == 0 {
		t.Errorf("%+v", s)
	}
}

// TestFiles: another file, none, and one that cannot be opened.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	if _, err := Open(path("nowhere/cdr.json")); err == nil {
		t.Error("opened in a directory that there is not")
	}
	w := New(Options{Log: zap.NewNop()})
	if w.On() {
		t.Error("on without a file")
	}
	step := func(file, id string) {
		use(t, w, file)
		if w.On() != (file != "") {
			t.Errorf("%q: on is %v", file, w.On())
		}
		w.change()
		w.Write(&Record{CallID: id})
		w.drain()
	}
	step(path("a"), "1")
	step(path("b"), "2")
	step("", "3")
	step(path("a"), "4")
	if err := os.Mkdir(path("b.d"), 0o500); err != nil {
		t.Fatal(err)
	}
	w.file.path = path("b.d") // a directory now: what is open stays
	w.Reopen()
	w.Write(&Record{CallID: "5"})
	serve(t, w)()
	if got := strings.Join(ids(t, path("a")), ","); got != "1,4,5" {
		t.Error(got)
	}
	if got := strings.Join(ids(t, path("b")), ","); got != "2" {
		t.Error(got)
	}
	if s := w.Stats(); s != (Stats{Written: 4, Dropped: 1, Errors: 1}) {
		t.Errorf("%+v", s)
	}
}

// TestLost: what cannot be written until the end is counted.
func TestLost(t *testing.T) {
	w, stop := writing(t, "/dev/full", 0)
	for range 100 {
		w.Write(&Record{})
	}
	stop()
	if s := w.Stats(); s.Dropped != 100 || s.Written != 0 || s.Errors == 0 {
		t.Errorf("%+v", s)
	}
}

// TestEndedBy: every reason has somebody.
func TestEndedBy(t *testing.T) {
	known := [][]byte{[]byte(ByClient), []byte(ByServer), []byte(ByProxy), []byte(ByOperator), []byte(ByInstance), []byte(Unknown)}
	for _, r := range session.Reasons() {
		by := EndedBy(r)
		if !bytes.Contains(bytes.Join(known, []byte(" ")), []byte(by)) {
			t.Errorf("%s: %q", r, by)
		}
		if unknown := r == session.ByeUnanswered || r == session.ByeUnknown; (by == Unknown) != unknown {
			t.Errorf("%s: %q", r, by)
		}
	}
}

// BenchmarkWrite is what a call pays.
func BenchmarkWrite(b *testing.B) {
	w := New(Options{Log: zap.NewNop()})
	r := &Record{}
	b.ReportAllocs()
	for b.Loop() {
		w.Write(r)
		<-w.records
	}
}
