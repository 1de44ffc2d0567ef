// Package cdr writes one line of JSON for each call into a file (call detail records). It owns the file and what waits to be
// written: one goroutine writes, everybody else only appends to memory, and when the disk is slow or full, records are
// dropped and counted. It never makes a caller wait, and knows nothing of what is in a record.
package cdr

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const (
	defaultWaiting = 8192                  // records
	batch          = 64 << 10              // bytes that one write is given, and some more
	gather         = 50 * time.Millisecond // how long a record waits for others, so that many cost one write
	retryAfter     = time.Second           // a write that failed
	sayAgain       = 30 * time.Second      // that it still fails
)

// Options make a Writer.
type Options struct {
	Waiting int // records that wait to be written at most; 8192 when 0
	Log     *zap.Logger
}

// Stats is what a Writer has done.
type Stats struct {
	Written uint64 // records
	Dropped uint64 // records that were not, for want of room or because the file could not be written until the end
	Errors  uint64 // times that the file could not be opened or written
}

// Writer writes records while it has a file. All methods are safe for concurrent use.
type Writer struct {
	log     *zap.Logger
	records chan *Record
	turned  chan struct{} // something of what mu guards is new
	on      atomic.Bool

	mu     sync.Mutex
	next   *File // to be written to from now on
	reopen bool

	written, dropped, errors atomic.Uint64

	// Of Run's goroutine.
	file *File
	buf  bytes.Buffer // whole lines, but for the rest of one that was written in part
	part bool         // the file ends within a line, and buf begins there
	said time.Time    // when a failure was logged
}

// File is one that is open to be appended to; without a path, none.
type File struct {
	path string
	f    *os.File
}

// Open opens, or makes, the file at path; "" stands for none.
func Open(path string) (*File, error) {
	if path == "" {
		return &File{}, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open the file of call records: %w", err)
	}
	return &File{path, f}, nil
}

// Close closes the file.
func (f *File) Close() {
	if f != nil && f.f != nil {
		_ = f.f.Close() // nothing is buffered
	}
}

// New makes a Writer without a file.
func New(o Options) *Writer {
	if o.Waiting == 0 {
		o.Waiting = defaultWaiting
	}
	return &Writer{log: o.Log, records: make(chan *Record, o.Waiting), turned: make(chan struct{}, 1), file: &File{}}
}

// Use has the records of calls that end from now on go to f, which is the Writer's from here on. What waits is written to
// the file before.
func (w *Writer) Use(f *File) {
	w.mu.Lock()
	w.next.Close() // never used
	w.next = f
	w.mu.Unlock()
	w.on.Store(f.f != nil)
	w.turn()
}

// Reopen opens the file anew under its path, after it was renamed. Where that fails, the one that is open is written on.
func (w *Writer) Reopen() {
	w.mu.Lock()
	w.reopen = true
	w.mu.Unlock()
	w.turn()
}

func (w *Writer) turn() {
	select {
	case w.turned <- struct{}{}:
	default:
	}
}

// On reports whether records are written.
func (w *Writer) On() bool { return w.on.Load() }

// Write has r written soon; r is the Writer's from here on. Without room for it, it is dropped and counted.
func (w *Writer) Write(r *Record) {
	select {
	case w.records <- r:
	default:
		w.dropped.Add(1)
	}
}

// Stats are the counts so far.
func (w *Writer) Stats() Stats {
	return Stats{Written: w.written.Load(), Dropped: w.dropped.Load(), Errors: w.errors.Load()}
}

// Run writes until ctx ends, and then what still waits.
func (w *Writer) Run(ctx context.Context) error {
	retry, gathered := time.NewTicker(retryAfter), time.NewTimer(gather)
	defer retry.Stop()
	defer gathered.Stop()
	for {
		in := w.records
		if w.buf.Len() > 0 { // gathering, or it failed: what comes meanwhile waits in the channel, which is bounded
			in = nil
		}
		select {
		case r := <-in:
			if w.file.f == nil { // the file that r is for may have come just before it
				w.change()
			}
			w.encode(r)
			if len(w.records) < cap(w.records)/8 {
				gathered.Reset(gather)
				continue
			}
			w.take()
			w.flush()
		case <-gathered.C:
			w.take()
			w.flush()
		case <-w.turned:
			w.change()
		case <-retry.C:
			w.flush()
		case <-ctx.Done():
			w.end()
			return nil
		}
	}
}

// encode appends r to buf.
func (w *Writer) encode(r *Record) {
	at := w.buf.Len()
	if err := json.NewEncoder(&w.buf).Encode(r); err != nil { // no Record has a value that JSON cannot have
		w.buf.Truncate(at)
		w.dropped.Add(1)
	}
}

// take encodes what waits, as far as a batch goes.
func (w *Writer) take() {
	for w.buf.Len() < batch {
		select {
		case r := <-w.records:
			w.encode(r)
		default:
			return
		}
	}
}

// flush writes what is encoded. What cannot be written stays, from the byte on that was not.
func (w *Writer) flush() {
	if w.buf.Len() == 0 {
		return
	}
	if w.file.f == nil {
		w.discard()
		return
	}
	b := w.buf.Bytes()
	n, err := w.file.f.Write(b)
	w.written.Add(uint64(bytes.Count(b[:n], []byte("\n"))))
	if n > 0 {
		w.part = b[n-1] != '\n'
	}
	w.buf.Next(n)
	if err != nil {
		w.failed("write the file of call records", err)
	}
}

func (w *Writer) failed(doing string, err error) {
	w.errors.Add(1)
	if now := time.Now(); now.Sub(w.said) >= sayAgain {
		w.said = now
		w.log.Error(doing, zap.Error(err))
	}
}

// discard counts what is encoded as lost.
func (w *Writer) discard() {
	w.dropped.Add(uint64(bytes.Count(w.buf.Bytes(), []byte("\n"))))
	w.buf.Reset()
	w.part = false
}

// drain writes what waits, until a write fails.
func (w *Writer) drain() {
	for {
		w.flush()
		if w.buf.Len() > 0 {
			return // it fails
		}
		if w.take(); w.buf.Len() == 0 {
			return
		}
	}
}

// change goes over to another file, or opens the same anew.
func (w *Writer) change() {
	w.mu.Lock()
	next, reopen := w.next, w.reopen
	w.next, w.reopen = nil, false
	w.mu.Unlock()
	switch {
	case next != nil && w.file.f == nil: // what waits came after it
	case next != nil:
		w.drain()
	case reopen && w.file.f != nil:
		var err error
		if next, err = Open(w.file.path); err != nil {
			w.failed("the file of call records stays as it is", err)
			return
		}
		w.flush() // the rest of a line goes where it began
	default:
		return
	}
	if w.part { // and if it cannot, the new file must not begin with it
		_, _ = w.buf.ReadBytes('\n')
		w.dropped.Add(1)
		w.part = false
	}
	w.file.Close()
	w.file = next
	w.flush()
}

// end writes what waits for as long as that succeeds.
func (w *Writer) end() {
	w.change()
	w.drain()
	before := w.dropped.Load()
	w.discard()
	for len(w.records) > 0 {
		<-w.records
		w.dropped.Add(1)
	}
	if n := w.dropped.Load() - before; n > 0 {
		w.log.Error("call records are lost", zap.Uint64("records", n))
	}
	w.file.Close()
}
