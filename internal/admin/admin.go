// Package admin is the HTTP listener for operators and Prometheus: metrics, health, readiness, reload, status, and
// profiles on request. It owns its socket and the HTTP server on it. What it serves is handed in: it knows nothing of
// SIP or of the configuration, decides nothing, and keeps no state. It asks for no password: it belongs on an inner
// address.
package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"
)

// Options say what is served. The path of what is nil does not exist, but for Ready. The functions may be called
// concurrently.
type Options struct {
	Listen  string       // "IP:port" or ":port"; port 0 lets the kernel choose
	Metrics http.Handler // GET /metrics
	// Ready reports whether sessions can be taken, and if not, why; nil: always.
	Ready func() (bool, string)
	// Reload loads the configuration anew. The text of its error is for the operator who asked.
	Reload func(context.Context) error
	Status func() any // encoded as JSON at GET /api/v1/status
	Pprof  bool       // serve net/http/pprof under /debug/pprof/
	Log    *zap.Logger
}

// A slow client may hold a connection for so long, no longer. A CPU profile or a trace must be shorter than writeTimeout.
const (
	headerTimeout   = 5 * time.Second
	readTimeout     = 15 * time.Second
	writeTimeout    = 2 * time.Minute
	idleTimeout     = 2 * time.Minute
	shutdownTimeout = 5 * time.Second
	maxHeader       = 16 << 10
)

// Server is a bound listener; Run serves it.
type Server struct {
	ln    net.Listener
	http  *http.Server
	log   *zap.Logger
	grace time.Duration // for requests in progress at the end
}

// Listen binds the address. Serve it with Run, or give it up with Close.
func Listen(o Options) (*Server, error) {
	if o.Listen == "" {
		return nil, errors.New("admin: no address to listen on")
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	errorLog, err := zap.NewStdLogAt(o.Log, zap.WarnLevel)
	if err != nil {
		return nil, fmt.Errorf("admin: log: %w", err)
	}
	ln, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	stopping, stop := context.WithCancel(context.Background())
	s := &Server{ln: ln, log: o.Log, grace: shutdownTimeout, http: &http.Server{
		Handler:           o.handler(stopping),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          errorLog,
	}}
	s.http.RegisterOnShutdown(stop)
	return s, nil
}

// Addr is the address bound.
func (s *Server) Addr() net.Addr { return s.ln.Addr() }

// Close gives up a server that Run is not called for.
func (s *Server) Close() error { return s.ln.Close() }

// Run serves until ctx ends, then lets requests in progress finish, for 5 s at most, and returns nil; profiles are cut
// short. It returns an error when it can serve no longer. Call it once.
func (s *Server) Run(ctx context.Context) error {
	s.log.Info("admin listens", zap.Stringer("address", s.Addr()))
	failed := make(chan error, 1)
	go func() { failed <- s.http.Serve(s.ln) }()
	select {
	case err := <-failed:
		_ = s.http.Close() // it has failed already
		return fmt.Errorf("admin: %w", err)
	case <-ctx.Done():
	}
	// Not of ctx, which has ended.
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.grace)
	defer cancel()
	if err := s.http.Shutdown(late); err != nil {
		s.log.Warn("admin requests cut off", zap.Error(err))
		_ = s.http.Close() // cuts what is left; nothing more can be done about an error
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin: %w", err)
	}
	return nil
}
