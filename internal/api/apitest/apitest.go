// Package apitest holds requests and answers of the API against docs/openapi.yaml, for tests. It is no part of the daemon.
package apitest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// Spec is the document.
type Spec struct {
	Doc    *openapi3.T
	router routers.Router

	mu   sync.Mutex
	seen map[string]bool
}

// Load reads and checks docs/openapi.yaml, wherever the test runs.
func Load() (*Spec, error) {
	_, here, _, _ := runtime.Caller(0)
	text, err := os.ReadFile(filepath.Join(filepath.Dir(here), "../../../docs/openapi.yaml"))
	if err != nil {
		return nil, err
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		return nil, err
	}
	if err := doc.Validate(context.Background()); err != nil {
		return nil, err
	}
	openapi3filter.RegisterBodyDecoder("message/sip", openapi3filter.PlainBodyDecoder)
	doc.Servers = nil // wherever the test serves it
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		return nil, err
	}
	return &Spec{Doc: doc, router: router, seen: map[string]bool{}}, nil
}

// Seen are the operations that were asked for with success, by method and path.
func (s *Spec) Seen() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// Transport is an http.RoundTripper that fails for a request or an answer under /api/ that the document does not allow.
type Transport struct {
	*Spec
	Next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasPrefix(r.URL.Path, "/api/") {
		return t.Next.RoundTrip(r)
	}
	route, params, err := t.router.FindRoute(r)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.Method, r.URL.Path, err)
	}
	body := []byte(nil)
	if r.Body != nil {
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	in := &openapi3filter.RequestValidationInput{
		Request: r, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	wrong := openapi3filter.ValidateRequest(r.Context(), in)
	r.Body = io.NopCloser(bytes.NewReader(body))
	resp, err := t.Next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if wrong != nil && resp.StatusCode < 300 { // a bad request may well be made to see it refused
		return nil, fmt.Errorf("%s %s was answered %d though it is not as documented: %w", r.Method, r.URL, resp.StatusCode, wrong)
	}
	if resp.StatusCode < 300 {
		t.mu.Lock()
		t.seen[r.Method+" "+route.Path] = true
		t.mu.Unlock()
	}
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		return resp, nil
	}
	answer, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(answer))
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: resp.StatusCode, Header: resp.Header, Body: io.NopCloser(bytes.NewReader(answer)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true}}
	if err := openapi3filter.ValidateResponse(r.Context(), out); err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", r.Method, r.URL, err, answer)
	}
	return resp, nil
}
