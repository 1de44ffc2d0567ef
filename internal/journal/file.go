package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// The buckets. A record that is read in another way than before needs another name for them.
var (
	sessionsBucket = []byte("sessions 1")
	serversBucket  = []byte("servers 1") // by the identity that records have of them
)

// addressSpace is mapped for a file, however small: bbolt copies what it is about to write whenever a file outgrows its map.
const addressSpace = 128 << 20

// lockWait is how long an attempt to open the file waits for another process to leave it.
const lockWait = 100 * time.Millisecond

// open opens a file, or makes it. errLocked: another process has it. errDamaged: it is none of ours.
func open(path string) (db *bbolt.DB, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	err = guard(func() (err error) {
		// The list of free pages is kept in the file: to find them anew bbolt walks the whole file, in a goroutine of its own
		// where a damaged page would end the process.
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockWait, FreelistType: bbolt.FreelistMapType, InitialMmapSize: addressSpace})
		return err
	})
	var sys syscall.Errno
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, errLocked
	case err == nil, errors.As(err, &sys), errors.As(err, &errDamaged{}): // Errno: the disk, the rights
		return db, err
	}
	return nil, errDamaged{err}
}

var errLocked = errors.New("another process has it open")

// errDamaged is what is found in a file that is not one of ours any more.
type errDamaged struct{ what any }

func (e errDamaged) Error() string { return fmt.Sprint("damaged: ", e.what) }

// guard runs f, in which bbolt may meet a damaged file: it panics then, or reads beyond the end of a file that was cut off.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = errDamaged{r}
		}
	}()
	return f()
}

// setAside moves a damaged file out of the way, for whoever wants to look at it.
func setAside(path string) (to string, err error) {
	to = path + ".damaged"
	return to, os.Rename(path, to)
}
