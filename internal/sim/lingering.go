package sim

import "time"

// lingering remembers things for a fixed time after they ended, for retransmissions that
// come late (RFC 3261 17.2, Timers I and J). It needs no goroutine: what is too old goes
// when something new comes. Not safe for concurrent use.
type lingering struct {
	keep time.Duration
	fifo []lingerer
}

type lingerer struct {
	until  time.Time
	forget func()
}

// add has forget called some time after keep has passed.
func (l *lingering) add(forget func()) {
	now := time.Now()
	for len(l.fifo) > 0 && now.After(l.fifo[0].until) {
		l.fifo[0].forget()
		l.fifo[0].forget = nil
		l.fifo = l.fifo[1:]
	}
	l.fifo = append(l.fifo, lingerer{now.Add(l.keep), forget})
}

// answers are the finals sent to non-INVITE requests, by transaction.
type answers struct {
	sent map[string][]byte
	old  lingering
}

func newAnswers(keep time.Duration) *answers {
	return &answers{sent: map[string][]byte{}, old: lingering{keep: keep}}
}

func (a *answers) put(key string, raw []byte) {
	a.sent[key] = raw
	a.old.add(func() { delete(a.sent, key) })
}
