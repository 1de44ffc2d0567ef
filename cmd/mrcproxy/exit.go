package main

import (
	"errors"
	"fmt"

	"mrcproxy/internal/api"
)

// The exit codes of all commands; docs/cli.md has them for users.
const (
	exitFailed      = 1 // it failed, or was refused
	exitUsage       = 2 // the command line makes no sense
	exitUnreachable = 3 // the daemon gives no answer
	exitNo          = 4 // it was asked, and the answer is no
)

// errNo is the answer "no" to what was asked, where standard output has the words: nothing went wrong.
var errNo = errors.New("no")

// noError is that answer in words.
type noError string

func (e noError) Error() string { return string(e) }

// Is implements errors.Is.
func (e noError) Is(target error) bool { return target == errNo }

// usageError is a command line that makes no sense.
type usageError struct{ error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exitCode is the exit code that an error of a command stands for.
func exitCode(err error) int {
	var bad usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &bad):
		return exitUsage
	case errors.Is(err, api.ErrUnreachable):
		return exitUnreachable
	case errors.Is(err, errNo):
		return exitNo
	}
	return exitFailed
}

// wordless reports whether an error is a "no" whose words are on standard output already.
func wordless(err error) bool { return err == errNo }
