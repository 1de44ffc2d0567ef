package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"mrcproxy/internal/api"
)

const (
	maxStreams = 64               // served at a time
	loadEvery  = 2 * time.Second  // between two events of type load
	beatEvery  = 15 * time.Second // a stream is never silent for longer
	sendLimit  = 10 * time.Second // a client that takes nothing for so long is cut off
)

// events answers with what happened as a list, or goes on as server-sent events where the client asks for those.
func (o Options) events(stopping context.Context) http.HandlerFunc {
	room := make(chan struct{}, maxStreams)
	return func(w http.ResponseWriter, r *http.Request) {
		after, given, err := afterOf(r)
		if err != nil {
			o.fail(w, err)
			return
		}
		if !strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
			o.json(w, orNone(o.Events.Since(after)))
			return
		}
		load, err := flag(r, "load")
		if err != nil {
			o.fail(w, err)
			return
		}
		leave, ok := o.enter(w, room, "streams of events")
		if !ok {
			return
		}
		defer leave()
		ctx, cancel := either(r.Context(), stopping)
		defer cancel()
		s := &stream{w: w, control: http.NewResponseController(w), events: o.Events, after: after}
		if !given { // from now on
			if all := o.Events.Since(0); len(all) > 0 {
				s.after = all[len(all)-1].ID
			}
		}
		if load {
			s.loads = o.Daemon.Loads
		}
		s.run(ctx)
	}
}

func orNone(l []api.Event) []api.Event {
	if l == nil {
		return []api.Event{}
	}
	return l
}

// afterOf is the number of the last event that the client has: as a browser says it when it connects again, or as asked for.
func afterOf(r *http.Request) (id uint64, given bool, err error) {
	text := r.Header.Get("Last-Event-ID")
	if text == "" {
		text = r.FormValue("after")
	}
	if text == "" {
		return 0, false, nil
	}
	if id, err = strconv.ParseUint(text, 10, 64); err != nil {
		return 0, false, badRequest("after must be the number of an event, not %q", text)
	}
	return id, true, nil
}

// stream is one client's server-sent events.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	events  Events
	after   uint64
	loads   func() map[string]int // nil: not asked for
	last    map[string]int
}

// run writes until ctx ends or the client is gone.
func (s *stream) run(ctx context.Context) {
	s.w.Header().Set("Content-Type", "text/event-stream")
	s.w.Header().Set("Cache-Control", "no-store")
	s.w.Header().Set("X-Accel-Buffering", "no") // nginx must not collect it
	news, cancel := s.events.Watch()
	defer cancel()
	beat, load := time.NewTicker(beatEvery), time.NewTicker(loadEvery)
	defer beat.Stop()
	defer load.Stop()
	write := s.more
	for {
		_ = s.control.SetWriteDeadline(time.Now().Add(sendLimit)) // a writer without deadlines: the server's holds
		if write() != nil || s.control.Flush() != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-news:
			write = s.more
		case <-load.C:
			write = s.load
		case <-beat.C:
			write = func() error { return s.text(": still here\n\n") }
		}
	}
}

// more writes the events that the client does not have.
func (s *stream) more() error {
	for _, e := range s.events.Since(s.after) {
		if err := s.event(fmt.Sprintf("id: %d\n", e.ID), e.Type, e); err != nil {
			return err
		}
		s.after = e.ID
	}
	return nil
}

// load writes the sessions of the backends whose number has changed.
func (s *stream) load() error {
	if s.loads == nil {
		return nil
	}
	now := s.loads()
	changed := map[string]int{}
	for id, n := range now {
		if before, ok := s.last[id]; !ok || before != n {
			changed[id] = n
		}
	}
	s.last = now
	if len(changed) == 0 {
		return nil
	}
	return s.event("", "load", changed)
}

func (s *stream) event(id, name string, data any) error {
	b, err := json.Marshal(data)
	if err != nil {
		return err
	}
	return s.text(fmt.Sprintf("%sevent: %s\ndata: %s\n\n", id, name, b))
}

func (s *stream) text(t string) error {
	_, err := s.w.Write([]byte(t))
	return err
}
