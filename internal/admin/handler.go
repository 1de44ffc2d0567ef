package admin

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/pprof"

	"go.uber.org/zap"

	"mrcproxy/internal/api"
)

// handler routes what o has. Profiles end when stopping does.
func (o Options) handler(stopping context.Context) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /-/ready", o.ready)
	if o.Metrics != nil {
		mux.Handle("GET /metrics", o.Metrics)
	}
	if o.Daemon != nil {
		for pattern, h := range o.endpoints() {
			mux.HandleFunc(pattern, h)
		}
		mux.HandleFunc("GET /api/v1/events", o.events(stopping))
		mux.Handle("GET /api/v1/trace", o.traces(stopping))
		statusPage(mux)
	}
	if o.Probe != nil {
		mux.Handle("GET /probe", sameSite(o.Probe))
	}
	if o.Pprof {
		profiles(stopping, mux)
	}
	if o.Reload != nil { // other methods get 405 from the mux
		mux.HandleFunc("POST /-/reload", o.reload)
		mux.HandleFunc("PUT /-/reload", o.reload)
	}
	// A web page elsewhere, open in an operator's browser, must not be able to change anything here.
	return http.NewCrossOriginProtection().Handler(mux)
}

// sameSite refuses what a web page elsewhere asks for, of a GET that does something.
func sameSite(next http.HandlerFunc) http.Handler {
	protection := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asPost := r.WithContext(r.Context())
		asPost.Method = http.MethodPost // a GET would be taken for harmless
		if err := protection.Check(asPost); err != nil {
			text(w, http.StatusForbidden, err.Error())
			return
		}
		next.ServeHTTP(w, r)
	})
}

// enter takes one of the places in room for an answer that goes on, until leave is called; without one, it answers so.
func (o Options) enter(w http.ResponseWriter, room chan struct{}, what string) (leave func(), ok bool) {
	select {
	case room <- struct{}{}:
		return func() { <-room }, true
	default:
		o.fail(w, &api.Error{Status: http.StatusServiceUnavailable, Message: fmt.Sprintf("%d %s are open, no more are served", cap(room), what)})
		return nil, false
	}
}

// either ends when one of them does, or cancel is called.
func either(one, other context.Context) (both context.Context, cancel context.CancelFunc) {
	both, end := context.WithCancel(one)
	stop := context.AfterFunc(other, end)
	return both, func() { stop(); end() }
}

func (o Options) ready(w http.ResponseWriter, _ *http.Request) {
	if o.Ready != nil {
		if ok, why := o.Ready(); !ok {
			text(w, http.StatusServiceUnavailable, why)
			return
		}
	}
	text(w, http.StatusOK, "ready")
}

func (o Options) reload(w http.ResponseWriter, r *http.Request) {
	o.Log.Info("reload asked for", zap.String("by", by(r, "")))
	// The client's going away must not leave a reload half done.
	if err := o.Reload(context.WithoutCancel(r.Context())); err != nil {
		text(w, http.StatusInternalServerError, "reload failed: "+err.Error())
		return
	}
	text(w, http.StatusOK, "reloaded")
}

// text answers with one line, or several.
func text(w http.ResponseWriter, code int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, line+"\n") // the client has gone: nothing to do
}

// profiles serves net/http/pprof on mux, rather than on the default one.
func profiles(stopping context.Context, mux *http.ServeMux) {
	for path, h := range map[string]http.HandlerFunc{
		"/debug/pprof/":        pprof.Index,
		"/debug/pprof/cmdline": pprof.Cmdline,
		"/debug/pprof/profile": pprof.Profile,
		"/debug/pprof/symbol":  pprof.Symbol,
		"/debug/pprof/trace":   pprof.Trace,
	} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := either(r.Context(), stopping)
			defer cancel()
			h(w, r.WithContext(ctx))
		})
	}
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
}
