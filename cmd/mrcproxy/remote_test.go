package main

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLogin: by a token from a file or the environment, or as a user in the URL, over a connection that is checked.
func TestLogin(t *testing.T) {
	ts := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, password, _ := r.BasicAuth()
		if r.Header.Get("Authorization") != "Bearer a token of the test" && name+":"+password != "eve:secret" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte("log in\n"))
			return
		}
		_, _ = w.Write([]byte("[]"))
	}))
	defer ts.Close()
	dir := t.TempDir()
	ca, token := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "token")
	for path, text := range map[string][]byte{
		ca: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ts.Certificate().Raw}), token: []byte("a token of the test\n"),
	} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	asEve := strings.Replace(ts.URL, "https://", "https://eve:secret@", 1)
	for name, tc := range map[string]struct {
		server, env string
		args        []string
		code        int
		text        string
	}{
		"token in a file":    {ts.URL, "", []string{"--cacert", ca, "--token-file", token}, 0, "STATE"},
		"token by variable":  {ts.URL, "a token of the test", []string{"--cacert", ca}, 0, "STATE"},
		"wrong token":        {ts.URL, "another", []string{"--cacert", ca}, exitFailed, "401 Unauthorized: log in"},
		"none":               {ts.URL, "", []string{"--cacert", ca}, exitFailed, "401 Unauthorized: log in"},
		"a user in the URL":  {asEve, "", []string{"--cacert", ca}, 0, "STATE"},
		"unknown authority":  {ts.URL, "a token of the test", nil, exitUnreachable, "certificate"},
		"no such token file": {ts.URL, "", []string{"--token-file", ca + ".not"}, exitFailed, "no such file"},
		"no authority there": {ts.URL, "", []string{"--cacert", token}, exitFailed, "has no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("MRCPROXY_ADMIN_TOKEN", tc.env)
			out, code := command(t.Context(), "", append([]string{"backends", "-s", tc.server}, tc.args...)...)
			if code != tc.code || !strings.Contains(out, tc.text) || strings.Contains(out, "secret") {
				t.Errorf("%d %s", code, out)
			}
		})
	}
}
