package config

import (
	"os"
	"strings"
	"testing"
)

// TestRender: what Render gives is read as the same configuration, whatever keys there are, and holds no secret.
func TestRender(t *testing.T) {
	clearEnv(t)
	limits := "cdr: {headers: []}\nsecret: 0123456789abcdef\ninstances: 2\nstore: \"redis://eve:hunter2@127.0.0.1:6379/3\"\n" + strings.Replace(minimal, "{uri: ", "{capacity: {speechrecog: 50, total: 60}, max_cps: 5, uri: ", 1)
	for _, file := range []string{"testdata/full.yaml", exampleFile, "limits"} {
		data, err := os.ReadFile(file)
		if file == "limits" {
			data, err = []byte(limits), nil
		}
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
		for _, secret := range append(want.Secret, want.Admin.Token, want.Store.Password, want.HEP.Password, "sentinel_password") {
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
		again.Secret, again.Admin.Token, again.Store.Password = want.Secret, want.Admin.Token, want.Store.Password
		again.HEP.Password = want.HEP.Password
		again.Store.Password, again.Store.SentinelPassword = want.Store.Password, want.Store.SentinelPassword
		if changes := Diff(want, again); len(changes) > 0 {
			t.Errorf("%s: read again:\n%s\n%s", file, strings.Join(changes, "\n"), got)
		}
	}
}
