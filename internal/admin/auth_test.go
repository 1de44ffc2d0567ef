package admin

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"mrcproxy/internal/recent"
)

const token = "a token for the test"

// doors answers 200 behind the guard.
func doors(loopback bool, token string, web *webConfig) http.Handler {
	return &guard{token: func() string { return token }, web: web, loopback: loopback, next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text(w, http.StatusOK, "for "+whoOf(r))
	})}
}

func knock(h http.Handler, path, host string, auth func(*http.Request)) (int, string) {
	r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
	r.Host = host
	if auth != nil {
		auth(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, strings.TrimSpace(w.Body.String())
}

func basic(name, password string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(name, password) }
}

func bearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

func webFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "web.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func hash(t *testing.T, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

func TestGuard(t *testing.T) {
	path := webFile(t, "basic_auth_users: {eve: '"+hash(t, "secret")+"'}\n")
	users, err := loadWebConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	const here = "127.0.0.1:9060"
	certified := func(r *http.Request) {
		r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{Subject: pkix.Name{CommonName: "cert"}}}}}
	}
	for name, tc := range map[string]struct {
		loopback   bool
		token      string
		web        *webConfig
		path, host string
		auth       func(*http.Request)
		code       int
		text       string
	}{
		"loopback":                   {true, "", nil, "/metrics", here, nil, 200, "for"},
		"localhost":                  {true, "", nil, "/metrics", "localhost:9060", nil, 200, "for"},
		"IPv6 loopback":              {true, "", nil, "/metrics", "[::1]:9060", nil, 200, "for"},
		"a name that leads to us":    {true, "", nil, "/metrics", "evil.example:9060", nil, 403, "ask by address"},
		"exposed":                    {false, "", nil, "/metrics", here, nil, 403, "needs admin.token"},
		"exposed, health":            {false, "", nil, "/-/healthy", here, nil, 200, ""},
		"exposed, ready":             {false, "", nil, "/-/ready", here, nil, 200, ""},
		"exposed, the page":          {false, "", nil, "/", here, nil, 403, ""},
		"exposed, made-up token":     {false, "", nil, "/metrics", here, bearer(""), 403, ""},
		"token, health":              {true, token, nil, "/-/healthy", here, nil, 200, ""},
		"token, none given":          {true, token, nil, "/metrics", here, nil, 401, "log in"},
		"token, wrong":               {true, token, nil, "/metrics", here, bearer("another"), 401, ""},
		"token":                      {false, token, nil, "/metrics", "mrc.example", bearer(token), 200, "for token"},
		"token as a password":        {false, token, nil, "/", here, basic("adam", token), 200, "for adam"},
		"token, wrong as a password": {false, token, nil, "/", here, basic("adam", "x"), 401, ""},
		"user":                       {false, "", users, "/", here, basic("eve", "secret"), 200, "for eve"},
		"user, wrong password":       {false, "", users, "/", here, basic("eve", "Secret"), 401, ""},
		"user, unknown":              {true, "", users, "/", here, basic("adam", "secret"), 401, ""},
		"certificate":                {false, "", nil, "/", here, certified, 200, "for cert"},
		"certificate, not a token":   {false, token, nil, "/", here, certified, 200, "for cert"},
		"certificate, and users":     {false, "", users, "/", here, certified, 401, ""},
		"user, none given":           {true, "", users, "/api/v1/status", here, nil, 401, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 { // the second login is remembered
				code, text := knock(doors(tc.loopback, tc.token, tc.web), tc.path, tc.host, tc.auth)
				if code != tc.code || !strings.Contains(text, tc.text) {
					t.Errorf("%d %q, want %d %q", code, text, tc.code, tc.text)
				}
			}
		})
	}

	// The file changes: who was in is out, and a broken file changes nothing.
	if err := os.WriteFile(path, []byte("basic_auth_users: {eve: '"+hash(t, "other")+"'}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := doors(true, "", users)
	if code, _ := knock(h, "/", here, basic("eve", "secret")); code != 401 {
		t.Errorf("the old password: %d", code)
	}
	if err := os.WriteFile(path, []byte("basic_auth_users: ["), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _ := knock(h, "/", here, basic("eve", "other")); code != 200 {
		t.Errorf("a broken file locks out: %d", code)
	}
}

func TestBadWebConfig(t *testing.T) {
	for _, text := range []string{"users: {}", "tls_server_config: {cert_file: /nowhere}", "basic_auth_users: {eve: plain}"} {
		if _, err := Listen(Options{Listen: "127.0.0.1:0", WebConfig: webFile(t, text)}); err == nil || !strings.Contains(err.Error(), "admin.web_config") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestTLS: the listener speaks TLS, and the headers that the file asks for are there.
func TestTLS(t *testing.T) {
	ts := httptest.NewTLSServer(nil) // for its certificate
	defer ts.Close()
	dir := t.TempDir()
	cert, key := pemFiles(t, ts.TLS.Certificates[0], dir)
	file := webFile(t, fmt.Sprintf("tls_server_config: {cert_file: %s, key_file: %s}\nhttp_server_config: {headers: {X-Frame-Options: deny}}\n", cert, key))
	r := run(t, Options{WebConfig: file, Token: func() string { return token }, Daemon: &fake{}, Events: recent.New(time.Now())})
	pool := x509.NewCertPool()
	pool.AddCert(ts.Certificate())
	secure := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	req, _ := http.NewRequest(http.MethodGet, strings.Replace(r.base, "http:", "https:", 1)+"/api/v1/status", http.NoBody)
	bearer(token)(req)
	resp, err := secure.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 200 || resp.Header.Get("X-Frame-Options") != "deny" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
}
