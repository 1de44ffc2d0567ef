package admin

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"mrcproxy/internal/api"
	"mrcproxy/internal/recent"
	"mrcproxy/internal/trace"
)

func show(h *trace.Hub, text string) {
	a := netip.MustParseAddrPort("10.0.0.1:5060")
	h.Show(trace.Packet{Local: a, Remote: a}, []byte(text))
}

// watch begins a trace, which is there when it returns.
func watch(ctx context.Context, t *testing.T, url string, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// TestTrace: several watch at once, each until it has enough, or the server ends; the log says who.
func TestTrace(t *testing.T) {
	core, logs := observer.New(zapcore.InfoLevel)
	d := &fake{traces: trace.New(func(bool) {})}
	r := run(t, Options{Daemon: d, Events: recent.New(noon), Log: zap.New(core)})
	two := watch(t.Context(), t, r.base+"/api/v1/trace?count=2&by=eve")
	file := watch(t.Context(), t, r.base+"/api/v1/trace?count=1&format=pcap")
	endless := watch(t.Context(), t, r.base+"/api/v1/trace")
	for _, text := range []string{"one", "two", "three"} {
		show(d.traces, text)
	}
	if b, err := io.ReadAll(two.Body); err != nil || !strings.Contains(string(b), "\none\n") || !strings.HasSuffix(string(b), "\ntwo\n\n") {
		t.Errorf("%v %q", err, b)
	}
	if two.Trailer.Get(api.TraceMessages) != "2" || two.Trailer.Get(api.TraceDropped) != "0" || two.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("%v %v", two.Header, two.Trailer)
	}
	if b, err := io.ReadAll(file.Body); err != nil || !strings.HasPrefix(string(b), "\xa1\xb2\xc3\xd4") || !strings.HasSuffix(string(b), "one") || file.Header.Get("Content-Type") != trace.PcapType {
		t.Errorf("%v %q %s", err, b, file.Header.Get("Content-Type"))
	}
	lines := bufio.NewReader(endless.Body)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "three\n" {
			break
		}
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadAll(lines); err != nil {
		t.Errorf("the end of the server: %v", err)
	}
	begun := logs.FilterMessage("trace begins").All()
	if len(begun) != 3 || begun[0].ContextMap()["by"] != "eve at 127.0.0.1" {
		t.Errorf("logged: %v", begun)
	}
	for _, e := range logs.FilterMessage("trace ends").All() {
		if e.ContextMap()["by"] == "eve at 127.0.0.1" && e.ContextMap()["messages"] != int64(2) {
			t.Errorf("logged: %v", e)
		}
	}
}

// TestTraceRefused: to a page elsewhere, and when there are too many.
func TestTraceRefused(t *testing.T) {
	_, _, r, _ := serveAPI(t)
	if resp := watch(t.Context(), t, r.base+"/api/v1/trace", "Sec-Fetch-Site", "cross-site"); resp.StatusCode != 403 {
		t.Errorf("from elsewhere: %d", resp.StatusCode)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range maxTraces {
		if resp := watch(ctx, t, r.base+"/api/v1/trace"); resp.StatusCode != 200 {
			t.Fatal(resp.StatusCode)
		}
	}
	if resp := watch(ctx, t, r.base+"/api/v1/trace"); resp.StatusCode != 503 {
		t.Errorf("one too many: %d", resp.StatusCode)
	}
}

// TestTraceFlood: one whose messages come faster than they are written looks up from them all the same, to see whether it is over.
func TestTraceFlood(t *testing.T) {
	h := trace.New(func(bool) {})
	v := &viewer{messages: h.Watch(trace.Filter{}, 10, 1<<20)}
	defer v.messages.Close()
	show(h, "first")
	show(h, "second")
	more := v.take(<-v.messages.C(), func(*trace.Message) error {
		if show(h, "another"); v.written > 10 {
			return errors.New("without an end")
		}
		return nil
	})
	if !more || v.written != 2 {
		t.Errorf("%d written, goes on: %v", v.written, more)
	}
}

// idle is a ResponseWriter that says when it has no deadline.
type idle struct {
	*httptest.ResponseRecorder
	free chan struct{}
}

func (i idle) SetWriteDeadline(at time.Time) error {
	if at.IsZero() {
		i.free <- struct{}{}
	}
	return nil
}

// TestTraceIdle: while there is nothing to write there is no time to write it in, which HTTP/2 would end the stream for.
func TestTraceIdle(t *testing.T) {
	h := trace.New(func(bool) {})
	v := &viewer{format: "text", messages: h.Watch(trace.Filter{}, 10, 1<<20)}
	defer v.messages.Close()
	ctx, cancel := context.WithCancel(t.Context())
	w, done := idle{httptest.NewRecorder(), make(chan struct{})}, make(chan struct{})
	go func() { defer close(done); v.serve(ctx, w) }()
	<-w.free
	show(h, "one")
	<-w.free
	cancel()
	<-done
	if !strings.HasSuffix(w.Body.String(), "\none\n\n") {
		t.Errorf("%q", w.Body)
	}
}
