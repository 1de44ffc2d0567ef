package config

import (
	"os"
	"strings"
	"testing"
)

// TestRender: what Render gives is read as the same configuration, whatever keys there are, and holds no secret.
func TestRender(t *testing.T) {
	clearEnv(t)
	for _, file := range []string{"testdata/full.yaml", exampleFile} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want, err := Parse(file, data)
		if err != nil {
			t.Fatal(err)
		}
		want.Admin.Token = "not for everyone's eyes"
		got, err := Render(want)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range append(want.Secret, want.Admin.Token, want.Store.Password, "sentinel_password") {
			if secret == "" {
				continue
			}
			if strings.Contains(string(got), secret) {
				t.Errorf("%s: %q is shown", file, secret)
			}
		}
		again, err := Parse("rendered", []byte(strings.ReplaceAll(string(got), hidden, "a secret that is long enough")))
		if err != nil {
			t.Fatalf("%s: %v\n%s", file, err, got)
		}
		again.Secret, again.Admin.Token = want.Secret, want.Admin.Token
		again.Store.Password, again.Store.SentinelPassword = want.Store.Password, want.Store.SentinelPassword
		if changes := Diff(want, again); len(changes) > 0 {
			t.Errorf("%s: read again:\n%s\n%s", file, strings.Join(changes, "\n"), got)
		}
	}
}
