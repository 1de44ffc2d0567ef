package admin

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"mrcproxy/internal/api"
	"mrcproxy/internal/recent"
)

// TestGraceful: a reload in progress is finished, and answered, before Run returns; new connections are refused.
func TestGraceful(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	r := run(t, Options{Reload: func(ctx context.Context) error {
		close(begun)
		<-finish
		return ctx.Err()
	}})
	answered := make(chan answer, 1)
	go func() { answered <- r.ask(t, "POST", "/-/reload") }()
	<-begun
	ended := make(chan error, 1)
	go func() { ended <- r.stop() }()
	for refused := false; !refused; { // the listener is closed first
		conn, err := net.Dial("tcp", strings.TrimPrefix(r.base, "http://"))
		if refused = err != nil; !refused {
			_ = conn.Close()
		}
	}
	select {
	case err := <-ended:
		t.Fatalf("Run returned with a request in progress: %v", err)
	default:
	}
	close(finish)
	if a := <-answered; a.code != 200 {
		t.Errorf("%d %q", a.code, a.body)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestClientGone: a reload runs to its end when its client does not wait.
func TestClientGone(t *testing.T) {
	begun, finish, result := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	r := run(t, Options{Reload: func(ctx context.Context) error {
		close(begun)
		<-finish
		result <- ctx.Err()
		return nil
	}})
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.base+"/-/reload", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	go func() { <-begun; cancel() }()
	if res, err := client.Do(req); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want cancelled", err)
		if err == nil {
			_ = res.Body.Close()
		}
	}
	close(finish)
	if err := <-result; err != nil {
		t.Errorf("the reload's context ended: %v", err)
	}
}

// TestProfileEndsWithRun: a profile of a minute does not hold up the end.
func TestProfileEndsWithRun(t *testing.T) {
	r := run(t, Options{Pprof: true})
	started := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		res, err := client.Get(r.base + "/debug/pprof/trace?seconds=60") // its header comes as it begins
		close(started)
		if err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
	}()
	<-started
	begin := time.Now()
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	<-done
	if took := time.Since(begin); took > shutdownTimeout-time.Second {
		t.Errorf("it took %v", took)
	}
}

// TestSilentClient: a request that does not come to its end does not hold up Run's for longer than the grace.
func TestSilentClient(t *testing.T) {
	core, logs := observer.New(zapcore.WarnLevel)
	s, err := Listen(Options{Listen: "127.0.0.1:0", Log: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	s.grace = 10 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /-/healthy HTTP/1.1\r\n"); err != nil {
		t.Fatal(err)
	}
	running{base: "http://" + s.Addr().String()}.ask(t, "GET", "/-/healthy") // so the connection before it has been accepted
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if logs.FilterMessage("admin requests cut off").Len() != 1 {
		t.Errorf("logged: %v", logs.All())
	}
}

// TestServeFails: Run says so when its listener is lost.
func TestServeFails(t *testing.T) {
	s, err := Listen(Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); err == nil {
		t.Error("no error")
	}
}

// TestPanic: a handler's panic is logged and ends nothing.
func TestPanic(t *testing.T) {
	core, logs := observer.New(zapcore.WarnLevel)
	r := run(t, Options{Daemon: &fake{status: func() api.Status { panic("a flaw") }}, Events: recent.New(time.Now()), Log: zap.New(core)})
	res, err := client.Get(r.base + "/api/v1/status")
	if err == nil {
		_ = res.Body.Close()
		t.Errorf("%d", res.StatusCode)
	}
	if a := r.ask(t, "GET", "/-/healthy"); a.code != 200 {
		t.Errorf("%d", a.code)
	}
	if logs.FilterMessageSnippet("a flaw").Len() != 1 {
		t.Errorf("logged: %v", logs.All())
	}
}
