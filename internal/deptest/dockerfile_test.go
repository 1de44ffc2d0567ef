package deptest

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestDockerfile keeps what operators rely on: the last stage is empty but for the binary, runs as a user that is not
// root, and has no HEALTHCHECK, for which it has no shell; and the first stage has the Go version of go.mod.
func TestDockerfile(t *testing.T) {
	fsys := os.DirFS(root)
	data, err := fs.ReadFile(fsys, "Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	goVersion, err := goModLine(fsys, "go")
	if err != nil {
		t.Fatal(err)
	}
	majorMinor := regexp.MustCompile(`^\d+\.\d+`).FindString(goVersion)
	first, last, found := strings.Cut(string(data), "\nFROM scratch\n")
	if !found || strings.Contains(last, "\nFROM ") {
		t.Fatal("the last stage is not FROM scratch")
	}
	if want := "FROM golang:" + majorMinor + " AS build\n"; !strings.Contains(first, want) {
		t.Errorf("the build stage does not start with %q", want)
	}
	if !strings.Contains(first, "CGO_ENABLED=0 go build") {
		t.Error("the binary is not built static")
	}
	if !regexp.MustCompile(`(?m)^USER [1-9]\d*:[1-9]\d*$`).MatchString(last) {
		t.Error("the user is not a number other than 0")
	}
	if regexp.MustCompile(`(?m)^(HEALTHCHECK|RUN) `).MatchString(last) {
		t.Error("the last stage has a HEALTHCHECK or RUN, and no shell")
	}
}
