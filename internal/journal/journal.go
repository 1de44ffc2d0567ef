// Package journal keeps the sessions of a table in a file, so that a process that was killed finds them again when it is
// started: their leases, when they expire, and what their log line tells. It owns the file. It is no log of events: what
// began and ended between two flushes is never written, and what ended is struck out. A file that cannot be used costs
// the counts of the sessions in it and nothing else: it never stops a start, and a call never waits for it.
package journal

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"go.uber.org/zap"

	"mrcproxy/balancer"
	"mrcproxy/internal/session"
)

// Servers are where sessions are. *balancer.Balancer is one.
type Servers interface {
	Lookup(id uint32) *balancer.Backend
	Adopt(b *balancer.Backend, resources ...string) *balancer.Lease
	Recall(cluster, idc string, s balancer.BackendSpec, resources ...string) *balancer.Lease
}

// Options make a Journal.
type Options struct {
	Path    string
	Table   *session.Table // made with Journaled
	Servers Servers
	Log     *zap.Logger
}

// every is how often what has changed is written: a crash loses no more.
const every = 500 * time.Millisecond

// again is how long a file that could not be used is left alone: everything is written then.
const again = 5 * time.Second

// Journal writes down what its table has. Open and Run are for one goroutine at a time.
type Journal struct {
	o     Options
	db    *bbolt.DB       // nil: not open
	old   *bbolt.DB       // what was found, until there is a new one
	known map[uint32]bool // servers that are written
	pause time.Time       // nothing is written before
	read  bool            // the file of the process before this one is in the table
	whole bool            // the file is not what the table was: the next flush writes everything
	said  string          // the last error that was logged

	mu    sync.Mutex
	stats Stats
}

// Stats are for metrics.
type Stats struct {
	Up       bool   // the last flush, if there was something to write, is on disk
	Bytes    int64  // of the file
	Failures uint64 // flushes and openings that failed
}

// New makes a Journal that has no file yet.
func New(o Options) *Journal {
	return &Journal{o: o, known: map[uint32]bool{}}
}

// Stats are those of now.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.stats
}

// Open takes the sessions in the file into the table. The first flush puts a new file in its place, so that no damage, and no
// more than the sessions need, is carried on. What goes wrong is logged: Run tries again, and what it finds then, in a file that
// another process had, joins the sessions that the table has.
func (j *Journal) Open() {
	start := time.Now()
	old, err := open(j.o.Path)
	var r Restored
	if err == nil && !j.read { // once: what is in it grows stale
		err = guard(func() (err error) {
			r, err = j.restore(old)
			return err
		})
		j.read = err == nil
	}
	if err != nil {
		j.failed("open", err)
		return
	}
	j.old = old
	j.setUp()
	if r != (Restored{}) {
		j.o.Log.Info("sessions restored", zap.Int("sessions", r.Sessions), zap.Int("at_removed_backends", r.Removed), zap.Int("skipped", r.Skipped),
			zap.Duration("took", time.Since(start)))
	}
}

// renew writes a new file and puts it in the place of the old one, which it closes.
func (j *Journal) renew() error {
	defer func() {
		_ = guard(j.old.Close)
		j.old = nil
	}()
	path := j.o.Path + ".new"
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := open(path)
	if err != nil {
		return fmt.Errorf("make a new one: %v", err) //nolint:errorlint // not wrapped: the old one is not to blame
	}
	put, _ := j.o.Table.Changes(true)
	j.whole = true
	err = db.Update(func(tx *bbolt.Tx) error { return j.write(tx, put, nil) })
	if err == nil {
		err = os.Rename(path, j.o.Path)
	}
	if err != nil {
		_ = db.Close()
		return err
	}
	j.db, j.whole, j.said = db, false, ""
	j.setUp()
	return nil
}

