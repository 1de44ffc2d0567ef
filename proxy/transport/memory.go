package transport

import "sync/atomic"

// ledger counts the bytes that the connections' buffers take together, and
// holds them to a limit.
type ledger struct {
	limit int64
	used  atomic.Int64
}

// take counts n bytes more, or says that there are too many. A negative n gives
// bytes back, which always is possible.
func (l *ledger) take(n int) bool {
	if l.used.Add(int64(n)) <= l.limit || n <= 0 {
		return true
	}
	l.used.Add(-int64(n))
	return false
}

func (l *ledger) give(n int) { l.used.Add(-int64(n)) }
