package admin

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"mrcproxy/internal/api"
	"mrcproxy/internal/trace"
)

const maxTraces = 16 // served at a time

// traces answers with SIP messages as they come and go, until the client leaves, its time is over or it has as many as it wants.
func (o Options) traces(stopping context.Context) http.Handler {
	room := make(chan struct{}, maxTraces)
	return sameSite(func(w http.ResponseWriter, r *http.Request) {
		v, err := viewerOf(r)
		if err != nil {
			o.fail(w, err)
			return
		}
		leave, ok := o.enter(w, room, "traces")
		if !ok {
			return
		}
		defer leave()
		q := api.TraceQuery{CallID: r.FormValue("call_id"), Backend: r.FormValue("backend")}
		if v.messages, err = o.Daemon.Trace(q); err != nil {
			o.fail(w, err)
			return
		}
		defer v.messages.Close()
		fields := []zap.Field{zap.String("by", by(r, r.FormValue("by"))), zap.String("call_id", printable(q.CallID)), zap.String("backend", printable(q.Backend)), zap.String("format", v.format)}
		o.Log.Info("trace begins", fields...)
		ctx, cancel := either(r.Context(), stopping)
		defer cancel()
		v.serve(ctx, w)
		o.Log.Info("trace ends", append(fields, zap.Int("messages", v.written), zap.Uint64("dropped", v.messages.Dropped()))...)
	})
}

// viewer is one client's trace.
type viewer struct {
	messages *trace.Watcher
	format   string
	lasts    time.Duration // 0: until the client leaves
	count    int           // messages; 0: any number
	written  int
}

func viewerOf(r *http.Request) (*viewer, error) {
	v := &viewer{format: r.FormValue("format")}
	switch v.format {
	case "":
		v.format = "text"
	case "text", "pcap":
	default:
		return nil, badRequest("format must be text or pcap, not %q", v.format)
	}
	var err error
	if text := r.FormValue("for"); text != "" {
		if v.lasts, err = time.ParseDuration(text); err != nil || v.lasts <= 0 {
			return nil, badRequest("for must be a duration such as 30s, not %q", text)
		}
	}
	if text := r.FormValue("count"); text != "" {
		if v.count, err = strconv.Atoi(text); err != nil || v.count < 1 {
			return nil, badRequest("count must be 1 or more, not %q", text)
		}
	}
	return v, nil
}

// serve writes messages until there is an end. How many there were, and how many found no room, stands in the trailers.
func (v *viewer) serve(ctx context.Context, w http.ResponseWriter) {
	h := w.Header()
	h.Set("Trailer", api.TraceMessages+", "+api.TraceDropped)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Accel-Buffering", "no") // nginx must not collect it
	defer func() {
		h.Set(api.TraceMessages, strconv.Itoa(v.written))
		h.Set(api.TraceDropped, strconv.FormatUint(v.messages.Dropped(), 10))
	}()
	control := http.NewResponseController(w)
	limit := func() { _ = control.SetWriteDeadline(time.Now().Add(sendLimit)) }
	limit()
	write := trace.NewText(w).Write
	if v.format == "pcap" {
		h.Set("Content-Type", trace.PcapType)
		p := trace.NewPcap(w)
		if p.Begin() != nil {
			return
		}
		write = p.Write
	} else {
		h.Set("Content-Type", "text/plain; charset=utf-8")
	}
	var over <-chan time.Time
	if v.lasts > 0 {
		over = time.After(v.lasts)
	}
	for control.Flush() == nil {
		_ = control.SetWriteDeadline(time.Time{}) // while there is nothing to write: HTTP/2 ends a stream whose time is over
		select {
		case <-ctx.Done():
			return
		case <-over:
			return
		case m := <-v.messages.C():
			limit()
			if !v.take(m, write) {
				return
			}
		}
	}
}

// take writes a message and those that wait behind it, but not what comes meanwhile, so that a flood does not outlast the end; false:
// it is the end.
func (v *viewer) take(m *trace.Message, write func(*trace.Message) error) bool {
	for behind := len(v.messages.C()); ; behind-- {
		v.messages.Taken(m)
		if write(m) != nil {
			return false
		}
		if v.written++; v.written == v.count {
			return false
		}
		if behind == 0 {
			return true
		}
		m = <-v.messages.C()
	}
}
