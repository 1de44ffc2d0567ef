package handover

import (
	"context"
	"sync/atomic"
)

// outbox is what waits to be written to the other process, so that nobody who has something for it waits.
type outbox struct {
	packets chan packet
	lost    atomic.Uint64
}

type packet struct {
	kind    kind
	content []byte
}

// room is far more than a successor's first seconds can bring: what a process still waits for.
const room = 1 << 14

func newOutbox() *outbox { return &outbox{packets: make(chan packet, room)} }

func (o *outbox) put(k kind, content []byte) bool {
	select {
	case o.packets <- packet{k, content}:
		return true
	default:
		o.lost.Add(1)
		return false
	}
}

// run writes until ctx ends or the link does.
func (o *outbox) run(ctx context.Context, l *link) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case p := <-o.packets:
			if err := l.write(p.kind, p.content); err != nil {
				return err
			}
		}
	}
}
