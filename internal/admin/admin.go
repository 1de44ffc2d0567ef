// Package admin is the HTTP listener for operators and Prometheus: the API, metrics, health, readiness, reload, and
// profiles on request. It owns its socket, the HTTP server on it, and who may ask. What it serves is handed in: it knows
// nothing of SIP or of the configuration, and decides nothing about servers.
package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// Options say what is served. The path of what is nil does not exist, but for Ready. The functions may be called
// concurrently.
type Options struct {
	Listen string // "IP:port" or ":port"; port 0 lets the kernel choose
	// Inherited is a listener that another process opened, used if it has the address that Listen says; nil: there is none. Its
	// owner closes it.
	Inherited *os.File
	Metrics   http.Handler // GET /metrics
	// Ready reports whether sessions can be taken, and if not, why; nil: always.
	Ready func() (bool, string)
	// Reload loads the configuration anew. The text of its error is for the operator who asked.
	Reload func(context.Context) error
	Daemon Daemon           // /api/v1
	Events Events           // /api/v1/events; needed with Daemon
	Probe  http.HandlerFunc // GET /probe
	Pprof  bool             // serve net/http/pprof under /debug/pprof/
	// Token lets a client in, as a bearer token or as a password with any name; nil or "": there is none. It is asked for
	// each request.
	Token func() string
	// WebConfig is a web configuration file (github.com/prometheus/exporter-toolkit) with TLS and users; "" for none.
	WebConfig string
	Log       *zap.Logger
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
	if o.Token == nil {
		o.Token = func() string { return "" }
	}
	var config *webConfig
	if o.WebConfig != "" {
		var err error
		if config, err = loadWebConfig(o.WebConfig); err != nil {
			return nil, err
		}
	}
	secure, err := config.tls()
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	errorLog, err := zap.NewStdLogAt(o.Log, zap.WarnLevel)
	if err != nil {
		return nil, fmt.Errorf("admin: log: %w", err)
	}
	ln, err := o.listen()
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	loopback := isLoopback(ln.Addr())
	if !loopback && o.Token() == "" && !config.users() {
		o.Log.Warn("admin serves nothing but health: on an address that is not loopback it needs admin.token or admin.web_config", zap.Stringer("address", ln.Addr()))
	}
	stopping, stop := context.WithCancel(context.Background())
	s := &Server{ln: ln, log: o.Log, grace: shutdownTimeout, http: &http.Server{
		Handler:           config.headers(&guard{token: o.Token, web: config, loopback: loopback, next: o.handler(stopping)}),
		TLSConfig:         secure,
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

func (o Options) listen() (net.Listener, error) {
	want, err := net.ResolveTCPAddr("tcp", o.Listen)
	if err != nil {
		return nil, err
	}
	if o.Inherited != nil {
		ln, err := net.FileListener(o.Inherited)
		if err != nil {
			return nil, err
		}
		if have, ok := ln.Addr().(*net.TCPAddr); ok && have.Port == want.Port && (have.IP.Equal(want.IP) || have.IP.IsUnspecified() && want.IP == nil) {
			return ln, nil
		}
		_ = ln.Close()
	}
	return net.Listen("tcp", o.Listen)
}

// Socket is the listener's, for another process to take over; nil when it has none to give.
func (s *Server) Socket() syscall.RawConn {
	if tcp, ok := s.ln.(*net.TCPListener); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
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
	go func() {
		if s.http.TLSConfig != nil {
			failed <- s.http.ServeTLS(s.ln, "", "")
			return
		}
		failed <- s.http.Serve(s.ln)
	}()
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