// Run writes what changes until ctx ends, and then once more.
func (j *Journal) Run(ctx context.Context) error {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			j.flush()
			db := j.db
			if j.db = nil; db != nil { // another Run, or process, may open it
				return db.Close()
			}
			return nil
		case <-t.C:
			j.flush()
		}
	}
}

// flush writes what has changed since the last one.
func (j *Journal) flush() {
	paused := time.Now().Before(j.pause)
	if j.db == nil && j.old == nil && !paused {
		j.Open()
	}
	if j.old != nil {
		if err := j.renew(); err != nil {
			j.failed("renew", err)
		}
	}
	if j.db == nil || paused {
		j.o.Table.Changes(false)
		j.whole = true // when it can be written
		return
	}
	put, gone := j.o.Table.Changes(j.whole)
	if len(put)+len(gone) == 0 && !j.whole {
		return
	}
	err := guard(func() error {
		return j.db.Update(func(tx *bbolt.Tx) error { return j.write(tx, put, gone) })
	})
	if err != nil {
		j.whole = true
		j.failed("write", err)
		return
	}
	j.whole = false
	j.setUp()
}

func (j *Journal) write(tx *bbolt.Tx, put, gone []*session.Session) error {
	if j.whole {
		clear(j.known)
		for _, name := range [][]byte{sessionsBucket, serversBucket} {
			if err := tx.DeleteBucket(name); err != nil && !errors.Is(err, bolterrors.ErrBucketNotFound) {
				return err
			}
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
	}
	sessions, servers, now := tx.Bucket(sessionsBucket), tx.Bucket(serversBucket), time.Now()
	sessions.FillPercent = 0.9 // records come in nearly the order of their keys
	// In that order: bbolt moves all that stands behind a key that it inserts, and a start inserts all there are.
	slices.SortFunc(put, func(a, b *session.Session) int {
		if c := cmp.Compare(a.Start.UnixMilli(), b.Start.UnixMilli()); c != 0 {
			return c
		}
		return cmp.Compare(a.Key(), b.Key())
	})
	var key [keyLen]byte
	for _, s := range put {
		b := s.Backend()
		if !j.known[b.ID()] {
			text, err := json.Marshal(serverOf(b))
			if err == nil {
				err = servers.Put(serverKey(b.ID()), text)
			}
			if err != nil {
				return err
			}
			j.known[b.ID()] = true
		}
		if err := sessions.Put(appendKey(key[:0], s), appendRecord(nil, s, now)); err != nil {
			return err
		}
	}
	for _, s := range gone {
		if err := sessions.Delete(appendKey(key[:0], s)); err != nil {
			return err
		}
	}
	return nil
}

// failed takes an error of the file: a damaged one is set aside, and everything written anew.
func (j *Journal) failed(doing string, err error) {
	j.mu.Lock()
	j.stats.Up = false
	j.stats.Failures++
	j.mu.Unlock()
	fields := []zap.Field{zap.String("doing", doing), zap.String("file", j.o.Path), zap.Error(err)}
	if errors.As(err, &errDamaged{}) {
		j.db, j.whole = nil, true // not closed: that may block on what the damage has left locked
		to, err := setAside(j.o.Path)
		if err == nil {
			j.o.Log.Error("the journal is damaged: a new one is begun, sessions that were only in it are not counted", append(fields, zap.String("kept_as", to))...)
			return
		}
		fields = append(fields, zap.NamedError("set_aside", err))
	}
	if !errors.Is(err, errLocked) {
		j.pause = time.Now().Add(again)
	}
	if text := err.Error(); text != j.said {
		j.said = text
		j.o.Log.Warn("the journal cannot be used, it is tried again: a restart would not find the sessions", fields...)
	}
}

func (j *Journal) setUp() {
	size := int64(0)
	if j.db != nil {
		_ = j.db.View(func(tx *bbolt.Tx) error {
			size = tx.Size()
			return nil
		})
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stats.Up, j.stats.Bytes = true, size
}
